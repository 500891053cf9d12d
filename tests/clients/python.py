"""Python clients that are pointed at the gateway by hand: a base URL and Helicone's default headers.

A call imports what it needs itself, so that the ones whose packages are absent are skipped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from tests.clients.said import (
    ASK,
    CHAT_MODEL,
    CLAUDE,
    EMBEDDING_MODEL,
    HELICONE_KEY,
    KEY,
    QUESTION,
    Client,
    Got,
    Headers,
)

USAGE = {"include_usage": True}


def chat_answer(answer: Any) -> Got:
    return Got(answer.choices[0].message.content, answer.usage.prompt_tokens, answer.usage.completion_tokens)


def chat_stream(chunks: Iterable[Any]) -> Got:
    """A streamed chat; the tokens are None where no chunk tells them."""
    seen = list(chunks)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in seen if chunk.choices)
    usage = next((chunk.usage for chunk in reversed(seen) if getattr(chunk, "usage", None)), None)
    return Got(text, usage and usage.prompt_tokens, usage and usage.completion_tokens)


def openai_chat(url: str, headers: Headers) -> list[Got]:
    import openai

    asked: dict[str, Any] = {"model": CHAT_MODEL, "messages": ASK}
    options: dict[str, Any] = {"base_url": f"{url}/v1", "api_key": KEY, "default_headers": headers, "max_retries": 0}

    async def later() -> list[Got]:
        async with openai.AsyncOpenAI(**options) as client:
            whole = chat_answer(await client.chat.completions.create(**asked))
            stream = await client.chat.completions.create(**asked, stream=True, stream_options=USAGE)
            return [whole, chat_stream([chunk async for chunk in stream])]

    with openai.OpenAI(**options) as client:
        whole = chat_answer(client.chat.completions.create(**asked))
        streamed = chat_stream(client.chat.completions.create(**asked, stream=True, stream_options=USAGE))
        return [whole, streamed, *asyncio.run(later())]


def openai_more(url: str, headers: Headers) -> list[Got]:
    import openai

    with openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, default_headers=headers, max_retries=0) as client:
        whole = client.responses.create(model=CHAT_MODEL, input=QUESTION)
        *_, last = client.responses.create(model=CHAT_MODEL, input=QUESTION, stream=True)
        vectors = client.embeddings.create(model=EMBEDDING_MODEL, input=QUESTION)
        assert len(vectors.data[0].embedding) == 8
        made = [(one.output_text, one.usage.input_tokens, one.usage.output_tokens) for one in (whole, last.response)]
        return [*(Got(*one) for one in made), Got(None, vectors.usage.prompt_tokens, None)]


def anthropic_messages(url: str, headers: Headers) -> list[Got]:
    import anthropic

    asked: dict[str, Any] = {"model": CLAUDE, "max_tokens": 9, "messages": ASK}
    options: dict[str, Any] = {"base_url": url, "api_key": KEY, "default_headers": headers, "max_retries": 0}

    async def later() -> Any:
        async with anthropic.AsyncAnthropic(**options) as client:
            return await client.messages.create(**asked)

    with anthropic.Anthropic(**options) as client:
        with client.messages.stream(**asked) as stream:
            streamed = stream.get_final_message()
        answers = [client.messages.create(**asked), asyncio.run(later())]
    return [Got(one.content[0].text, one.usage.input_tokens, one.usage.output_tokens) for one in (streamed, *answers)]


def litellm_routed(url: str, headers: Headers) -> list[Got]:
    import litellm

    def options(model: str, base: str) -> dict[str, Any]:
        return {"model": model, "messages": ASK, "api_base": base, "api_key": KEY, "extra_headers": dict(headers)}

    async def later() -> Any:
        return await litellm.acompletion(**options(f"openai/{CHAT_MODEL}", f"{url}/v1"))

    streamed = options(f"openai/{CHAT_MODEL}", f"{url}/v1")
    return [
        chat_answer(litellm.completion(**options(f"openai/{CHAT_MODEL}", f"{url}/v1"))),
        chat_stream(litellm.completion(**streamed, stream=True, stream_options=USAGE)),
        chat_answer(asyncio.run(later())),
        chat_answer(litellm.completion(**options(f"helicone/{CHAT_MODEL}", f"{url}/v1"))),
        chat_answer(litellm.completion(**options(f"anthropic/{CLAUDE}", url))),
    ]


def llama_index_helicone(url: str, headers: Headers) -> list[Got]:
    """It sends `api_key` as Authorization, but does not hand it to the OpenAI SDK, which asks for one of its own."""
    from llama_index.core.llms import ChatMessage
    from llama_index.llms.helicone import Helicone

    def model() -> Any:
        options: dict[str, Any] = {"is_chat_model": True, "default_headers": dict(headers), "max_retries": 0}
        return Helicone(model=CHAT_MODEL, api_base=f"{url}/v1", api_key=KEY, **options)

    message = ChatMessage(role="user", content=QUESTION)
    with pytest.MonkeyPatch.context() as environ:
        environ.setenv("OPENAI_API_KEY", "not-sent")
        whole = model().chat([message])
        *_, last = model().stream_chat([message])
    usage = whole.raw.usage
    return [
        Got(whole.message.content, usage.prompt_tokens, usage.completion_tokens),
        Got(last.message.content, None, None),
    ]


CLIENTS = (
    Client("openai chat", "openai", "chat, whole and streamed, synchronous and asynchronous", openai_chat),
    Client("openai responses", "openai", "Responses, whole and streamed; embeddings", openai_more),
    Client("openai, key in the path", "openai", "the Helicone key in the path", openai_chat, f"/{HELICONE_KEY}"),
    Client("anthropic", "anthropic", "messages, whole and streamed, synchronous and asynchronous", anthropic_messages),
    Client(
        *("anthropic, key in the path", "anthropic", "the Helicone key in the path"),
        *(anthropic_messages, f"/{HELICONE_KEY}"),
    ),
    Client(
        *("litellm", "litellm", "`api_base` and `extra_headers`: `openai/`, `anthropic/` and `helicone/` models"),
        litellm_routed,
    ),
    Client("llama-index", "llama-index-llms-helicone", "chat, whole and streamed", llama_index_helicone),
)
