"""The data plane: what goes in comes out byte for byte, is recorded, and cannot be abused. Over raw sockets."""

from __future__ import annotations

import concurrent.futures
import contextlib
import gzip
import json
import random
import signal
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from heliconnect.exchange import End
from heliconnect.server.dataplane.heads import BadHead, parse_request, parse_response
from heliconnect.server.dataplane.omit import reduced
from heliconnect.server.dataplane.targets import Refusal, Target, Targets
from heliconnect.server.dataplane.upstreams import is_public
from heliconnect.testing import Provider, Reply
from tests.plane import PlaneProcess, RawUpstream, a_plane, read_all

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
GET = b"GET /oai/v1/models HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n"


@pytest.fixture
def plane(tmp_path: Path, provider: Provider) -> Iterator[PlaneProcess]:
    """A data plane in front of the scripted provider."""
    upstreams = {"openai": provider.url, "google": provider.url}
    with a_plane(tmp_path, upstreams=upstreams, allow_targets=["127.0.0.1"]) as made:
        yield made


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


def test_no_credential_reaches_the_disk(plane: PlaneProcess) -> None:
    """Keys in headers, in the query and in the path: gone before anything is written."""
    secrets = ["sk-provider-1", "sk-helicone-auth-2", "AIza-query-3", "cookie-4", "sk-helicone-path-5"]
    httpx.post(
        f"{plane.url}/sk-helicone-path-5/google/v1beta/models/gemini-2.5-flash:generateContent?key=AIza-query-3",
        json={"contents": []},
        headers={"authorization": secrets[0], "helicone-auth": f"Bearer {secrets[1]}", "cookie": secrets[3]},
    )
    (capture,) = plane.captures(1)
    assert "/v1beta/models/gemini-2.5-flash:generateContent?key=[redacted]" in capture.target_url
    assert not [secret for secret in secrets if secret.encode() in plane.spooled_bytes()]


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


SMUGGLING = [
    pytest.param(b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", id="length-and-chunked"),
    pytest.param(b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc", id="two-lengths"),
    pytest.param(b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc", id="the-same-length-twice"),
    pytest.param(b"Content-Length: +3\r\n\r\nabc", id="signed-length"),
    pytest.param(b"Content-Length: 3, 3\r\n\r\nabc", id="list-of-lengths"),
    pytest.param(b"Content-Length: 0x3\r\n\r\nabc", id="hex-length"),
    pytest.param(b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", id="chunked-is-not-last"),
    pytest.param(b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", id="unknown-coding"),
    pytest.param(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", id="chunked-twice"),
    pytest.param(b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", id="blank-before-colon"),
    pytest.param(b"X: a\r\n folded\r\n\r\n", id="folded-line"),
    pytest.param(b"X: a\nY: b\r\n\r\n", id="bare-line-feed"),
    pytest.param(b"X: a\rY: b\r\n\r\n", id="bare-carriage-return"),
    pytest.param(b"X: a\x00b\r\n\r\n", id="nul"),
    pytest.param(b"Host: second\r\n\r\n", id="two-hosts"),
    pytest.param(b"no colon\r\n\r\n", id="no-colon"),
    pytest.param(b": v\r\n\r\n", id="no-name"),
    pytest.param(b"X\xc3\xa9: v\r\n\r\n", id="name-is-no-token"),
    pytest.param(b"Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", id="chunk-longer-than-said"),
    pytest.param(b"Transfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n", id="chunk-size-is-no-number"),
    pytest.param(b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /oai/v1/x HTTP/1.1\r\nHost: x\r\n\r\n", id="surplus"),
]


def test_ambiguous_requests_are_refused(tmp_path: Path) -> None:
    """What two parsers could read differently gets 400, and its provider sees no second request from it."""
    with RawUpstream(OK) as upstream, a_plane(tmp_path, upstreams={"openai": upstream.url}) as plane:
        for case in SMUGGLING:
            before = len(upstream.received)
            answer = plane.exchange(b"POST /oai/v1/x HTTP/1.1\r\nHost: gw\r\n" + case.values[0])
            assert answer.startswith(b"HTTP/1.1 400 "), (case.id, answer)
            assert len(upstream.received) - before <= 1, case.id
            assert not any(b"GET /oai" in got for got in upstream.received), case.id
        for line in (b"GET  /x HTTP/1.1", b"GET /x HTTP/2.0", b"GET /x", b"G\x00T /x HTTP/1.1", b"\x16\x03\x01\x02"):
            assert plane.exchange(line + b"\r\nHost: gw\r\n\r\n").startswith(b"HTTP/1.1 400 "), line


def test_limits_and_slow_clients(tmp_path: Path) -> None:
    """Heads and bodies have bounds; who dawdles is let go."""
    bounds = {"max_head": 2_000, "max_headers": 20, "max_body": 1_000, "head_timeout": 0.5, "body_timeout": 0.5}
    with RawUpstream(OK) as upstream, a_plane(tmp_path, upstreams={"openai": upstream.url}, **bounds) as plane:
        assert plane.exchange(b"GET /" + b"x" * 3_000).startswith(b"HTTP/1.1 431 ")
        many = b"GET /oai/x HTTP/1.1\r\nHost: a\r\n" + b"X: 1\r\n" * 30 + b"\r\n"
        assert plane.exchange(many).startswith(b"HTTP/1.1 431 ")
        long = b"POST /oai/x HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n"
        assert plane.exchange(long).startswith(b"HTTP/1.1 413 ")
        chunks = (
            b"POST /oai/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"ff\r\n" + b"x" * 255 + b"\r\n"
        )
        more = (b"ff\r\n" + b"x" * 255 + b"\r\n") * 4
        assert plane.exchange(chunks, more).startswith(b"HTTP/1.1 413 ")
        assert plane.exchange(b"GET /oai/x HTT").startswith(b"HTTP/1.1 408 ")
        short = b"POST /oai/x HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc"
        assert plane.exchange(short).startswith(b"HTTP/1.1 408 ")
        assert plane.exchange(GET).startswith(b"HTTP/1.1 200 ")


def test_too_many_connections_are_turned_away(tmp_path: Path) -> None:
    """Beyond the bound a connection is closed; those inside are served."""
    with RawUpstream(OK) as upstream, a_plane(tmp_path, upstreams={"openai": upstream.url}, max_connections=2) as plane:
        with plane.connect() as first, plane.connect() as second, plane.connect() as third:
            time.sleep(0.1)
            assert read_all(third) in {b"", b"RESET"}
            for raw in (first, second):
                raw.sendall(GET)
                assert read_all(raw).startswith(b"HTTP/1.1 200 ")


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


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"nonsense\r\n\r\n", id="no-http"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\na", id="two-lengths"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: a\nb\r\n\r\n", id="bare-line-feed"),
        pytest.param(b"HTTP/1.1 101 Switching\r\n\r\n", id="another-protocol"),
    ],
)
def test_malformed_answers_become_502(answer: bytes, tmp_path: Path) -> None:
    """A provider cannot make the gateway pass on what clients could read in two ways."""
    with RawUpstream(answer) as upstream, a_plane(tmp_path, upstreams={"openai": upstream.url}) as plane:
        assert httpx.get(f"{plane.url}/oai/x").status_code == 502
        assert plane.captures(1)[0].end is End.CUT


def test_bytes_behind_an_answer_are_not_passed_on(tmp_path: Path) -> None:
    """A second answer that nobody asked for ends with the connection it came on."""
    with RawUpstream(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil") as upstream:
        with a_plane(tmp_path, upstreams={"openai": upstream.url}) as plane, httpx.Client(base_url=plane.url) as client:
            assert [client.get("/oai/x").text for _ in range(3)] == ["ok"] * 3
    assert upstream.connections == 3


def test_private_addresses_are_refused_unless_allowed(tmp_path: Path, provider: Provider) -> None:
    """Helicone-Target-URL reaches public addresses, what was configured, and what was allowed."""
    port = provider.url.rpartition(":")[2]
    with a_plane(tmp_path, upstreams={"openai": provider.url}) as plane:
        for host in ("localhost", "0.0.0.0", "[::1]", "127.1", "[::ffff:127.0.0.1]"):
            answer = httpx.get(f"{plane.url}/v1/models", headers={"Helicone-Target-URL": f"http://{host}:{port}"})
            assert (answer.status_code, answer.headers["helicone-error"]) == (403, "true"), host
        for odd in ("ftp://x", "nonsense", "http://u:p@127.0.0.1", "//x"):
            answer = httpx.get(f"{plane.url}/v1/models", headers={"Helicone-Target-URL": odd})
            assert answer.status_code == 400, odd
        assert provider.requests == []
        answer = httpx.get(f"{plane.url}/v1/models", headers={"Helicone-Target-URL": provider.url})
        assert answer.status_code == 200
    with a_plane(tmp_path / "2", allow_targets=["localhost"]) as plane:
        target = {"Helicone-Target-URL": f"http://localhost:{port}/dropped/path"}
        assert httpx.get(f"{plane.url}/v1/models", headers=target).status_code == 200
        assert provider.requests[-1].path == "/v1/models"
        assert plane.captures(1)[0].provider is None


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        *((address, False) for address in ("127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254")),
        *((address, False) for address in ("0.0.0.0", "100.64.0.1", "224.0.0.1", "255.255.255.255", "::1", "::")),
        *((address, False) for address in ("fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:10.0.0.1", "64:ff9b::a00:1")),
        *((address, False) for address in ("2002:7f00:1::", "nonsense", "")),
        *((address, True) for address in ("8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8")),
    ],
)
def test_which_addresses_are_public(address: str, expected: bool) -> None:
    """Private, shared, local, reserved and translated ones are not."""
    assert is_public(address) is expected


GEMINI = "https://generativelanguage.googleapis.com"
TARGETS = Targets({"openai": "http://127.0.0.1:9/base", "mine": "http://llm:1"}, [])


@pytest.mark.parametrize(
    ("path", "url", "provider"),
    [
        pytest.param("/oai/v1/x?a=1", "http://127.0.0.1:9/base/v1/x?a=1", "openai", id="prefix"),
        pytest.param("/openai/v1/x", "http://127.0.0.1:9/base/v1/x", "openai", id="prefix-by-name"),
        pytest.param(
            "/v1/chat/completions", "http://127.0.0.1:9/base/v1/chat/completions", "openai", id="v1-is-openai"
        ),
        pytest.param("/v1/messages", "https://api.anthropic.com/v1/messages", "anthropic", id="messages"),
        pytest.param(
            "/v1/messages/count_tokens", "https://api.anthropic.com/v1/messages/count_tokens", "anthropic", id="count"
        ),
        pytest.param(
            "/v1beta/models/m:x", "https://generativelanguage.googleapis.com/v1beta/models/m:x", "google", id="gemini"
        ),
        pytest.param("/v1/models/m:x", f"{GEMINI}/v1/models/m:x", "google", id="gemini-1"),
        pytest.param("/groq/openai/v1/x", "https://api.groq.com/openai/v1/x", "groq", id="groq"),
        pytest.param("/mine/v1/x", "http://llm:1/v1/x", "mine", id="own-upstream"),
        pytest.param("/sk-helicone-a-b/v1/x", "http://127.0.0.1:9/base/v1/x", "openai", id="key-in-path"),
    ],
)
def test_where_a_path_goes(path: str, url: str, provider: str) -> None:
    """By prefix, by well-known path, by what was configured."""
    target = TARGETS.of(path, "", "")
    assert isinstance(target, Target)
    assert (target.url, target.provider, target.is_trusted) == (url, provider, True)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        pytest.param("/nowhere", 404, id="unknown"),
        pytest.param("/azure/openai/deployments/d/x", 400, id="azure-needs-its-resource"),
        pytest.param("/openai/deployments/d/x", 400, id="azure-by-path"),
        pytest.param("http://evil/x", 400, id="absolute-form"),
        pytest.param("*", 400, id="asterisk"),
    ],
)
def test_what_goes_nowhere(path: str, status: int) -> None:
    """The refusal says what is expected."""
    refusal = TARGETS.of(path, "", "")
    assert isinstance(refusal, Refusal)
    assert refusal.status == status


def test_the_control_plane_is_one_more_upstream(tmp_path: Path) -> None:
    """Our own paths go to the unix socket, unrecorded, headers whole; without it the proxy goes on."""
    path = tmp_path / "control.sock"
    heard: list[bytes] = []

    def serve(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                raw, _ = listener.accept()
                heard.append(raw.recv(65536))
                raw.sendall(OK)
                raw.close()

    with socket.socket(socket.AF_UNIX) as listener, RawUpstream(OK) as upstream:
        listener.bind(str(path))
        listener.listen()
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        with a_plane(tmp_path, control=str(path), upstreams={"openai": upstream.url}) as plane:
            answer = plane.exchange(
                b"GET /ui/x HTTP/1.1\r\nHost: 127.0.0.1:1\r\nHelicone-Auth: k\r\nConnection: close\r\n\r\n"
            )
            assert answer.endswith(b"ok")
            assert b"helicone-id" not in answer
            assert b"Helicone-Auth: k" in heard[0]
            assert b"Host: 127.0.0.1:1" in heard[0]
            path.unlink()
            listener.close()
            down = httpx.get(f"{plane.url}/healthcheck")
            assert (down.status_code, "control plane" in down.text) == (503, True)
            assert httpx.get(f"{plane.url}/oai/x").text == "ok"
            plane.captures(1)


def test_omitted_bodies_never_touch_the_disk(plane: PlaneProcess) -> None:
    """Helicone-Omit-*: the words are gone before the spool; models and usage are still there."""
    body = {**CHAT, "messages": [{"role": "user", "content": "my-private-words"}]}
    omit = {"Helicone-Omit-Request": "true", "Helicone-Omit-Response": "true"}
    for is_stream in (False, True):
        sent = {**body, "stream": is_stream, "stream_options": {"include_usage": True}}
        assert (
            "my-private-words"
            in httpx.post(f"{plane.url}/v1/chat/completions", json=sent, headers=omit).text.replace('"}, "logprobs', "")
            or is_stream
        )
    captures = plane.captures(2)
    spooled = plane.spooled_bytes()
    assert b"private" not in spooled
    assert b'"model":"gpt-4o"' in captures[0].request_body
    assert b'"prompt_tokens"' in captures[0].response_body
    assert b'"prompt_tokens"' in captures[1].response_body


@pytest.mark.parametrize(
    ("body", "kind", "coding"),
    [
        pytest.param(b"no json", "application/json", "", id="no-json"),
        pytest.param(b"\xff\xfe", "", "gzip", id="no-gzip"),
        pytest.param(b'["a", 1]', "application/json", "", id="no-objects"),
        pytest.param(b"data: words\n\n", "text/event-stream", "", id="no-json-events"),
        pytest.param(
            b'{"choices": [{"message": {"content": "words"}}], "error": {"message": "words"}}', "", "", id="words"
        ),
    ],
)
def test_reduced_bodies_hold_no_words(body: bytes, kind: str, coding: str) -> None:
    """What cannot be reduced is dropped."""
    assert b"words" not in reduced(body, kind, coding)
    assert b"json" not in reduced(body, kind, coding)


def test_helicones_mock_response_short_cuts_the_provider(plane: PlaneProcess, provider: Provider) -> None:
    """The answer stands in the request's header; it is recorded as any other; no JSON is refused."""
    mock = json.dumps({"object": "chat.completion", "usage": {"prompt_tokens": 1}})
    answer = httpx.post(f"{plane.url}/v1/chat/completions", json=CHAT, headers={"__helicone-mock-response": mock})
    assert (answer.status_code, answer.text) == (200, mock)
    bad = httpx.post(f"{plane.url}/v1/chat/completions", json=CHAT, headers={"__helicone-mock-response": "{"})
    assert bad.status_code == 400
    assert provider.requests == []
    assert plane.captures(2)[0].response_body == mock.encode()


@pytest.mark.parametrize(
    ("given", "is_kept"),
    [
        pytest.param("3D9A1C52-7f0e-4c7e-9a53-0f7a4f6c0c01", True, id="upper-case-kept"),
        pytest.param("0199e6a0-7f0e-7c7e-9a53-0f7a4f6c0c01", True, id="version-7"),
        pytest.param("3d9a1c527f0e4c7e9a530f7a4f6c0c01", False, id="no-dashes"),
        pytest.param("nonsense", False, id="text"),
    ],
)
def test_request_ids(given: str, is_kept: bool, plane: PlaneProcess) -> None:
    """A UUID of any version is kept as it was sent; anything else is replaced by a new one."""
    answer = httpx.get(f"{plane.url}/v1/models", headers={"Helicone-Request-Id": given})
    assert (answer.headers["helicone-id"] == given) is is_kept
    assert plane.captures(1)[0].request_id == answer.headers["helicone-id"]


def test_tls_upstreams_are_verified(tmp_path: Path) -> None:
    """With the right authority the call goes through; without it nothing is sent."""
    here = Path(__file__).parent / "tls"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(here / "server.pem", here / "server.key")
    with Provider(tls=context) as provider:
        port = provider.url.rpartition(":")[2]
        upstream = {"openai": f"https://localhost:{port}"}
        with a_plane(tmp_path, upstreams=upstream, ca_file=str(here / "ca.pem")) as plane:
            assert httpx.post(f"{plane.url}/v1/chat/completions", json=CHAT).status_code == 200
            assert httpx.post(f"{plane.url}/v1/chat/completions", json={**CHAT, "stream": True}).status_code == 200
        with a_plane(tmp_path / "2", upstreams=upstream) as plane:
            refused = httpx.post(f"{plane.url}/v1/chat/completions", json=CHAT)
            assert (refused.status_code, "CERTIFICATE" in refused.text.upper()) == (502, True)
        assert len(provider.requests) == 2


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


def test_mangled_bytes_neither_crash_nor_pass(tmp_path: Path) -> None:
    """A seeded storm of broken requests: the process lives, and the provider sees only whole, rewritten heads."""
    dice = random.Random(20260301)
    seed = b"POST /oai/v1/x HTTP/1.1\r\nHost: gw\r\nHelicone-User-Id: u\r\nContent-Length: 4\r\n\r\nabcd"
    with RawUpstream(OK) as upstream, a_plane(tmp_path, upstreams={"openai": upstream.url}) as plane:
        for _ in range(300):
            data = bytearray(seed * dice.randint(1, 2))
            for _ in range(dice.randint(1, 6)):
                at = dice.randrange(len(data))
                match dice.randint(0, 2):
                    case 0:
                        data[at] = dice.randrange(256)
                    case 1:
                        del data[at : at + dice.randint(1, 9)]
                    case _:
                        data[at:at] = dice.choice([b"\r\n", b"\n", b"\x00", b": ", b"chunked", b"0\r\n\r\n", b" "])
            with plane.connect() as raw, contextlib.suppress(OSError):
                raw.sendall(bytes(data))
                raw.shutdown(socket.SHUT_WR)
                read_all(raw)
        assert httpx.get(f"{plane.url}/oai/v1/fine").text == "ok"
        assert plane.process.poll() is None
    for got in upstream.received:
        assert got.split(b"\r\n")[0].endswith(b" HTTP/1.1")
        assert b"elicone-user-id: u\r\n" not in got.lower()
        assert b"Host: gw" not in got


def test_heads_are_parsed_as_they_are() -> None:
    """Names keep their case, values their bytes."""
    head = parse_request(b"GET /x HTTP/1.1\r\nHost: a\r\nX-B:  caf\xc3\xa9 \r\nConnection: close", 10)
    assert head.lines[1] == (b"x-b", b"X-B", b"caf\xc3\xa9")
    assert (head.is_keep_alive, head.length) == (False, 0)
    answer = parse_response(b"HTTP/1.1 200", 10)
    assert (answer.status, answer.reason, answer.length) == (200, b"", None)
    with pytest.raises(BadHead):
        parse_request(b"GET /x HTTP/1.1", 10)
