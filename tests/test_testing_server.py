"""The scripted provider's server: what arrives and when, which reply goes out, raw HTTP, and its end."""

from __future__ import annotations

import contextlib
import gc
import json
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from heliconnect import testing
from heliconnect.flavors import Flavor
from heliconnect.testing import Provider, Reply
from heliconnect.testing.replies import steered

MESSAGES = [{"role": "user", "content": "Why is the sky blue?"}]


@pytest.fixture(scope="module")
def shared() -> Iterator[Provider]:
    with Provider() as provider:
        yield provider


@pytest.fixture
def provider(shared: Provider) -> Provider:
    shared.clear()
    return shared


def test_a_reader_who_leaves_is_noticed(provider: Provider) -> None:
    """The provider sees within a moment that the answer's reader is gone."""
    provider.script(Reply(chunk_delay_ms=2000))
    body = {"model": "m", "messages": MESSAGES, "stream": True}
    with httpx.stream("POST", f"{provider.url}/v1/chat/completions", json=body) as answer:
        next(answer.iter_raw())
    left_at = time.monotonic()
    while provider.disconnected_at is None and time.monotonic() - left_at < 2:
        time.sleep(0.005)
    assert provider.disconnects == 1


def test_unknown_paths_and_raw_headers(provider: Provider) -> None:
    """An unknown path is a 404 in OpenAI's shape; header bytes are shown as they came."""
    answer = httpx.post(
        f"{provider.url}/nowhere", headers=[("X-A", "1"), ("X-A", "2"), (b"X-U", "é".encode())], json={}
    )
    assert answer.status_code == 404
    assert answer.json()["error"]["message"] == "no such endpoint: /nowhere"
    got = provider.requests[0]
    assert [value for name, value in got.raw_headers if name == b"X-A"] == [b"1", b"2"]
    assert got.headers["x-u"] == "é"


def ask(provider: Provider, text: str = "Why?", **more: Any) -> httpx.Response:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": text}], **more}
    return httpx.post(f"{provider.url}/v1/chat/completions", json=body)


def said(answer: httpx.Response) -> str:
    return str(answer.json()["choices"][0]["message"]["content"])


@pytest.mark.parametrize(
    ("condition", "is_hit"),
    [
        pytest.param({"model": "gpt-4o"}, True, id="model"),
        pytest.param({"model": "gpt-4"}, False, id="other-model"),
        pytest.param({"path": "/chat/"}, True, id="path"),
        pytest.param({"path": "/responses"}, False, id="other-path"),
        pytest.param({"text": "größe"}, True, id="escaped-text"),
        pytest.param({"text": "weight"}, False, id="other-text"),
        pytest.param({"matches": lambda request: request.method == "POST"}, True, id="predicate"),
        pytest.param({"model": "gpt-4o", "path": "/responses"}, False, id="all-must-fit"),
    ],
)
def test_rules_pick_their_requests(provider: Provider, condition: dict[str, Any], is_hit: bool) -> None:
    """A rule answers the requests that fit all its conditions, as often as they come."""
    provider.when(Reply(text="ruled"), **condition)
    body = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "größe"}]}).encode()
    answers = [httpx.post(f"{provider.url}/v1/chat/completions", content=body) for _ in range(2)]
    assert [said(answer) == "ruled" for answer in answers] == [is_hit, is_hit]


def test_used_up_replies_come_before_lasting_rules(provider: Provider) -> None:
    """`times` waits for the requests that fit; when they are over the rule, then the default answers."""
    provider.when(Reply(text="rule"), text="sky")
    provider.when(Reply(text="twice"), text="sky", times=2)
    texts = [said(ask(provider, text)) for text in ("sea", "sky", "sky", "sky")]
    assert texts == ["Here is my answer to: sea", "twice", "twice", "rule"]


def test_rules_read_bodies_that_are_no_json(provider: Provider) -> None:
    """The text of a rule is looked for in the bytes; without JSON there is no model."""
    provider.when(Reply(body=b"form"), text="user=ada")
    url = f"{provider.url}/v1/files"
    answers = [httpx.post(url, content=content).content for content in (b"user=ada", b"user=zoe")]
    assert (answers[0], b"no such endpoint" in answers[1]) == (b"form", True)
    assert provider.requests[0].model is None


def test_directives_can_be_switched_off() -> None:
    """With directives=False the marks are part of the question."""
    with Provider(directives=False) as provider:
        assert said(ask(provider, "go [[status=429]]")) == "Here is my answer to: go [[status=429]]"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("[[status=503]]", Reply(status=503, text="scripted failure 503"), id="failure"),
        pytest.param("[[status=201]]", Reply(status=201), id="success"),
        pytest.param("[[status=9]] [[status]] [[nonsense=1]]", Reply(), id="no-status"),
        pytest.param("[[delay=50]][[first=70]]", Reply(chunk_delay_ms=50, first_byte_delay_ms=70), id="delays"),
        pytest.param("a [[cut]] b", Reply(cut_after=1), id="cut"),
        pytest.param("[[cut=3]]", Reply(cut_after=3), id="cut-later"),
        pytest.param("[[hang]]", Reply(hang=True), id="hang"),
    ],
)
def test_directives(text: str, expected: Reply) -> None:
    """What each directive does to a reply; what is none does nothing."""
    assert steered(Reply(), text) == expected


def test_raw_bodies_and_headers_go_out_as_scripted(provider: Provider) -> None:
    """A raw body keeps its own content type; repeated headers stay two."""
    headers = (("Content-Type", "text/plain"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"))
    provider.script(Reply(body=b"\x00raw", headers=headers, status=418))
    answer = ask(provider)
    assert (answer.status_code, answer.reason_phrase, answer.content) == (418, "I'm a Teapot", b"\x00raw")
    assert answer.headers.get_list("content-type") == ["text/plain"]
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]


def test_a_cut_body_is_too_short(provider: Provider) -> None:
    """cut_after counts bytes where the answer is no stream."""
    provider.script(Reply(cut_after=10))
    with pytest.raises(httpx.RemoteProtocolError):
        ask(provider)


def test_delays_are_kept(provider: Provider) -> None:
    """first_byte_delay_ms passes before the head, chunk_delay_ms between events."""
    provider.script(Reply(text="a b", first_byte_delay_ms=80), Reply(text="a b", chunk_delay_ms=30))
    begun = time.monotonic()
    ask(provider)
    assert time.monotonic() - begun >= 0.08
    begun = time.monotonic()
    ask(provider, stream=True)
    assert time.monotonic() - begun >= 4 * 0.03  # five events: role, two words, finish, [DONE]


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(Reply(hang=True), id="hang"),
        pytest.param(Reply(first_byte_delay_ms=60_000), id="before-the-first-byte"),
        pytest.param(Reply(chunk_delay_ms=60_000), id="between-chunks"),
        pytest.param(Reply(body=b"x" * 20_000_000), id="unread-body"),
    ],
)
def test_each_request_knows_that_its_client_left(provider: Provider, reply: Reply) -> None:
    """Wherever the answer is, the client's leaving is noted within a moment, at that request alone."""
    ask(provider)
    provider.script(reply)
    left_at = leave_unread(provider)
    provider.wait_for_disconnects()
    stayed, left = provider.requests
    assert stayed.disconnected_at is None
    assert left.disconnected_at == provider.disconnected_at
    assert 0 <= left.disconnected_at - left_at < 1


def raw_chat(stream: bool = True, more: bytes = b"") -> bytes:
    body = json.dumps({"model": "m", "messages": MESSAGES, "stream": stream}).encode()
    return b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n%sContent-Length: %d\r\n\r\n%s" % (more, len(body), body)


def leave_unread(provider: Provider) -> float:
    """Send a chat, close without reading the answer, return when that began."""
    with socket.create_connection(("127.0.0.1", provider.port)) as connection:
        connection.sendall(raw_chat())
        provider.wait_for(2)
        time.sleep(0.02)
        return time.monotonic()


def exchange(provider: Provider, sent: bytes) -> bytes:
    """All that comes back for raw bytes, of which the last request closes the connection."""
    with socket.create_connection(("127.0.0.1", provider.port), timeout=5) as connection:
        connection.sendall(sent)
        return b"".join(iter(lambda: connection.recv(65536), b""))


CLOSE = b"Connection: close\r\n"


def test_pipelined_requests_are_answered_in_order(provider: Provider) -> None:
    """Two requests in one packet get two answers; the second closes."""
    provider.script(Reply(text="one"), Reply(text="two"))
    came = exchange(provider, raw_chat(stream=False) + raw_chat(stream=False, more=CLOSE))
    assert came.count(b"HTTP/1.1 200 OK\r\n") == 2
    assert came.index(b'"one"') < came.index(b'"two"')


def test_chunked_requests_and_expect(provider: Provider) -> None:
    """A chunked body is put together; Expect gets its 100 first; HEAD gets no body."""
    head = b"POST /v1/embeddings HTTP/1.1\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = b'9;x=y\r\n{"input":\r\n5\r\n"hi"}\r\n0\r\nTrailer: t\r\n\r\n'
    came = exchange(provider, head + chunks + b"HEAD /v1/models HTTP/1.1\r\n" + CLOSE + b"\r\n")
    assert came.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert came.endswith(b"\r\n\r\n")
    assert [(got.method, got.body) for got in provider.requests] == [("POST", b'{"input":"hi"}'), ("HEAD", b"")]


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"nonsense\r\n\r\n", id="no-request-line"),
        pytest.param(b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", id="no-length"),
        pytest.param(b"GET / HTTP/1.1\r\nX: " + b"a" * 1_100_000, id="head-too-large"),
    ],
)
def test_nonsense_closes_the_connection(provider: Provider, sent: bytes) -> None:
    """What is no request gets no answer, and the next connection is served."""
    with contextlib.suppress(ConnectionError):
        assert exchange(provider, sent) == b""
    assert ask(provider).status_code == 200


def test_twenty_megabytes_arrive_whole(provider: Provider) -> None:
    """A large body is taken, and shown byte for byte."""
    text = "ab " * 7_000_000
    assert ask(provider, text).status_code == 200
    assert provider.requests[0].json()["messages"][0]["content"] == text


def test_received_shows_the_wire(provider: Provider) -> None:
    """Names keep their case, values their bytes; API and model are told from path and body."""
    url = f"{provider.url}/openai/deployments/gpt-4.1/chat/completions?api-version=1"
    httpx.post(url, headers=[("X-Two", "1"), ("X-Two", "2"), (b"X-Raw", b"\xff")], json={"messages": MESSAGES})
    httpx.post(f"{provider.url}/v1beta/models/gemini-2.5-flash:generateContent", json={"contents": []})
    httpx.get(f"{provider.url}/v1/models")
    azure, gemini, models = provider.requests
    assert [pair for pair in azure.header_pairs if pair[0].startswith("X-")] == [
        ("X-Two", "1"),
        ("X-Two", "2"),
        ("X-Raw", "ÿ"),
    ]
    assert (azure.method, azure.query, azure.flavor, azure.model) == (
        "POST",
        "api-version=1",
        Flavor.OPENAI_CHAT,
        "gpt-4.1",
    )
    assert (gemini.flavor, gemini.model) == (Flavor.GEMINI, "gemini-2.5-flash")
    assert (models.flavor, models.model) == (Flavor.OTHER, None)


def test_waiting_ends_with_an_error(provider: Provider) -> None:
    """What does not come in time is a TimeoutError that says how much came."""
    with pytest.raises(TimeoutError, match=r"expected 1 requests within 0.01 s, got 0"):
        provider.wait_for(1, timeout_s=0.01)
    with pytest.raises(TimeoutError, match=r"expected 1 disconnects within 0.01 s, got 0"):
        provider.wait_for_disconnects(timeout_s=0.01)


def test_stopping_leaves_nothing_behind() -> None:
    """With a hanging answer, an open stream and an unread body it stops at once: no thread, no open socket."""
    before = set(threading.enumerate())
    with contextlib.ExitStack() as sockets, Provider() as provider:
        provider.script(Reply(hang=True), Reply(chunk_delay_ms=60_000), Reply(body=b"x" * 20_000_000))
        for count in (1, 2, 3):
            one = sockets.enter_context(socket.create_connection(("127.0.0.1", provider.port)))
            one.sendall(raw_chat())
            provider.wait_for(count)
        begun = time.monotonic()
        provider.__exit__(None, None, None)
        assert time.monotonic() - begun < 1
        assert set(threading.enumerate()) == before
        gc.collect()  # a transport that was left open would warn here
    assert provider.disconnects == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", provider.port))


def test_a_taken_port_is_an_error_at_once(provider: Provider) -> None:
    """The message names the port and the reason."""
    with (
        pytest.raises(OSError, match=rf"cannot listen on port {provider.port}: .*in use"),
        Provider(port=provider.port),
    ):
        pass


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_runs_as_a_process(number: signal.Signals) -> None:
    """It prints its URL, answers, and ends with status 0 and no warning at either signal."""
    command = [sys.executable, "-W", "error", "-m", "heliconnect.testing.provider", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            url = process.stdout.readline().strip()
            assert httpx.get(f"{url}/v1/models").json()["object"] == "list"
            process.send_signal(number)
            assert (process.wait(5), process.stderr.read()) == (0, "")
        finally:
            process.kill()


def test_a_process_on_a_taken_port_says_so(provider: Provider) -> None:
    """One line, no traceback."""
    command = [sys.executable, "-m", "heliconnect.testing.provider", "--port", str(provider.port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "take another --port" in done.stderr


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with the openssl command")
def test_tls(tmp_path: Path) -> None:
    """With an SSLContext it serves https, streams included."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    made = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", *made.split(), *names], check=True, capture_output=True, timeout=20)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate, key)
    trusting = ssl.create_default_context(cafile=str(certificate))
    with Provider(tls=serving) as provider, httpx.Client(verify=trusting) as http:
        assert provider.url.startswith("https://127.0.0.1:")
        body = {"model": "m", "messages": MESSAGES, "stream": True}
        answer = http.post(f"{provider.url}/v1/chat/completions", json=body)
    assert answer.text.endswith("data: [DONE]\n\n")


def test_names_are_loaded_on_demand() -> None:
    """The package offers exactly its public names, and an unknown one is an AttributeError."""
    assert dir(testing) == ["Call", "Helicone", "Provider", "Received", "Reply", "vcr_config"]
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = testing.Nothing
