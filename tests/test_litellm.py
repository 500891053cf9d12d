"""The LiteLLM logger: every kind of call carries its metadata, its user and its surroundings."""

from __future__ import annotations

import asyncio
import json
import logging
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


def test_batches_carry_the_surroundings(options: dict[str, Any], gateway: Provider, provider: Provider) -> None:
    """LiteLLM makes them in bare threads: each call of a batch is its caller's, whichever function makes the batch."""
    questions = [[{"role": "user", "content": str(number)}] for number in range(6)]
    with hc.context(user_id="Zoë", session_path="/web"):
        answers = litellm.batch_completion("openai/gpt-4o", questions, **options)
        assert [type(answer).__name__ for answer in answers] == ["ModelResponse"] * 6
        litellm.batch_completion_models(models=["openai/gpt-4o", "groq/m"], messages=MESSAGES, **options)
    assert_whole(gateway, provider, 8)


@pytest.mark.parametrize("model", ["ollama/llama3", "ollama_chat/llama3"])
async def test_a_server_that_is_not_known_gets_nothing_of_ours(model: str, provider: Provider) -> None:
    """An Ollama on an unusual port is called as ever; configured, it is routed."""
    hc.configure(base_url="http://127.0.0.1:1")
    provider.always(
        Reply(body=json.dumps({"model": "llama3", "response": "hi", "message": {"content": "hi"}}).encode())
    )
    options = {"api_base": provider.url, "messages": MESSAGES, "metadata": {"session_id": "s-1"}, "user": "ada"}
    litellm.completion(model=model, **options)
    await litellm.acompletion(model=model, **options)
    chats = [got for got in provider.requests if got.method == "POST"]
    assert len(chats) >= 2
    assert not [name for got in chats for name in got.headers if name.startswith("helicone")]


def test_uninstalled_it_adds_nothing(options: dict[str, Any], gateway: Provider, provider: Provider) -> None:
    """After hc.uninstall() no call carries anything of ours."""
    hc.uninstall()
    litellm.completion("openai/gpt-4o", MESSAGES, **options)
    assert gateway.requests == []
    assert not [name for name in provider.requests[0].headers if name.startswith("helicone")]


def test_litellms_own_callback_makes_no_second_record(
    options: dict[str, Any], gateway: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said once, and LiteLLM's "helicone" logs nothing of what is routed."""
    litellm.success_callback = ["helicone"]
    with caplog.at_level(logging.WARNING, "heliconnect"):
        for _ in range(3):
            litellm.completion("openai/gpt-4o", MESSAGES, **options)
    assert len(gateway.requests) == 3
    assert "helicone" not in litellm.success_callback
    assert [record.getMessage().count("twice") for record in caplog.records if record.name == "heliconnect"] == [1]


def test_the_proxys_config_names_an_instance() -> None:
    """`callbacks: heliconnect_litellm.logger`, as the proxy resolves it."""
    import heliconnect_litellm

    pytest.importorskip("fastapi")
    from litellm.proxy.types_utils.utils import get_instance_fn

    found = get_instance_fn("heliconnect_litellm.logger")
    assert isinstance(found, HeliconeLogger)
    assert found is heliconnect_litellm.logger
    with pytest.raises(AttributeError, match="nonsense"):
        heliconnect_litellm.nonsense  # noqa: B018 - reading it is the test


IMAGE = {"created": 1, "data": [{"url": "http://127.0.0.1/x.png"}]}
FURTHER = [
    pytest.param(lambda o: litellm.aresponses(model="openai/gpt-4o", input="hi", **o), None, id="aresponses"),
    pytest.param(
        lambda o: asyncio.to_thread(litellm.responses, model="openai/gpt-4o", input="hi", **o), None, id="responses"
    ),
    pytest.param(lambda o: litellm.aimage_generation(model="openai/gpt-image-1", prompt="a", **o), IMAGE, id="aimage"),
    pytest.param(
        lambda o: asyncio.to_thread(litellm.image_generation, model="openai/gpt-image-1", prompt="a", **o),
        IMAGE,
        id="image",
    ),
]


@pytest.mark.parametrize(("call", "body"), FURTHER)
async def test_responses_and_images(
    call: Callable[[dict[str, Any]], Awaitable[Any]],
    body: dict[str, Any] | None,
    options: dict[str, Any],
    gateway: Provider,
    provider: Provider,
) -> None:
    """OpenAI's newer endpoints, too."""
    if body is not None:
        gateway.always(Reply(headers=(GATEWAY_MARK,), body=json.dumps(body).encode()))
    options["metadata"]["count"] = "3"  # OpenAI's own metadata takes text only, and LiteLLM sees to that
    with hc.context(user_id="Zoë", session_path="/web"):
        await call(options)
    assert_whole(gateway, provider)
