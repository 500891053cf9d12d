"""The calls of the matrix: each SDK and framework, each way of calling it. A case gives what the SDK gave.

A case imports what it needs itself, so that the ones whose packages are absent are skipped. `url` is the provider's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

ASK = [{"role": "user", "content": "hi"}]
OLLAMA = (
    b'{"model":"m","created_at":"2026-01-01T00:00:00Z","done":true,'
    + b'"message":{"role":"assistant","content":"hi"}}\n'
)

CLAUDE = "claude-sonnet-4-6"
GEMINI = "gemini-2.5-flash"
Call = Callable[[str], Any]
AsyncCall = Callable[[str], Awaitable[Any]]


@dataclass(frozen=True)
class Case:
    """One call. package is what it needs, provider whose API it speaks, body a raw answer where one is needed."""

    name: str
    package: str
    provider: str
    call: Call
    body: bytes | None = None


def ways(now: Call, stream: Call, later: AsyncCall, stream_later: AsyncCall) -> Call:
    """A call in all four ways: synchronous and asynchronous, whole and streamed."""

    def call(url: str) -> Any:
        async def both() -> Any:
            return [await later(url), await stream_later(url)]

        return [now(url), stream(url), *asyncio.run(both())]

    return call


def openai_now(url: str) -> Any:
    import openai

    with openai.OpenAI(base_url=f"{url}/v1", api_key="k") as client:
        return client.chat.completions.create(model="m", messages=ASK)


def openai_stream(url: str) -> Any:
    import openai

    with openai.OpenAI(base_url=f"{url}/v1", api_key="k") as client:
        stream = client.chat.completions.create(model="m", messages=ASK, stream=True)
        return [type(stream), list(stream)]


async def openai_later(url: str) -> Any:
    import openai

    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k") as client:
        return await client.chat.completions.create(model="m", messages=ASK)


async def openai_stream_later(url: str) -> Any:
    import openai

    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k") as client:
        stream = await client.chat.completions.create(model="m", messages=ASK, stream=True)
        return [type(stream), [part async for part in stream]]


def openai_aiohttp(url: str) -> Any:
    import openai

    async def call() -> Any:
        try:
            http_client = openai.DefaultAioHttpClient()
        except RuntimeError as error:
            pytest.skip(str(error))
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k", http_client=http_client) as client:
            return await client.chat.completions.create(model="m", messages=ASK)

    return asyncio.run(call())


def openai_raw(url: str) -> Any:
    import openai

    with openai.OpenAI(base_url=f"{url}/v1", api_key="k") as client:
        raw = client.chat.completions.with_raw_response.create(model="m", messages=ASK)
        with client.chat.completions.with_streaming_response.create(model="m", messages=ASK) as streamed:
            return [type(raw), raw.parse(), type(streamed), streamed.parse()]


def responses_now(url: str) -> Any:
    import openai

    with openai.OpenAI(base_url=f"{url}/v1", api_key="k") as client:
        return client.responses.create(model="m", input="hi")


def responses_stream(url: str) -> Any:
    import openai

    with openai.OpenAI(base_url=f"{url}/v1", api_key="k") as client:
        return list(client.responses.create(model="m", input="hi", stream=True))


async def responses_later(url: str) -> Any:
    import openai

    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k") as client:
        return await client.responses.create(model="m", input="hi")


async def responses_stream_later(url: str) -> Any:
    import openai

    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k") as client:
        return [event async for event in await client.responses.create(model="m", input="hi", stream=True)]


def openai_embeddings(url: str) -> Any:
    import openai

    async def later() -> Any:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k") as client:
            return await client.embeddings.create(model="m", input="hi")

    with openai.OpenAI(base_url=f"{url}/v1", api_key="k") as client:
        return [client.embeddings.create(model="m", input="hi"), asyncio.run(later())]


def anthropic_now(url: str) -> Any:
    import anthropic

    with anthropic.Anthropic(base_url=url, api_key="k") as client:
        return client.messages.create(model=CLAUDE, max_tokens=9, messages=ASK)


def anthropic_stream(url: str) -> Any:
    import anthropic

    with anthropic.Anthropic(base_url=url, api_key="k") as client:
        with client.messages.stream(model=CLAUDE, max_tokens=9, messages=ASK) as stream:
            return [type(stream), list(stream)]


async def anthropic_later(url: str) -> Any:
    import anthropic

    async with anthropic.AsyncAnthropic(base_url=url, api_key="k") as client:
        return await client.messages.create(model=CLAUDE, max_tokens=9, messages=ASK)


async def anthropic_stream_later(url: str) -> Any:
    import anthropic

    async with anthropic.AsyncAnthropic(base_url=url, api_key="k") as client:
        async with client.messages.stream(model=CLAUDE, max_tokens=9, messages=ASK) as stream:
            return [type(stream), [event async for event in stream]]


def genai_now(url: str) -> Any:
    from google import genai

    client = genai.Client(api_key="k", http_options={"base_url": url})
    return client.models.generate_content(model=GEMINI, contents="hi")


def genai_stream(url: str) -> Any:
    from google import genai

    client = genai.Client(api_key="k", http_options={"base_url": url})
    return list(client.models.generate_content_stream(model=GEMINI, contents="hi"))


async def genai_later(url: str) -> Any:
    from google import genai

    client = genai.Client(api_key="k", http_options={"base_url": url})
    return await client.aio.models.generate_content(model=GEMINI, contents="hi")


async def genai_stream_later(url: str) -> Any:
    from google import genai

    client = genai.Client(api_key="k", http_options={"base_url": url})
    stream = await client.aio.models.generate_content_stream(model=GEMINI, contents="hi")
    return [part async for part in stream]


def chat(make: Call) -> Call:
    """invoke, ainvoke, stream and astream of a LangChain chat model."""

    def call(url: str) -> Any:
        async def later() -> Any:
            return [await make(url).ainvoke("hi"), [part async for part in make(url).astream("hi")]]

        return [make(url).invoke("hi"), list(make(url).stream("hi")), *asyncio.run(later())]

    return call


def chat_openai(url: str) -> Any:
    from langchain_openai import ChatOpenAI

    return ChatOpenAI(model="m", base_url=f"{url}/v1", api_key="k")


def chat_anthropic(url: str) -> Any:
    from langchain_anthropic import ChatAnthropic

    return ChatAnthropic(model=CLAUDE, base_url=url, api_key="k", max_tokens=9)


def chat_google(url: str) -> Any:
    from langchain_google_genai import ChatGoogleGenerativeAI

    return ChatGoogleGenerativeAI(model=GEMINI, google_api_key="k", base_url=url)


def chat_mistral(url: str) -> Any:
    from langchain_mistralai import ChatMistralAI

    return ChatMistralAI(model="m", api_key="k", endpoint=f"{url}/v1")


def chat_groq(url: str) -> Any:
    from langchain_groq import ChatGroq

    return ChatGroq(model="m", api_key="k", base_url=url)


def chat_ollama(url: str) -> Any:
    from langchain_ollama import ChatOllama

    return ChatOllama(model="m", base_url=url)


def litellm_both(url: str) -> Any:
    import litellm

    options: dict[str, Any] = {"model": "openai/m", "messages": ASK, "api_base": f"{url}/v1", "api_key": "k"}

    async def later() -> Any:
        stream = await litellm.acompletion(**options, stream=True)
        return [await litellm.acompletion(**options), [part async for part in stream]]

    return [litellm.completion(**options), list(litellm.completion(**options, stream=True)), *asyncio.run(later())]


def pydantic_ai(url: str) -> Any:
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    def agent() -> Any:
        return Agent(OpenAIChatModel("m", provider=OpenAIProvider(base_url=f"{url}/v1", api_key="k")))

    async def later() -> Any:
        async with agent().run_stream("hi") as run:
            return [(await agent().run("hi")).output, [part async for part in run.stream_text()]]

    return [agent().run_sync("hi").output, asyncio.run(later())]


def openai_agents(url: str) -> Any:
    import agents
    import openai

    agents.set_tracing_disabled(True)

    async def call() -> Any:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k") as client:
            model = agents.OpenAIChatCompletionsModel("m", openai_client=client)
            agent = agents.Agent("a", model=model)
            streamed = agents.Runner.run_streamed(agent, "hi")
            events = [event.type async for event in streamed.stream_events()]
            return [(await agents.Runner.run(agent, "hi")).final_output, sorted(set(events))]

    return asyncio.run(call())


def llama_index(url: str) -> Any:
    from llama_index.llms.openai import OpenAI

    def model() -> Any:
        return OpenAI(model="gpt-4o", api_base=f"{url}/v1", api_key="k")

    async def later() -> Any:
        stream = await model().astream_complete("hi")
        return [await model().acomplete("hi"), [part async for part in stream]]

    return [model().complete("hi"), list(model().stream_complete("hi")), *asyncio.run(later())]


def instructor(url: str) -> Any:
    import instructor
    import openai

    asked: dict[str, Any] = {"model": "m", "messages": ASK, "response_model": None}

    async def later() -> Any:
        async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k") as client:
            return await instructor.from_openai(client, mode=instructor.Mode.MD_JSON).create(**asked)

    with openai.OpenAI(base_url=f"{url}/v1", api_key="k") as client:
        return [instructor.from_openai(client, mode=instructor.Mode.MD_JSON).create(**asked), asyncio.run(later())]


def dspy(url: str) -> Any:
    import dspy

    def model() -> Any:
        return dspy.LM("openai/m", api_base=f"{url}/v1", api_key="k", cache=False)

    return [model()("hi"), asyncio.run(model().acall("hi"))]


CASES = (
    Case("openai chat", "openai", "openai", ways(openai_now, openai_stream, openai_later, openai_stream_later)),
    Case(
        *("openai responses", "openai", "openai"),
        ways(responses_now, responses_stream, responses_later, responses_stream_later),
    ),
    Case("openai with_raw_response", "openai", "openai", openai_raw),
    Case("openai DefaultAioHttpClient", "openai", "openai", openai_aiohttp),
    Case("openai embeddings", "openai", "openai", openai_embeddings),
    Case(
        *("anthropic messages", "anthropic", "anthropic"),
        ways(anthropic_now, anthropic_stream, anthropic_later, anthropic_stream_later),
    ),
    Case("google-genai", "google-genai", "google", ways(genai_now, genai_stream, genai_later, genai_stream_later)),
    Case("langchain-openai", "langchain-openai", "openai", chat(chat_openai)),
    Case("langchain-anthropic", "langchain-anthropic", "anthropic", chat(chat_anthropic)),
    Case("langchain-google-genai", "langchain-google-genai", "google", chat(chat_google)),
    Case("langchain-mistralai", "langchain-mistralai", "mistral", chat(chat_mistral)),
    Case("langchain-groq", "langchain-groq", "groq", chat(chat_groq)),
    Case("langchain-ollama", "langchain-ollama", "ollama", chat(chat_ollama), OLLAMA),
    Case("litellm", "litellm", "openai", litellm_both),
    Case("pydantic-ai", "pydantic-ai-slim", "openai", pydantic_ai),
    Case("openai-agents", "openai-agents", "openai", openai_agents),
    Case("llama-index", "llama-index-llms-openai", "openai", llama_index),
    Case("instructor", "instructor", "openai", instructor),
    Case("dspy", "dspy", "openai", dspy),
)
