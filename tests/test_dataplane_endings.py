"""The data plane when things end: clients that leave, providers that break off, stops, full disks, crowds."""

from __future__ import annotations

import concurrent.futures
import signal
import socket
import time
from pathlib import Path

import httpx
import pytest

from heliconnect.exchange import End
from heliconnect.testing import Provider, Reply
from tests.plane import PlaneProcess, RawUpstream, a_plane

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
GET = b"GET /oai/v1/models HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n"


def test_a_client_who_leaves_stops_the_provider(plane: PlaneProcess, provider: Provider) -> None:
    """The provider's connection is closed at once, and the call is recorded as cancelled."""
    provider.always(Reply(chunk_delay_ms=3_000))
    with httpx.stream("POST", f"{plane.url}/v1/chat/completions", json={**CHAT, "stream": True}) as answer:
        next(answer.iter_raw())
    left_at = time.monotonic()
    (capture,) = plane.captures(1)
    while provider.disconnected_at is None:
        assert time.monotonic() - left_at < 2
        time.sleep(0.005)
    assert provider.disconnected_at - left_at < 0.5
    assert (capture.end, capture.status) == (End.CANCELLED, 200)
    assert capture.response_body.startswith(b"data: ")


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf", id="length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", id="chunked"),
    ],
)
def test_a_cut_answer_stays_cut(answer: bytes, tmp_path: Path) -> None:
    """A client cannot take half an answer for a whole one; what came is recorded at once."""

    def cut(raw: socket.socket, head: bytes) -> None:
        raw.sendall(answer)
        raw.close()

    with RawUpstream(cut) as upstream, a_plane(tmp_path, upstreams={"openai": upstream.url}) as plane:
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(f"{plane.url}/oai/x")
        old = plane.exchange(b"GET /oai/x HTTP/1.0\r\n\r\n")
        first, _ = plane.captures(2)
    assert (first.end, first.status, first.response_body) == (End.CUT, 200, b"half")
    assert "middle of its answer" in (first.error or "")
    assert old.endswith(b"RESET") or b"Content-Length: 100" in old


def test_a_provider_that_cannot_be_reached(tmp_path: Path) -> None:
    """502 in OpenAI's shape, marked as ours and as not sent; recorded without a status."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{probe.getsockname()[1]}"
    with a_plane(tmp_path, upstreams={"openai": dead}) as plane:
        answer = httpx.post(f"{plane.url}/v1/chat/completions", json=CHAT)
        (capture,) = plane.captures(1)
    assert answer.status_code == 502
    assert (answer.headers["helicone-error"], answer.headers["helicone-unsent"]) == ("true", "true")
    assert answer.headers["helicone-id"] == capture.request_id
    assert answer.json()["error"]["type"] == "heliconnect_error"
    assert (capture.end, capture.status) == (End.UNREACHABLE, None)


def test_a_provider_that_does_not_answer(tmp_path: Path) -> None:
    """504 after the time set; in the middle of an answer the client is cut off."""

    def halting(raw: socket.socket, head: bytes) -> None:
        if b"/half" in head:
            raw.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
        time.sleep(3)

    times = {"first_byte_timeout": 0.5, "idle_timeout": 0.5}
    with RawUpstream(halting) as upstream, a_plane(tmp_path, upstreams={"openai": upstream.url}, **times) as plane:
        answer = httpx.get(f"{plane.url}/oai/x")
        assert answer.status_code == 504
        assert "helicone-unsent" not in answer.headers
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(f"{plane.url}/oai/half")
        assert [one.end for one in plane.captures(2)] == [End.TIMEOUT, End.CUT]


def test_a_full_spool_fails_no_call(tmp_path: Path, provider: Provider) -> None:
    """Records are dropped and counted; calls go through."""
    with a_plane(tmp_path, upstreams={"openai": provider.url}, max_spool=2_000) as plane:
        codes = [httpx.post(f"{plane.url}/v1/chat/completions", json=CHAT).status_code for _ in range(5)]
        assert codes == [200] * 5
        dropped = [int(path.read_text()) for path in plane.spool.glob("*.dropped")]
    assert dropped[0] >= 3


def test_stopping_lets_calls_end(tmp_path: Path, provider: Provider) -> None:
    """SIGTERM in the middle of a stream: the stream ends whole, is recorded, then the process ends."""
    provider.always(Reply(chunk_delay_ms=50))
    with a_plane(tmp_path, upstreams={"openai": provider.url}) as plane:
        with httpx.stream("POST", f"{plane.url}/v1/chat/completions", json={**CHAT, "stream": True}) as answer:
            pieces = answer.iter_raw()
            received = next(pieces)
            plane.process.send_signal(signal.SIGTERM)
            received += b"".join(pieces)
        assert received.endswith(b"data: [DONE]\n\n")
        assert plane.process.wait(5) == 0
        assert plane.captures(1)[0].end is End.DONE


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    """The first line says why; the supervisor passes it on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AssertionError, match="cannot"), a_plane(tmp_path, port=port):
            pass


def test_two_hundred_streams_at_once_do_not_mix(plane: PlaneProcess) -> None:
    """Each capture holds its own user's question and answer."""

    def one(number: int) -> bool:
        body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": f"user-{number}"}]}
        headers = {"Helicone-User-Id": f"user-{number}"}
        text = httpx.post(f"{plane.url}/v1/chat/completions", json=body, headers=headers).text
        return f"user-{number}" in text

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        assert all(pool.map(one, range(200)))
    for capture in plane.captures(200):
        user = dict(capture.request_headers)["helicone-user-id"].encode()
        assert user + b'"' in capture.request_body
        assert user in capture.response_body
