"""heliconnect doctor: what can be set up wrongly is seeded, one at a time, and named each time with its remedy."""

from __future__ import annotations

import functools
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import httpx2
import litellm
import openai
import pytest

import heliconnect as hc
from heliconnect.cli.doctor import run_doctor
from heliconnect.diagnosis import Level, diagnose
from heliconnect.diagnosis.finding import Finding
from heliconnect.diagnosis.gateway import check_gateway
from heliconnect.diagnosis.setup import check_packages
from heliconnect.settings import Settings
from heliconnect.testing import Provider, Reply
from heliconnect_litellm import HeliconeLogger
from tests.conftest import Running
from tests.senders import BODY, a_dead_url, settings_for

KEY = "sk-helicone-aaaaaaa-bbbbbbb-ccccccc-ddddddd"
EU_KEY = "sk-helicone-eu-aaaaaaa-bbbbbbb-ccccccc-ddddddd"


def found(code: str, settings: Settings | None = None, **options: Any) -> list[Finding]:
    return [finding for finding in diagnose(settings, **options) if finding.code == code]


@pytest.mark.parametrize(
    ("environ", "code", "words"),
    [
        pytest.param({"HELICONNECT_DISABLED": "1"}, "disabled", "unset HELICONNECT_DISABLED", id="disabled"),
        pytest.param({"HELICONNECT_DISABLED": "maybe"}, "bad-setting", "must be 1 or 0", id="bad-setting"),
        pytest.param({"HELICONE_API_KEY": "sk-ant-1"}, "key-kind", "a key of Anthropic", id="a-providers-key"),
        pytest.param({"HELICONE_API_KEY": "sk-proj-1"}, "key-kind", "a key of OpenAI", id="openais-key"),
        pytest.param({"HELICONE_API_KEY": "nonsense"}, "key-kind", "does not look like", id="no-key"),
        pytest.param({"HELICONE_API_KEY": "pk-" + KEY[3:]}, "key-kind", "may not read", id="a-public-key"),
        pytest.param(
            {"HELICONE_API_KEY": EU_KEY, "HELICONE_BASE_URL": "https://gateway.helicone.ai"},
            *("key-region", "is of the EU region"),
            id="an-eu-key-in-the-us",
        ),
        pytest.param(
            {"HELICONE_API_KEY": KEY, "HELICONE_BASE_URL": "https://gateway.eu.hconeai.com"},
            *("key-region", "is of the US region"),
            id="a-us-key-in-the-eu",
        ),
        pytest.param(
            {"HELICONE_BASE_URL": "https://gateway.helicone.ai"}, "key-missing", "records none of them", id="no-key-set"
        ),
        pytest.param(
            {"HELICONE_BASE_URL": "https://api.openai.com/v1"}, "wrong-url", "the provider openai itself", id="provider"
        ),
        pytest.param(
            {"HELICONE_BASE_URL": "https://api.helicone.ai", "HELICONE_API_KEY": KEY},
            *("wrong-url", "passes no call on"),
            id="the-rest-api",
        ),
        pytest.param(
            {"HELICONE_BASE_URL": "http://127.0.0.1:8787/ui"}, "wrong-url", "set it to http://127.0.0.1:8787", id="path"
        ),
        pytest.param(
            {"OPENAI_BASE_URL": "https://llm.example.com/v1"},
            *("provider-unknown", "set HELICONNECT_PROVIDERS=openai=https://llm.example.com"),
            id="an-unknown-provider",
        ),
        pytest.param(
            {"HELICONNECT_PROVIDERS": "mine=https://llm.example.com"}, "provider-unknown", "not in the table", id="name"
        ),
    ],
)
def test_what_the_environment_says_wrongly(environ: dict[str, str], code: str, words: str) -> None:
    """Each is named by its code, says what was seen and what to do; nothing is sent for it."""
    said: list[str] = []
    try:
        settings = hc.Settings() if "HELICONNECT_DISABLED" in environ else settings_of(environ)
        found = [one for one in diagnose(settings, environ=environ, asks_gateway=False) if one.code == code]
        text = str(found)
    except hc.SettingsError:
        text = ""
    if code in {"bad-setting", "disabled"}:
        run_doctor({**environ, "HELICONE_BASE_URL": a_dead_url()}, said.append)
        text = "\n".join(said)
    assert words in text
    assert code in text


def settings_of(environ: dict[str, str]) -> Settings:
    return hc.settings.from_env(environ)


def test_a_known_provider_behind_an_sdks_variable_is_no_finding() -> None:
    """Nor is the gateway itself, or a local Ollama."""
    environ = {
        "OPENAI_BASE_URL": "http://127.0.0.1:8787/oai/v1",
        "ANTHROPIC_BASE_URL": "https://api.anthropic.com",
        "OLLAMA_HOST": "127.0.0.1:11434",
    }
    assert not [one for one in diagnose(Settings(), environ=environ, asks_gateway=False) if one.level is Level.ERROR]


def test_older_packages_of_helicone() -> None:
    """Installed they are a warning, at work an error."""
    installed, active = (
        list(check_packages({"helicone": "1.0.14", "helicone-async": "1.1.1"}, loaded))
        for loaded in ((), ("helicone",))
    )
    assert [(one.code, one.level) for one in installed] == [("old-helicone", Level.WARNING)] * 2
    assert "pip uninstall helicone" in active[0].remedy
    assert active[0].level is Level.ERROR


# The process


def test_a_process_that_routes_nothing() -> None:
    """Until install(), connect() or a handler."""
    words = [
        "import heliconnect as hc",
        "codes = lambda: [one.code for one in hc.diagnose(asks_gateway=False)]",
        "print('not-routed' in codes(), hc.install(), 'not-routed' in codes())",
    ]
    done = subprocess.run([sys.executable, "-c", "\n".join(words)], capture_output=True, text=True, timeout=60)
    assert done.stdout == "True None False\n", done.stderr


@pytest.mark.parametrize("library", [httpx, httpx2], ids=lambda library: library.__name__)
def test_a_library_that_was_patched_too_late(library: Any) -> None:
    """Somebody puts back the method that it was before install(): the calls of one of two libraries are lost."""
    original = library.Client.send
    hc.install()
    assert not found("patched-late", asks_gateway=False)
    ours, library.Client.send = library.Client.send, original
    try:
        (late,) = found("patched-late", asks_gateway=False)
        (mixed,) = found("mixed-httpx", asks_gateway=False)
    finally:
        library.Client.send = ours
    assert (late.level, mixed.level) == (Level.ERROR, Level.ERROR)
    assert f"{library.__name__}.Client is not wrapped any more" in late.says
    assert f"{library.__name__} was unwrapped since" in mixed.remedy


def test_a_tracer_over_our_wrapper_is_no_finding() -> None:
    """As long as it shows what it wraps."""
    hc.install()
    ours = httpx.Client.send

    @functools.wraps(ours)
    def traced(self: httpx.Client, *arguments: Any, **options: Any) -> httpx.Response:
        return ours(self, *arguments, **options)

    httpx.Client.send = traced  # type: ignore[method-assign]  # as tracing tools do
    try:
        assert not found("patched-late", asks_gateway=False)
    finally:
        httpx.Client.send = ours  # type: ignore[method-assign]  # takes theirs away again


@contextmanager
def callbacks(*given: Any) -> Iterator[None]:
    before, litellm.callbacks = litellm.callbacks, list(given)
    try:
        yield
    finally:
        litellm.callbacks = before


def test_two_loggers_for_the_same_call() -> None:
    """Two of ours, and LiteLLM's own beside ours."""
    with callbacks(HeliconeLogger(), HeliconeLogger()):
        (double,) = found("double-logger", asks_gateway=False)
        assert "2 of our loggers" in double.says
    with callbacks(HeliconeLogger(), "helicone"):
        (double,) = found("double-logger", asks_gateway=False)
        assert "take 'helicone' out" in double.remedy
    with callbacks(HeliconeLogger()):
        assert not found("double-logger", asks_gateway=False)


def test_a_context_that_threads_lose(provider: Provider, gateway: Provider) -> None:
    """At first a note; an error once calls with a context, and calls without one in threads were seen."""
    settings = settings_for(provider, gateway.url)
    hc.install(settings)
    hc.wire.switch.switch.bare_thread_calls = 0
    (note,) = found("thread-context", asks_gateway=False)
    assert note.level is Level.NOTE

    def call() -> None:
        httpx.post(f"{provider.url}/v1/chat/completions", json=BODY)

    with hc.context(user_id="ada"):
        call()
        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
    (lost,) = found("thread-context", asks_gateway=False)
    assert lost.level is Level.ERROR
    assert lost.says.startswith("1 calls left threads without user")
    hc.wire.switch.switch.bare_thread_calls = 0
    hc.install(settings, threads=True)
    assert not found("thread-context", asks_gateway=False)


# The gateway


def test_a_gateway_that_is_well(live: Running) -> None:
    """Nothing to say about it."""
    assert list(check_gateway(Settings(base_url=live.url))) == []


def test_nobody_at_the_gateways_address() -> None:
    """How to start the local one."""
    (one,) = check_gateway(Settings(base_url=a_dead_url()))
    assert (one.code, "heliconnect up" in one.remedy) == ("no-gateway", True)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        pytest.param("http://gateway.invalid:8787", "has no address", id="no-such-host"),
        pytest.param("https://127.0.0.1:{port}", "does not speak TLS", id="tls"),
    ],
)
def test_an_address_that_is_wrong(url: str, words: str, live: Running) -> None:
    """By its name, or by its scheme."""
    (one,) = check_gateway(Settings(base_url=url.format(port=live.url.rpartition(":")[2])))
    assert one.code == "wrong-url"
    assert words in one.says


def test_something_else_at_the_gateways_address(provider: Provider) -> None:
    """A web server that answers whatever it is asked."""
    provider.always(Reply(body=b"<h1>It works!</h1>", headers=(("content-type", "text/html"),)))
    (one,) = check_gateway(Settings(base_url=provider.url))
    assert one.code == "wrong-url"
    assert "/healthcheck gave 200 '<h1>It works!</h1>'" in one.says


def test_a_gateway_that_cannot_keep_records(provider: Provider) -> None:
    """It passes calls on: not a wrong address."""
    provider.always(Reply(status=503, body=json.dumps({"status": "degraded", "error": "disk full"}).encode()))
    one = next(check_gateway(Settings(base_url=provider.url)))
    assert one.code == "gateway-degraded"
    assert "disk full" in one.says


@pytest.mark.parametrize(("shift_s", "way"), [(-120, "behind"), (300, "ahead of")])
def test_a_clock_that_is_off(live: Running, shift_s: int, way: str) -> None:
    """By more than half a minute from the gateway's."""
    (one,) = check_gateway(Settings(base_url=live.url), now=lambda: time.time() + shift_s)
    assert one.code == "clock-skew"
    assert way in one.says


def test_a_key_that_the_gateway_does_not_take(provider: Provider) -> None:
    """Its API answers 401 to it."""
    health = json.dumps({"status": "ok"}).encode()
    provider.always(Reply(body=health))
    provider.script(Reply(body=health), Reply(status=401))
    codes = [one.code for one in check_gateway(Settings(base_url=provider.url, api_key=KEY))]
    assert codes[0] == "key-kind"


def test_something_before_the_gateway_that_holds_streams_back(live: Running) -> None:
    """A reverse proxy that buffers."""
    with buffering(live.url) as url:
        (one,) = check_gateway(Settings(base_url=url))
    assert one.code == "not-streaming"
    assert "proxy_buffering off" in one.remedy


@contextmanager
def buffering(url: str) -> Iterator[str]:
    """A reverse proxy before `url` that passes an answer on once it has all of it; one request per connection."""
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve(client: socket.socket) -> None:
            with client, socket.create_connection((host, int(port))) as there:
                head, _, rest = read_until(client, b"\r\n\r\n").partition(b"\r\n\r\n")
                lines = [line for line in head.split(b"\r\n") if not line.lower().startswith((b"connection", b"host"))]
                length = next((int(line.split(b":")[1]) for line in lines if b"ontent-length" in line.lower()), 0)
                while len(rest) < length:
                    rest += client.recv(65536)
                there.sendall(b"\r\n".join([*lines, f"Host: {host}:{port}".encode(), b"Connection: close"]))
                there.sendall(b"\r\n\r\n" + rest)
                answer = b""
                while piece := there.recv(65536):
                    answer += piece
                client.sendall(answer)

        def accept() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(client,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def read_until(client: socket.socket, end: bytes) -> bytes:
    got = b""
    while end not in got:
        piece = client.recv(65536)
        if not piece:
            break
        got += piece
    return got


# The command


def test_the_command_in_json(live: Running) -> None:
    """ok, the findings, and for each adapter what arrived and which layer set it."""
    said: list[str] = []
    assert run_doctor({"HELICONE_BASE_URL": live.url}, said.append, as_json=True) == 0
    told = json.loads(said[0])
    assert told["ok"] is True
    assert told["gateway"] == {"url": live.url, "kind": "local", "has_key": False}
    assert {finding["level"] for finding in told["findings"]} <= {"note"}
    calls = {call["adapter"]: call for call in told["calls"]}
    assert {name for name, call in calls.items() if call["state"] == "ok"} >= {
        *("openai", "anthropic", "google-genai", "langchain", "litellm", "starlette")
    }
    arrived = calls["langchain"]["arrived"]
    library = "httpx2" if int(openai.__version__.partition(".")[0]) >= 3 else "httpx"
    assert arrived["path"] == {"value": "/langchain/ChatOpenAI", "layer": "context, then run tree"}
    assert arrived["request id"] == {"value": calls["langchain"]["request_id"], "layer": library}
    assert calls["starlette"]["arrived"]["user"] == {"value": "heliconnect-verify", "layer": "middleware"}


@pytest.mark.parametrize("command", ["doctor", "verify"])
def test_the_command_without_a_gateway(command: str) -> None:
    """It ends with 1 and makes no call."""
    done = run([command, "--json"], {"HELICONE_BASE_URL": a_dead_url()})
    told = json.loads(done.stdout)
    assert done.returncode == 1
    assert (told["ok"], told["calls"]) == (False, [])
    assert "no-gateway" in {finding["code"] for finding in told["findings"]}


def test_an_apps_process_is_looked_at(live: Running, tmp_path: Path) -> None:
    """--app imports it; what it set up wrongly is found, what it did right is not."""
    (tmp_path / "shop.py").write_text(
        "import litellm\nfrom heliconnect_litellm import HeliconeLogger\n"
        "litellm.callbacks = [HeliconeLogger(), 'helicone']\n"
    )
    environ = {"HELICONE_BASE_URL": live.url, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    done = run(["doctor", "--json", "--app", "shop:app"], environ, cwd=tmp_path)
    codes = {finding["code"]: finding["level"] for finding in json.loads(done.stdout)["findings"]}
    assert codes["double-logger"] == "error"
    assert codes["thread-context"] == "note"
    assert "not-routed" not in codes
    assert done.returncode == 1
    missing = run(["doctor", "--app", "nowhere"], environ, cwd=tmp_path)
    assert missing.returncode == 1
    assert "the app nowhere cannot be imported: ModuleNotFoundError" in missing.stderr


Environ = dict[str, str]
Run = Callable[[list[str], Environ], "subprocess.CompletedProcess[str]"]


def run(words: list[str], environ: Environ, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "heliconnect.cli", *words]
    root = str(Path(__file__).parents[1])
    around = {name: value for name, value in __import__("os").environ.items() if not name.startswith("HELICON")}
    return subprocess.run(
        command, env={**around, "PYTHONPATH": root, **environ}, cwd=cwd, capture_output=True, text=True, timeout=90
    )
