"""The whole way: a web request, its LLM calls through every adapter, the gateway, the record, the page."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anthropic
import httpx
import litellm
import openai
import pytest
from fastapi import FastAPI
from google import genai
from langchain_openai import ChatOpenAI
from starlette.concurrency import run_in_threadpool

import heliconnect as hc
from heliconnect.starlette import HeliconeMiddleware, from_header
from heliconnect.testing import Provider, Reply
from heliconnect_langchain import HeliconeCallbackHandler
from heliconnect_litellm import HeliconeLogger
from tests.conftest import Running


def ask(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


@pytest.fixture
def settings(live: Running) -> hc.Settings:
    return hc.Settings(base_url=live.url, providers={live.provider.url: "openai"})


@pytest.fixture
async def app(live: Running, settings: hc.Settings) -> AsyncIterator[httpx.AsyncClient]:
    """A FastAPI app whose endpoint calls through every adapter; gives a client of it."""
    url = live.provider.url
    hc.configure(settings)
    sdk = hc.connect(openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="sk-secret-provider-key"))
    as_anthropic = hc.Settings(base_url=live.url, providers={url: "anthropic"})
    claude = hc.connect(anthropic.AsyncAnthropic(base_url=url, api_key="sk-secret-provider-key"), as_anthropic)
    model = ChatOpenAI(model="gpt-4o", base_url=f"{url}/v1", api_key="sk-secret-provider-key", stream_usage=True)
    handler = HeliconeCallbackHandler()
    litellm.callbacks = [HeliconeLogger()]
    made = FastAPI()
    made.add_middleware(
        HeliconeMiddleware,
        user_id=from_header("x-user"),
        session_id=from_header("x-session"),
        session_name="e2e",
        properties={"feature": "everything"},
    )

    @made.post("/all")
    async def everything(word: str) -> str:
        with hc.step("sdk"):
            await sdk.responses.create(model="gpt-4o-mini", input=f"responses {word}")
            await claude.messages.create(model="claude-sonnet-4-6", max_tokens=9, messages=ask(f"anthropic {word}"))
        with hc.step("chain"):
            await run_in_threadpool(model.invoke, f"invoke {word}", {"callbacks": [handler]})
            async for _ in model.astream(f"astream {word}", {"callbacks": [handler]}):
                pass
        options: dict[str, Any] = {
            "model": "openai/gpt-4o",
            "api_base": f"{url}/v1",
            "api_key": "sk-secret-provider-key",
        }
        with hc.step("lite"):
            await run_in_threadpool(litellm.completion, messages=ask(f"completion {word}"), **options)
            await litellm.acompletion(messages=ask(f"acompletion {word}"), **options)
        return word

    transport = httpx.ASGITransport(made)
    async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
        yield client
    litellm.logging_callback_manager._reset_all_callbacks()
    await sdk.close()
    await claude.close()


PATHS = {
    "responses": "/sdk",
    "anthropic": "/sdk",
    "invoke": "/chain/ChatOpenAI",
    "astream": "/chain/ChatOpenAI",
    "completion": "/lite",
    "acompletion": "/lite",
}


async def test_every_adapter_records_the_requests_user(app: httpx.AsyncClient, live: Running) -> None:
    """Five users at once: each record has the user, session, path, properties, tokens and cost of its own request."""
    users = ["e2e-ada", "e2e-grace", "e2e-Zoë", "e2e-東京", "e2e-linus"]

    async def visit(user: str) -> None:
        headers = {b"x-user": user.encode(), b"x-session": f"session of {user}".encode()}
        answer = await app.post("/all", params={"word": user}, headers=headers)
        assert answer.json() == user

    await asyncio.gather(*(visit(user) for user in users))
    for user in users:
        records = await asyncio.to_thread(live.records, user, 6)
        by_word = {record["request_preview"].split()[0]: record for record in records}
        assert set(by_word) == set(PATHS)
        for word, record in by_word.items():
            assert record["request_preview"] == f"{word} {user}"
            assert record["response_preview"] == f"Here is my answer to: {word} {user}"
            properties = record["request_properties"]
            assert properties["Helicone-Session-Id"] == f"session of {user}"
            assert properties["Helicone-Session-Name"] == "e2e"
            assert properties["Helicone-Session-Path"] == PATHS[word]
            assert properties["feature"] == "everything"
            assert record["total_tokens"] > 0
            assert record["cost"] > 0
            assert record["delay_ms"] >= 0


async def test_the_pages_show_what_was_said(app: httpx.AsyncClient, live: Running) -> None:
    """The requests page, the request's own page and the session's, through the same port."""
    headers = {"x-user": "page-user", "x-session": "page-session"}
    await app.post("/all", params={"word": "pagewords"}, headers=headers)
    records = await asyncio.to_thread(live.records, "page-user", 6)
    async with httpx.AsyncClient(base_url=live.url) as browser:
        listed = await browser.get("/ui/requests", params={"user": "page-user"})
        assert listed.text.count("pagewords") >= 6
        one = next(record for record in records if record["request_preview"].startswith("anthropic"))
        page = await browser.get(f"/ui/requests/{one['request_id']}")
        for text in ("claude-sonnet-4-6", "page-user", "anthropic pagewords", "Here is my answer to", "everything"):
            assert text in page.text, text
        session = await browser.get("/ui/sessions/page-session")
        assert "ChatOpenAI" in session.text
        for answer in (listed, page, session):
            assert answer.status_code == 200
            assert "sk-secret-provider-key" not in answer.text
            assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_streams_errors_and_odd_users_are_recorded(live: Running, settings: hc.Settings) -> None:
    """A stream without usage has unknown tokens, an error its status, a cut stream what came."""
    client = hc.connect(openai.OpenAI(base_url=f"{live.provider.url}/v1", api_key="k", max_retries=0), settings)
    with hc.context(user_id="odd\nuser"), client:
        list(client.chat.completions.create(model="gpt-4o", messages=ask("plain"), stream=True))
        with pytest.raises(openai.RateLimitError):
            client.chat.completions.create(model="gpt-4o", messages=ask("busy [[status=429]]"))
        with pytest.raises((openai.APIConnectionError, httpx.RemoteProtocolError)):
            list(client.chat.completions.create(model="gpt-4o", messages=ask("cut [[cut=4]]"), stream=True))
        client.embeddings.create(model="text-embedding-3-small", input="vector")
    plain, busy, cut, vector = live.records("odd user", 4)
    assert (plain["total_tokens"], plain["cost"], plain["status"]) == (None, None, 200)
    assert plain["response_preview"] == "Here is my answer to: plain"
    assert (busy["status"], busy["cost"], busy["response_preview"]) == (429, None, "scripted failure 429")
    assert (cut["ended"], cut["status"], cut["response_preview"]) == ("cut", 200, "Here is my")
    assert (vector["total_tokens"], vector["response_preview"]) == (4, "1 vector")
    assert vector["cost"] > 0


def test_gemini_and_gzip_are_recorded_readable(live: Running) -> None:
    """Another API, its stream, and compressed answers."""
    settings = hc.Settings(base_url=live.url, providers={live.provider.url: "google"})
    client = hc.connect(genai.Client(api_key="AIza-secret", http_options={"base_url": live.provider.url}), settings)
    live.provider.always(Reply(content_encoding="gzip"))
    with hc.context(user_id="gemini-user"):
        client.models.generate_content(model="gemini-2.5-flash", contents="whole")
        list(client.models.generate_content_stream(model="gemini-2.5-flash", contents="streamed"))
    client.close()
    records = live.records("gemini-user", 2)
    assert [record["response_preview"] for record in records] == [
        "Here is my answer to: whole",
        "Here is my answer to: streamed",
    ]
    assert all(record["cost"] > 0 for record in records)
    assert "AIza-secret" not in json.dumps(records)


def test_a_record_is_read_back_by_its_id(live: Running, settings: hc.Settings) -> None:
    """last_request_id() names the record."""
    client = hc.connect(openai.OpenAI(base_url=f"{live.provider.url}/v1", api_key="k"), settings)
    with hc.context(user_id="by-id"), client:
        client.chat.completions.create(model="gpt-4o", messages=ask("x"))
        request_id = hc.last_request_id()
    live.records("by-id", 1)
    data = httpx.get(f"{live.url}/v1/request/{request_id}").json()["data"]
    assert (data["request_id"], data["user_id"]) == (request_id, "by-id")


@pytest.fixture
def direct(provider: Provider) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{provider.url}/v1", api_key="k", max_retries=0) as client:
        yield client


def test_with_the_gateway_stopped_the_app_still_answers(direct: openai.OpenAI, provider: Provider) -> None:
    """Nothing listens at the gateway's address: the call is answered by the provider."""
    hc.connect(direct, base_url="http://127.0.0.1:9", providers={provider.url: "openai"})
    with hc.context(user_id="ada"):
        answer = direct.chat.completions.create(model="gpt-4o", messages=ask("still there?"))
    assert answer.choices[0].message.content == "Here is my answer to: still there?"
    assert not [name for name in provider.requests[0].headers if name.startswith("helicone")]
