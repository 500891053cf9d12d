"""The data plane: what goes in comes out byte for byte and is recorded. Over raw sockets."""

from __future__ import annotations

import gzip
import json
import random
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from heliconnect.exchange import End
from heliconnect.testing import Provider, Reply
from tests.plane import PlaneProcess, RawUpstream, a_plane, read_all

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
GET = b"GET /oai/v1/models HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n"


def test_a_call_is_passed_on_and_recorded(plane: PlaneProcess, provider: Provider) -> None:
    """Helicone's headers stay here, all others go on in order; the answer comes back with an id; both are captured."""
    raw = json.dumps(CHAT).encode()
    head = (
        b"POST /oai/v1/chat/completions?a=%%2F&b HTTP/1.1\r\nHost: gw\r\nX-A: 1\r\nAuthorization: Bearer sk-p\r\n"
        b"X-A: 2\r\nHelicone-User-Id: Zo\xc3\xab\r\nhelicone-auth: Bearer sk-helicone-k\r\nConnection: close, X-Hop\r\n"
        b"X-Hop: 1\r\nKeep-Alive: 5\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(raw)
    )
    answer = plane.exchange(head + raw)
    (got,) = provider.requests
    assert (got.path, got.query, got.body) == ("/v1/chat/completions", "a=%2F&b", raw)
    assert [name for name, _ in got.raw_headers] == [
        *(b"Host", b"X-A", b"Authorization", b"X-A", b"Content-Type", b"Content-Length")
    ]
    assert got.headers["host"] == provider.url.removeprefix("http://")
    assert answer.startswith(b"HTTP/1.1 200 ")
    (capture,) = plane.captures(1)
    assert f"helicone-id: {capture.request_id}".encode() in answer
    assert b"helicone-status: success" in answer
    assert (capture.provider, capture.status, capture.end) == ("openai", 200, End.DONE)
    assert (capture.request_body, capture.response_body) == (raw, answer.partition(b"\r\n\r\n")[2])
    assert ("helicone-user-id", "Zoë") in capture.request_headers
    assert capture.key_hash is not None
    assert capture.first_byte_ms is not None
    assert 0 < capture.first_byte_ms <= capture.latency_ms


@pytest.mark.parametrize("reply", [Reply(), Reply(content_encoding="gzip"), Reply(status=429), Reply(status=500)])
@pytest.mark.parametrize("is_stream", [False, True])
def test_answers_come_out_byte_for_byte(reply: Reply, is_stream: bool, plane: PlaneProcess, provider: Provider) -> None:
    """Whole answers and streams, compressed ones and errors: as from the provider itself."""
    provider.always(reply)
    body = {**CHAT, "stream": is_stream}
    bodies = []
    for url in (f"{provider.url}/v1/chat/completions", f"{plane.url}/oai/v1/chat/completions"):
        with httpx.stream("POST", url, json=body, headers={"accept-encoding": "gzip"}) as answer:
            bodies.append((answer.status_code, b"".join(answer.iter_raw()).replace(b"chatcmpl-2", b"chatcmpl-1")))
    if reply.content_encoding == "gzip":
        bodies = [(status, gzip.decompress(raw).replace(b"chatcmpl-2", b"chatcmpl-1")) for status, raw in bodies]
    assert bodies[0] == bodies[1]
    assert plane.captures(1)[0].status == reply.status


def test_duplicate_headers_survive(tmp_path: Path) -> None:
    """Two Set-Cookie lines are two lines; hop-by-hop lines go; nothing is added but our marks."""
    answer = (
        b"HTTP/1.1 200 Fine\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Upper-Case: v\r\nConnection: close, x-hop\r\n"
        b"X-Hop: 1\r\nKeep-Alive: 1\r\nContent-Length: 2\r\n\r\nok"
    )
    with RawUpstream(answer) as upstream, a_plane(tmp_path, upstreams={"openai": upstream.url}) as plane:
        lines = plane.exchange(GET).partition(b"\r\n\r\n")[0].split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 200 Fine"
    assert lines[1:5] == [b"Set-Cookie: a=1", b"Set-Cookie: b=2", b"X-Upper-Case: v", b"Content-Length: 2"]
    assert [line.partition(b":")[0] for line in lines[5:]] == [b"connection", b"helicone-id", b"helicone-status"]
    assert upstream.received[0].startswith(b"GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1:")


def test_a_megabyte_goes_both_ways(tmp_path: Path) -> None:
    """Large bodies are passed on whole and captured whole."""
    big = random.Random(1).randbytes(1 << 20)
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(big) + big
    with RawUpstream(answer) as upstream, a_plane(tmp_path, upstreams={"openai": upstream.url}) as plane:
        assert httpx.post(f"{plane.url}/v1/files", content=big).content == big
        (capture,) = plane.captures(1)
    assert upstream.received[0].partition(b"\r\n\r\n")[2] == big
    assert capture.request_body == capture.response_body == big


def test_what_is_kept_of_a_body_is_bounded(tmp_path: Path) -> None:
    """Beyond the bound a body passes all the same; the capture says how much is missing."""
    with RawUpstream(OK) as upstream:
        with a_plane(tmp_path, upstreams={"openai": upstream.url}, max_kept_body=1_000) as plane:
            assert httpx.post(f"{plane.url}/v1/files", content=b"x" * 5_000).text == "ok"
            (capture,) = plane.captures(1)
    assert len(upstream.received[0].partition(b"\r\n\r\n")[2]) == 5_000
    assert (len(capture.request_body), capture.request_size_bytes) == (1_000, 5_000)
    assert capture.warnings == ("only the first 1000 of 5000 bytes of the request were kept",)


def test_a_stream_arrives_event_by_event(plane: PlaneProcess, provider: Provider) -> None:
    """Each event is passed on when it comes, whole."""
    provider.always(Reply(chunk_delay_ms=60))
    began, times, pieces = time.monotonic(), [], []
    with httpx.stream("POST", f"{plane.url}/v1/chat/completions", json={**CHAT, "stream": True}) as answer:
        for piece in answer.iter_raw():
            times.append(time.monotonic() - began)
            pieces.append(piece)
    assert all(piece.startswith(b"data: ") and piece.endswith(b"\n\n") for piece in pieces)
    assert times[0] < times[-1] / 2
    (capture,) = plane.captures(1)
    assert capture.response_body == b"".join(pieces)
    assert capture.first_byte_ms is not None
    assert capture.first_byte_ms < capture.latency_ms / 2


def test_pipelined_requests_are_answered_one_by_one(tmp_path: Path) -> None:
    """The second request of a segment waits for the first answer, and is rewritten as the first was."""
    second = b"POST /oai/v1/b HTTP/1.1\r\nHost: evil\r\nHelicone-User-Id: x\r\nConnection: close\r\n"
    second += b"Content-Length: 3\r\n\r\nabc"
    first = b"POST /oai/v1/a HTTP/1.1\r\nHost: gw\r\nContent-Length: 2\r\n\r\nxy"
    with RawUpstream(OK) as upstream, a_plane(tmp_path, upstreams={"openai": upstream.url}) as plane:
        answer = plane.exchange(first + second)
        captures = plane.captures(2)
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert [got.split(b" ")[1] for got in upstream.received] == [b"/v1/a", b"/v1/b"]
    assert b"evil" not in upstream.received[1]
    assert b"elicone" not in upstream.received[1]
    assert [one.request_body for one in captures] == [b"xy", b"abc"]
    assert upstream.connections == 1


def test_expect_continue_is_answered_here(plane: PlaneProcess, provider: Provider) -> None:
    """The client gets its 100 at once; the provider is not asked."""
    raw = json.dumps(CHAT).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nConnection: close\r\n"
    head += b"Content-Length: %d\r\n\r\n"
    with plane.connect() as connection:
        connection.sendall(head % len(raw))
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(raw)
        assert read_all(connection).startswith(b"HTTP/1.1 200 ")
    assert "expect" not in provider.requests[0].headers


def test_connections_are_kept_on_both_sides(tmp_path: Path) -> None:
    """Ten calls of one client are one connection to the provider; one that the provider closed is not used again."""
    closes = threading.Event()

    def answer(raw: socket.socket, head: bytes) -> None:
        raw.sendall(OK)
        if closes.is_set():
            raw.close()

    with RawUpstream(answer) as upstream, a_plane(tmp_path, upstreams={"openai": upstream.url}) as plane:
        with httpx.Client(base_url=plane.url) as client:
            for _ in range(10):
                assert client.post("/v1/x", json={}).text == "ok"
            assert upstream.connections == 1
            closes.set()
            for _ in range(3):
                assert client.post("/v1/x", json={}).text == "ok"
                time.sleep(0.05)
            assert upstream.connections == 3


def test_a_chunked_request_stays_chunked(plane: PlaneProcess, provider: Provider) -> None:
    """A body without a length is passed on as it comes."""

    def parts() -> Iterator[bytes]:
        yield b'{"model": "m", '
        yield b'"messages": []}'

    assert httpx.post(f"{plane.url}/v1/chat/completions", content=parts()).status_code == 200
    assert provider.requests[0].headers["transfer-encoding"] == "chunked"
    assert provider.requests[0].json() == {"model": "m", "messages": []}
    assert plane.captures(1)[0].request_body == b'{"model": "m", "messages": []}'


FRAMINGS = [
    pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", b"", id="no-content"),
    pytest.param(b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", b"", id="not-modified"),
    pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"", id="empty"),
    pytest.param(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK, b"ok", id="early-hints-first"),
    pytest.param(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;ext=1\r\nok\r\n0\r\nTrailer: x\r\n\r\n",
        b"ok",
        id="chunked",
    ),
]


@pytest.mark.parametrize(("answer", "body"), FRAMINGS)
def test_every_framing_of_an_answer(answer: bytes, body: bytes, tmp_path: Path) -> None:
    """The client gets the same body, framed so that it can tell its end."""
    with RawUpstream(answer) as upstream, a_plane(tmp_path, upstreams={"openai": upstream.url}) as plane:
        with httpx.Client(base_url=plane.url) as client:
            assert [client.get("/oai/x").content for _ in range(2)] == [body, body]
        assert plane.captures(2)[0].response_body == body


def test_an_answer_that_ends_with_its_connection(tmp_path: Path) -> None:
    """For HTTP/1.1 clients it is chunked; an HTTP/1.0 client gets it as it is."""

    def answer(raw: socket.socket, head: bytes) -> None:
        raw.sendall(b"HTTP/1.1 200 OK\r\n\r\nunsized")
        raw.close()

    with RawUpstream(answer) as upstream, a_plane(tmp_path, upstreams={"openai": upstream.url}) as plane:
        assert httpx.get(f"{plane.url}/oai/x").text == "unsized"
        old = plane.exchange(b"GET /oai/x HTTP/1.0\r\n\r\n")
        assert old.endswith(b"\r\n\r\nunsized")
        assert b"chunked" not in old


def test_a_head_request_has_no_body(plane: PlaneProcess) -> None:
    """The length of the body that is not there is passed on."""
    answer = httpx.head(f"{plane.url}/v1/models")
    assert (answer.status_code, answer.content) == (200, b"")
    assert int(answer.headers["content-length"]) > 0
