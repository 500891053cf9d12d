"""What goes over the wire, pinned: recorded exchanges with a gateway, replayed without any network.

A call whose URL, body or Helicone headers differ from the cassette's finds no answer and fails. To record anew:
    rm -r cassettes && pytest tests/test_cassettes.py --record-mode=once
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import litellm
import openai
import pytest
from google import genai
from langchain_openai import ChatOpenAI

import heliconnect as hc
from heliconnect.server.supervisor import ServerOptions, running
from heliconnect.testing import Provider
from heliconnect_langchain import HeliconeCallbackHandler
from heliconnect_litellm import HeliconeLogger

PORT = 18_787
PROVIDER = "http://127.0.0.1:18788"
ASK = [{"role": "user", "content": "Why is the sky blue?"}]
ANSWER = "Here is my answer to: Why is the sky blue?"
SECRET = "sk-never-to-be-stored"
CASSETTES = Path(__file__).parents[1] / "cassettes"
_VARYING = re.compile(r"(?i)x-stainless-.*|user-agent|accept-encoding|x-goog-api-client|content-length|traceparent")

pytestmark = pytest.mark.vcr


def _scrubbed(request: Any) -> Any:
    for name in [name for name in request.headers if _VARYING.fullmatch(name)]:
        del request.headers[name]
    if "helicone-request-id" in {name.lower() for name in request.headers}:
        request.headers["helicone-request-id"] = "an id of its own"
    return request


@pytest.fixture(scope="module")
def vcr_config() -> dict[str, Any]:
    secrets = ["authorization", "x-api-key", "x-goog-api-key", "helicone-auth", "cookie"]
    return {
        "filter_headers": [(name, "[filtered]") for name in secrets],
        "before_record_request": _scrubbed,
        "match_on": ["method", "scheme", "host", "port", "path", "query", "body", "helicone"],
    }


@pytest.fixture(scope="module")
def vcr_cassette_dir() -> str:
    return str(CASSETTES / "test_cassettes")


@pytest.fixture(scope="module", autouse=True)
def recording(record_mode: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """While recording: a real gateway and provider at the addresses of the cassettes."""
    if record_mode == "none":
        yield
        return
    with Provider(port=18_788) as provider:
        upstreams = dict.fromkeys(("openai", "anthropic", "google"), provider.url)
        with running(ServerOptions(tmp_path_factory.mktemp("record"), port=PORT, upstreams=upstreams)):
            yield


@pytest.fixture(autouse=True)
def context() -> Iterator[None]:
    with (
        hc.context(user_id="Zoë", properties={"tier": "pro"}),
        hc.session("sky", id="s-1"),
        hc.step("ask"),
    ):
        yield


def settings(name: str) -> hc.Settings:
    return hc.Settings(api_key=SECRET, base_url=f"http://127.0.0.1:{PORT}", providers={PROVIDER: name})


def test_openai() -> None:
    """The OpenAI SDK: a response, a chat stream."""
    with hc.connect(openai.OpenAI(base_url=f"{PROVIDER}/v1", api_key=SECRET), settings("openai")) as client:
        assert client.responses.create(model="gpt-4o", input=ASK[0]["content"]).output_text == ANSWER
        stream = client.chat.completions.create(model="gpt-4o", messages=ASK, stream=True)
        assert "".join(part.choices[0].delta.content or "" for part in stream) == ANSWER


async def test_anthropic() -> None:
    """The Anthropic SDK, asynchronous."""
    client = hc.connect(anthropic.AsyncAnthropic(base_url=PROVIDER, api_key=SECRET), settings("anthropic"))
    answer = await client.messages.create(model="claude-sonnet-4-6", max_tokens=9, messages=ASK)
    assert answer.content[0].text == ANSWER
    await client.close()


def test_google() -> None:
    """google-genai."""
    options = {"base_url": PROVIDER, "api_version": "v1beta"}
    client = hc.connect(genai.Client(api_key=SECRET, http_options=options), settings("google"))
    assert client.models.generate_content(model="gemini-2.5-flash", contents=ASK[0]["content"]).text == ANSWER
    client.close()


async def test_langchain() -> None:
    """A LangChain model under its run's path."""
    hc.configure(settings("openai"))
    model = ChatOpenAI(model="gpt-4o", base_url=f"{PROVIDER}/v1", api_key=SECRET)
    config = {"callbacks": [HeliconeCallbackHandler()]}
    assert (await model.ainvoke(ASK[0]["content"], config)).content == ANSWER


def test_litellm() -> None:
    """LiteLLM with metadata and user."""
    hc.configure(settings("openai"))
    litellm.callbacks = [HeliconeLogger()]
    answer = litellm.completion(
        model="openai/gpt-4o",
        messages=ASK,
        api_base=f"{PROVIDER}/v1",
        api_key=SECRET,
        user="u-1",
        metadata={"feature": "sky"},
    )
    litellm.logging_callback_manager._reset_all_callbacks()
    assert answer.choices[0].message.content == ANSWER


def test_no_cassette_holds_a_secret() -> None:
    """Neither the keys used here nor anything that looks like one."""
    files = list(CASSETTES.rglob("*.yaml"))
    assert len(files) >= 5
    for file in files:
        text = file.read_text()
        assert SECRET not in text
        assert not re.search(r"sk-[A-Za-z0-9]{6,}|AIza[A-Za-z0-9]|Bearer (?!\[)", text), file
        assert "helicone-request-id" in text.lower()
