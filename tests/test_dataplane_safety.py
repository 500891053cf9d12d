"""The data plane cannot be abused: ambiguous bytes are refused, credentials and omitted words never stored."""

from __future__ import annotations

import contextlib
import random
import socket
import time
from pathlib import Path

import httpx
import pytest

from heliconnect.exchange import End
from heliconnect.server.dataplane.heads import BadHead, parse_request, parse_response
from heliconnect.server.dataplane.omit import reduced
from heliconnect.testing import Provider
from tests.plane import PlaneProcess, RawUpstream, a_plane, read_all

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
GET = b"GET /oai/v1/models HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n"


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


@pytest.mark.parametrize(
    ("header", "sent", "arrived"),
    [
        pytest.param("authorization", "Bearer sk-helicone-a-b", None, id="instead-of-the-provider-key"),
        pytest.param("authorization", "Bearer sk-p, Bearer sk-helicone-a-b", "Bearer sk-p", id="beside-it"),
        pytest.param("authorization", "bearer pk-helicone-eu-a", None, id="write-only-key-in-lower-case"),
        pytest.param("x-api-key", "sk-helicone-a-b", None, id="anthropic"),
        pytest.param("x-goog-api-key", "sk-helicone-a-b", None, id="google"),
        pytest.param("api-key", "sk-helicone-a-b", None, id="azure"),
        pytest.param("authorization", "Bearer sk-p, Bearer sk-q", "Bearer sk-p, Bearer sk-q", id="no-key-of-ours"),
    ],
)
def test_a_helicone_key_never_reaches_the_provider(
    plane: PlaneProcess, provider: Provider, header: str, sent: str, arrived: str | None
) -> None:
    """Clients of Helicone's AI gateway send it where the provider's key belongs: it names the caller, no more."""
    call = f"{plane.url}/oai/v1/chat/completions"
    named = {"helicone-auth": f"Bearer {sent.rpartition(' ')[2]}"}
    for headers in ({header: sent}, {header: "Bearer sk-p", **named}):
        assert httpx.post(call, json=CHAT, headers=headers).status_code == 200
    assert provider.requests[0].headers.get(header) == arrived
    first, second = plane.captures(2)
    assert (first.key_hash == second.key_hash) is ("helicone" in sent)
    assert bool(first.warnings) is (arrived is None)


def test_tls_is_refused_at_once(plane: PlaneProcess) -> None:
    """Whoever writes https:// for a gateway without TLS sees an error, and does not wait for one."""
    with pytest.raises(httpx.ConnectError):
        httpx.get(plane.url.replace("http://", "https://") + "/healthcheck", timeout=5)


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


def test_a_body_that_stops_ends_the_call_whatever_connection_it_went_on(tmp_path: Path) -> None:
    """Within the time that bodies have, on a new connection to the provider as on a kept one."""
    short = b"POST /oai/x HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n"
    with RawUpstream(OK) as upstream, a_plane(tmp_path, upstreams={"openai": upstream.url}, body_timeout=0.5) as plane:
        assert plane.exchange(short).startswith(b"HTTP/1.1 408 ")
        assert plane.exchange(short + b"abc").startswith(b"HTTP/1.1 408 ")
        assert plane.exchange(short, b"abc", pause_s=0.1).startswith(b"HTTP/1.1 408 ")
        assert {one.end for one in plane.captures(3)} == {End.TIMEOUT}


def test_too_many_connections_are_turned_away(tmp_path: Path) -> None:
    """Beyond the bound a connection is closed; those inside are served."""
    with RawUpstream(OK) as upstream, a_plane(tmp_path, upstreams={"openai": upstream.url}, max_connections=2) as plane:
        with plane.connect() as first, plane.connect() as second, plane.connect() as third:
            time.sleep(0.1)
            assert read_all(third) in {b"", b"RESET"}
            for raw in (first, second):
                raw.sendall(GET)
                assert read_all(raw).startswith(b"HTTP/1.1 200 ")


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
