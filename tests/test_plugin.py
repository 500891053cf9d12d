"""The pytest plugin, as a project uses it: real pytest runs, the real SDKs, no network."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

USES = """
import asyncio
import anthropic, httpx, litellm, openai, pytest, requests
from langchain_openai import ChatOpenAI
import heliconnect as hc
from heliconnect.testing import Reply
from heliconnect_langchain import HeliconeCallbackHandler

ASK = [{"role": "user", "content": "Why is the sky blue?"}]


def test_a_call_is_answered_and_seen(helicone):
    helicone.reply("Rayleigh scattering.", usage={"input": 10, "output": 5})
    with hc.context(user_id="ada", properties={"Tier": "pro"}), hc.session("chat", id="s-1"), hc.step("sky"):
        answer = openai.OpenAI(api_key="k").chat.completions.create(model="gpt-4o", messages=ASK)
    assert answer.choices[0].message.content == "Rayleigh scattering."
    (call,) = helicone.assert_called(
        user_id="ada", session_id="s-1", session_name="chat", session_path="/sky", model="gpt-4o", provider="openai",
        status=200, properties={"tier": "pro"}, cost_usd_lt=0.01, total_tokens_lt=16, calls=1,
        prompt_contains="sky", completion_contains="Rayleigh",
    )
    assert call.request["messages"] == ASK
    assert call.request_id == hc.last_request_id()
    assert call.headers["authorization"] == "[redacted]"


def test_every_sdk_ends_here(helicone):
    anthropic.Anthropic(api_key="k").messages.create(model="claude-sonnet-4-6", max_tokens=9, messages=ASK)
    litellm.completion("groq/llama-3.3-70b-versatile", ASK, api_key="k", user="bob")
    ChatOpenAI(model="gpt-4o", api_key="k").invoke("hi", config={"callbacks": [HeliconeCallbackHandler()]})
    requests.post("https://api.mistral.ai/v1/chat/completions", json={"model": "m", "messages": ASK})
    stream = openai.OpenAI(api_key="k").chat.completions.create(
        model="gpt-4o", messages=ASK, stream=True, stream_options={"include_usage": True}
    )
    assert len(list(stream)) > 2
    assert [call.provider for call in helicone.calls] == ["anthropic", "groq", "openai", "mistral", "openai"]
    assert helicone.calls[-1].total_tokens > 0
    helicone.assert_called(provider="openai", calls=2)


async def ask():
    async with openai.AsyncOpenAI(api_key="k") as client:
        await client.chat.completions.create(model="gpt-4o", messages=ASK)


def test_asynchronous_calls_and_errors(helicone):
    helicone.script(Reply(status=500), Reply("yes"))
    asyncio.run(ask())
    first, second = helicone.calls
    assert (first.status, second.status, second.properties["retry-of"]) == (500, 200, first.request_id)


def test_an_unknown_origin_is_routed_on_demand(helicone):
    helicone.when(Reply("mine"), path="/v1/chat")
    helicone.route("http://llm.example.test:9000")
    client = openai.OpenAI(base_url="http://llm.example.test:9000/v1", api_key="k")
    client.chat.completions.create(model="x", messages=ASK)
    helicone.assert_called(model="x", calls=1)
    helicone.clear()
    helicone.assert_not_called()


def test_a_connected_client_comes_here_whatever_it_was_given(helicone):
    client = hc.connect(openai.OpenAI(api_key="k"), base_url="http://127.0.0.1:1")
    client.chat.completions.create(model="gpt-4o", messages=ASK)
    helicone.assert_called(calls=1)


def test_without_the_fixture_nothing_is_routed():
    from heliconnect.wire.switch import Mode, switch
    assert (switch.mode, switch.override) == (Mode.OFF, None)
    assert not hasattr(httpx.Client.send, "_heliconnect")


def test_disabled(helicone_disabled):
    hc.install(base_url="http://127.0.0.1:1")
    transport = httpx.MockTransport(lambda request: httpx.Response(200, text=request.url.host))
    with httpx.Client(transport=transport) as client:
        assert client.get("https://api.openai.com/v1/models").text == "api.openai.com"
    hc.uninstall()
"""
FAILS = """
import openai, heliconnect as hc

def test_it(helicone):
    with hc.context(user_id="ada"):
        openai.OpenAI(api_key="k").models.list()
    helicone.assert_called(user_id="bob", calls=1)

def test_never(helicone):
    helicone.assert_called(model="gpt-4o")

def test_wrong(helicone):
    helicone.assert_called(nonsense=1)
"""


def run(folder: Path, text: str, *options: str, env: Mapping[str, str] = MappingProxyType({})) -> str:
    """What pytest prints, in a process of its own."""
    (folder / "test_mine.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:randomly", *options, str(folder)]
    environ = {**os.environ, **env}
    found = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environ, timeout=110, check=False)
    return found.stdout + found.stderr


def test_a_project_uses_the_fixture(tmp_path: Path) -> None:
    """Calls of every SDK, whole, streamed and failing, are answered offline and seen with their context."""
    said = run(tmp_path, USES, "-q")
    assert "7 passed" in said, said


def test_failures_show_what_was_recorded(tmp_path: Path) -> None:
    """The table of calls, or that there was none; a wrong keyword is named."""
    said = run(tmp_path, FAILS, "-q")
    assert "3 failed" in said, said
    assert "expected 1 call(s) with user_id='bob', 0 have it" in said
    assert "ada" in said
    assert "no call was recorded" in said
    assert "nonsense" in said


def test_a_project_without_it_sees_nothing(tmp_path: Path) -> None:
    """No HTTP library is imported for the plugin."""
    text = "import sys\n\ndef test_it():\n    assert not {'httpx', 'requests', 'orjson'} & set(sys.modules)\n"
    said = run(tmp_path, text, "-q", "-p", "heliconnect.testing.plugin", env={"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"})
    assert "1 passed" in said, said


def test_cassettes_hold_no_key(tmp_path: Path) -> None:
    """vcr_config() as the fixture of pytest-recording: keys of providers and of Helicone are filtered."""
    from heliconnect.testing import Provider

    text = """
import openai, pytest
from heliconnect.testing import vcr_config as config

@pytest.fixture(scope="module")
def vcr_config(): return config()

@pytest.mark.vcr
def test_it():
    headers = {"Helicone-Auth": "Bearer sk-helicone-secret"}
    client = openai.OpenAI(base_url="URL/v1", api_key="sk-secret", default_headers=headers)
    client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "hi"}])
"""
    with Provider() as provider:
        said = run(tmp_path, text.replace("URL", provider.url), "-q", "--record-mode=once")
    assert "1 passed" in said, said
    (cassette,) = tmp_path.rglob("*.yaml")
    assert "secret" not in cassette.read_text()
    assert "[filtered]" in cassette.read_text()
