"""The LiteLLM logger: every kind of call carries its metadata, its user and its surroundings."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import litellm
import pytest

import heliconnect as hc
from heliconnect.testing import Provider, Reply
from heliconnect_litellm import HeliconeLogger
from tests.conftest import GATEWAY_MARK

MESSAGES = [{"role": "user", "content": "hi"}]
CHAT_MODELS = [
    *("openai/gpt-4o", "anthropic/claude-sonnet-4-6", "gemini/gemini-2.5-flash", "groq/openai/gpt-oss-20b"),
    *("mistral/mistral-small", "deepseek/deepseek-chat", "azure/gpt-4o"),
]


@pytest.fixture(autouse=True)
def logger(provider: Provider, gateway: Provider) -> Iterator[HeliconeLogger]:
    hc.configure(base_url=gateway.url, providers={provider.url: "openai"})
    made = HeliconeLogger()
    litellm.callbacks = [made]
    yield made
    litellm.logging_callback_manager._reset_all_callbacks()


@pytest.fixture
def options(provider: Provider) -> dict[str, Any]:
    return {
        "api_base": f"{provider.url}/v1",
        "api_key": "sk-provider",
        "metadata": {"feature": "größe", "session_id": "s-1", "count": 3, "hidden_params": {"x": 1}},
    }


def options_for(model: str, options: dict[str, Any]) -> dict[str, Any]:
    return {**options, "api_version": "2024-06-01"} if model.startswith("azure") else options


def assert_whole(gateway: Provider, provider: Provider, count: int = 1) -> None:
    """Every call came through the gateway with the whole context and nothing of ours in its body."""
    assert provider.requests == []
    assert len(gateway.requests) == count
    for got in gateway.requests:
        headers = got.headers
        assert headers["helicone-user-id"] == "Zoë"
        assert headers["helicone-session-id"] == "s-1"
        assert headers["helicone-session-path"] == "/web"
        assert headers["helicone-property-feature"] == "größe"
        assert headers["helicone-property-count"] == "3"
        assert not {"helicone-context-ref", "helicone-property-hidden-params", "helicone-property-session_id"} & set(
            headers
        )
        assert "helicone" not in json.dumps(got.json()).lower()
        assert "extra_headers" not in got.json()


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("model", CHAT_MODELS)
def test_completion(
    model: str, is_stream: bool, options: dict[str, Any], gateway: Provider, provider: Provider
) -> None:
    """Synchronous chat with every provider LiteLLM talks to in another way."""
    with hc.context(user_id="Zoë", session_path="/web"):
        answer = litellm.completion(model=model, messages=MESSAGES, stream=is_stream, **options_for(model, options))
        assert list(answer) if is_stream else answer.choices[0].message.content
    assert_whole(gateway, provider)


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("model", CHAT_MODELS)
async def test_acompletion(
    model: str, is_stream: bool, options: dict[str, Any], gateway: Provider, provider: Provider
) -> None:
    """Asynchronous chat likewise."""
    with hc.context(user_id="Zoë", session_path="/web"):
        answer = await litellm.acompletion(
            model=model, messages=MESSAGES, stream=is_stream, **options_for(model, options)
        )
        assert [part async for part in answer] if is_stream else answer.choices[0].message.content
    assert_whole(gateway, provider)


OTHERS: list[Any] = [
    pytest.param(
        lambda o: litellm.aembedding(model="openai/text-embedding-3-small", input=["a"], **o), id="aembedding"
    ),
    pytest.param(
        lambda o: asyncio.to_thread(litellm.embedding, model="openai/text-embedding-3-small", input=["a"], **o),
        id="embedding",
    ),
    pytest.param(
        lambda o: litellm.atext_completion(model="text-completion-openai/davinci-002", prompt="a", **o), id="atext"
    ),
    pytest.param(
        lambda o: asyncio.to_thread(
            litellm.text_completion, model="text-completion-openai/davinci-002", prompt="a", **o
        ),
        id="text",
    ),
]


@pytest.mark.parametrize("call", OTHERS)
async def test_other_endpoints(
    call: Callable[[dict[str, Any]], Awaitable[Any]], options: dict[str, Any], gateway: Provider, provider: Provider
) -> None:
    """Embeddings and legacy completions, sync in a thread and async."""
    with hc.context(user_id="Zoë", session_path="/web"):
        await call(options)
    assert_whole(gateway, provider)


async def test_a_router_and_its_fallback_carry_it_too(
    options: dict[str, Any], gateway: Provider, provider: Provider
) -> None:
    """Each deployment that is tried is a call of its own, with the same context."""
    parameters = {"model": "openai/gpt-4o", "api_base": options["api_base"], "api_key": "k", "max_retries": 0}
    router = litellm.Router(
        model_list=[{"model_name": name, "litellm_params": parameters} for name in ("first", "second")],
        fallbacks=[{"first": ["second"]}],
        num_retries=0,
    )
    gateway.script(Reply(status=500, headers=(GATEWAY_MARK,)))
    with hc.context(user_id="Zoë", session_path="/web"):
        await router.acompletion(model="first", messages=MESSAGES, metadata=dict(options["metadata"]))
    assert_whole(gateway, provider, 2)
    assert len({got.headers["helicone-request-id"] for got in gateway.requests}) == 2


def test_the_calls_user_wins_over_the_surroundings(options: dict[str, Any], gateway: Provider) -> None:
    """`user=` is the user id; metadata's own user_id before it; explicit headers before all."""
    with hc.context(user_id="ambient"):
        litellm.completion(model="openai/gpt-4o", messages=MESSAGES, user="u-1", **options)
        options["metadata"] = {"user_id": "meta", "properties": {"Tier": "pro"}}
        litellm.completion(model="openai/gpt-4o", messages=MESSAGES, user="u-1", **options)
        litellm.completion(
            model="openai/gpt-4o", messages=MESSAGES, extra_headers={"Helicone-User-Id": "explicit"}, **options
        )
    assert [got.headers["helicone-user-id"] for got in gateway.requests] == ["u-1", "meta", "explicit"]
    assert gateway.requests[1].headers["helicone-property-tier"] == "pro"


def test_the_record_can_be_named(options: dict[str, Any]) -> None:
    """The response holds the record's id; so does last_request_id()."""
    answer = litellm.completion(model="openai/gpt-4o", messages=MESSAGES, **options)
    assert answer._hidden_params["additional_headers"]["llm_provider-helicone-id"] == GATEWAY_MARK[1]
    assert hc.last_request_id() is not None


def test_globals_and_the_callers_own_values_stay_as_they_were(options: dict[str, Any]) -> None:
    """Neither litellm.headers nor the caller's extra_headers is changed."""
    mine = {"X-Mine": "1"}
    litellm.completion(model="openai/gpt-4o", messages=MESSAGES, extra_headers=mine, **options)
    assert mine == {"X-Mine": "1"}
    assert not litellm.headers


def test_odd_metadata_harms_no_call(options: dict[str, Any], gateway: Provider) -> None:
    """Line ends, objects, None: left out or cleaned, and the call goes through."""
    options["metadata"] = {"a\nb": "c\r\nX: y", "none": None, "object": object(), "session_id": "  s  "}
    answer = litellm.completion(model="openai/gpt-4o", messages=MESSAGES, **options)
    assert answer.choices[0].message.content
    headers = gateway.requests[0].headers
    assert (headers["helicone-property-a-b"], headers["helicone-session-id"]) == ("c X: y", "s")


async def test_sixty_calls_at_once_do_not_mix(options: dict[str, Any], gateway: Provider) -> None:
    """Each call carries its own user."""

    async def one(number: int) -> None:
        messages = [{"role": "user", "content": f"u{number}"}]
        await litellm.acompletion(model="openai/gpt-4o", messages=messages, user=f"u{number}", **options)

    await asyncio.gather(*(one(number) for number in range(60)))
    pairs = [(got.headers["helicone-user-id"], got.json()["messages"][0]["content"]) for got in gateway.requests]
    assert len(pairs) == 60
    assert all(user == asked for user, asked in pairs)


async def test_a_mistake_of_ours_harms_no_call(
    options: dict[str, Any], provider: Provider, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Settings that cannot be read cost the context and one log line; sync and async calls go through."""
    from heliconnect import settings as module

    module._current = None
    monkeypatch.setenv("HELICONE_BASE_URL", "nonsense")
    with caplog.at_level("WARNING", "heliconnect"):
        for _ in range(2):
            litellm.completion(model="openai/gpt-4o", messages=MESSAGES, **options)
            await litellm.acompletion(model="openai/gpt-4o", messages=MESSAGES, **options)
    assert len(provider.requests) == 4
    assert len([record for record in caplog.records if "given its context" in record.message]) == 1


def test_disabled_adds_nothing(options: dict[str, Any], gateway: Provider, provider: Provider) -> None:
    """With routing disabled the provider sees the call as if the logger were not there."""
    hc.configure(base_url=gateway.url, providers={provider.url: "openai"}, disabled=True)
    litellm.completion(model="openai/gpt-4o", messages=MESSAGES, **options)
    litellm.completion(model="groq/openai/gpt-oss-20b", messages=MESSAGES, **options)
    assert len(provider.requests) == 2
    assert not [name for got in provider.requests for name in got.headers if name.startswith("helicone")]
