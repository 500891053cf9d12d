"""The data plane's ways: which path goes where, which hosts may be reached, over which connection."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
import time
from pathlib import Path

import httpx
import pytest

from heliconnect.server.dataplane.targets import Refusal, Target, Targets
from heliconnect.server.dataplane.upstreams import is_public
from heliconnect.testing import Provider
from tests.plane import PlaneProcess, RawUpstream, a_plane

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
GET = b"GET /oai/v1/models HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n"


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


@pytest.mark.parametrize(
    ("host", "path", "url"),
    [
        pytest.param("oai.helicone.ai", "/v1/models", "http://127.0.0.1:9/base/v1/models", id="openai"),
        pytest.param("anthropic.helicone.ai:80", "/v1/models", "https://api.anthropic.com/v1/models", id="anthropic"),
        pytest.param("groq.us.helicone.ai", "/openai/v1/models", "https://api.groq.com/openai/v1/models", id="groq"),
        pytest.param("oai.hconeai.com", "/groq/v1/x", "http://127.0.0.1:9/base/groq/v1/x", id="the-host-wins"),
        pytest.param("gateway.helicone.ai", "/v1/messages", "https://api.anthropic.com/v1/messages", id="no-label"),
        pytest.param("oai.example.com", "/v1/messages", "https://api.anthropic.com/v1/messages", id="not-helicones"),
        pytest.param("localhost", "/v1/gateway/oai/v1/x", "http://127.0.0.1:9/base/v1/x", id="self-host-openai"),
        pytest.param(
            "localhost", "/v1/gateway/anthropic/v1/messages", "https://api.anthropic.com/v1/messages", id="self-host"
        ),
    ],
)
def test_helicones_own_names_and_paths(host: str, path: str, url: str) -> None:
    """For who points `oai.helicone.ai` here, or has its self-host's paths in a client."""
    found = TARGETS.of(path, "", "", host)
    assert isinstance(found, Target)
    assert found.url == url


def test_helicones_mock_response_short_cuts_the_provider(plane: PlaneProcess, provider: Provider) -> None:
    """The answer stands in the request's header; it is recorded as any other; no JSON is refused."""
    mock = json.dumps({"object": "chat.completion", "usage": {"prompt_tokens": 1}})
    answer = httpx.post(f"{plane.url}/v1/chat/completions", json=CHAT, headers={"__helicone-mock-response": mock})
    assert (answer.status_code, answer.text) == (200, mock)
    bad = httpx.post(f"{plane.url}/v1/chat/completions", json=CHAT, headers={"__helicone-mock-response": "{"})
    assert bad.status_code == 400
    assert provider.requests == []
    assert plane.captures(2)[0].response_body == mock.encode()


def test_a_mock_response_that_is_an_array_is_streamed(plane: PlaneProcess) -> None:
    """Each item is an event of its own, sent when its time has come; recorded as any stream."""
    events = json.dumps([{"choices": [], "n": 1}, {"n": 2}, {"n": 3}, "[DONE]"])
    headers = {"__helicone-mock-response": events}
    with httpx.stream("POST", f"{plane.url}/v1/chat/completions", json=CHAT, headers=headers) as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        arrived = [(line, time.monotonic()) for line in answer.iter_lines() if line]
    assert [line for line, _ in arrived][1:] == ['data: {"n": 2}', 'data: {"n": 3}', "data: [DONE]"]
    assert arrived[-1][1] - arrived[0][1] > 0.2
    (capture,) = plane.captures(1)
    assert capture.response_body.count(b"data: ") == 4
    too_many = {"__helicone-mock-response": json.dumps([1] * 101)}
    assert httpx.post(f"{plane.url}/v1/chat/completions", json=CHAT, headers=too_many).status_code == 400


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


def test_llm_servers_of_the_same_machine_need_no_permission() -> None:
    """Ollama's port and the like, for callers of this machine; nothing else there, and nobody from elsewhere."""
    targets, exposed = Targets({}, [], trusts_local=True), Targets({}, [])
    for url, path, trusted in (
        ("http://localhost:11434", "/api/chat", True),
        ("http://127.0.0.1:8000", "/v1/chat/completions", True),
        ("http://127.0.0.1:8000", "/admin", False),
        ("http://127.0.0.1:6379", "/v1/chat/completions", False),
        ("http://10.0.0.1:11434", "/api/chat", False),
    ):
        found = targets.of(path, url, "")
        assert isinstance(found, Target)
        assert found.is_trusted is trusted, url
        other = exposed.of(path, url, "")
        assert isinstance(other, Target)
        assert not other.is_trusted
    assert isinstance(found := targets.of("/ollama/api/chat", "", ""), Target)
    assert (found.url, found.is_trusted) == ("http://127.0.0.1:11434/api/chat", True)
