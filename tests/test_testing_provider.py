"""The scripted provider: the real SDKs take its answers for a provider's."""

from __future__ import annotations

import time
from collections.abc import Iterator

import anthropic
import httpx
import openai
import pytest
from google import genai

from heliconnect.testing import Provider, Reply

MESSAGES = [{"role": "user", "content": "Why is the sky blue?"}]


@pytest.fixture(scope="module")
def shared() -> Iterator[Provider]:
    with Provider() as provider:
        yield provider


@pytest.fixture
def provider(shared: Provider) -> Provider:
    shared.clear()
    return shared


@pytest.fixture
def client(provider: Provider) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{provider.url}/v1", api_key="sk-test", max_retries=0) as made:
        yield made


@pytest.fixture
def claude(provider: Provider) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=provider.url, api_key="sk-test", max_retries=0) as made:
        yield made


def test_chat_completion_echoes_the_question(client: openai.OpenAI, provider: Provider) -> None:
    """The OpenAI SDK gets a whole chat completion; the provider shows what arrived."""
    answer = client.chat.completions.create(model="gpt-4o", messages=MESSAGES, extra_headers={"X-One": "1"})
    assert answer.choices[0].message.content == "Here is my answer to: Why is the sky blue?"
    assert (answer.model, answer.usage.prompt_tokens, answer.usage.completion_tokens) == ("gpt-4o", 8, 10)
    assert provider.requests[0].headers["x-one"] == "1"
    assert provider.requests[0].json()["messages"] == MESSAGES


def test_chat_stream_has_usage_only_when_asked(client: openai.OpenAI) -> None:
    """As at OpenAI, `stream_options.include_usage` adds a last chunk with usage and no choices."""
    plain = list(client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True))
    assert all(chunk.usage is None for chunk in plain)
    asked = list(
        client.chat.completions.create(
            model="gpt-4o", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
        )
    )
    assert asked[-1].usage.total_tokens == 18
    assert asked[-1].choices == []
    text = "".join(chunk.choices[0].delta.content or "" for chunk in asked[:-1])
    assert text == "Here is my answer to: Why is the sky blue?"


def test_responses_and_their_stream_agree(client: openai.OpenAI) -> None:
    """The Responses API gives the same text whole and streamed, with usage in the completed response."""
    whole = client.responses.create(model="gpt-4o", input="Why is the sky blue?")
    with client.responses.stream(model="gpt-4o", input="Why is the sky blue?") as stream:
        deltas = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        final = stream.get_final_response()
    assert whole.output_text == final.output_text == deltas
    assert whole.usage == final.usage


def test_tool_calls_reach_every_sdk(client: openai.OpenAI, claude: anthropic.Anthropic, provider: Provider) -> None:
    """A scripted tool call arrives as each SDK's tool call, streamed ones too."""
    reply = Reply(tool_calls=(("search", {"q": "sky"}),))
    provider.always(reply)
    call = client.chat.completions.create(model="gpt-4o", messages=MESSAGES).choices[0].message.tool_calls[0]
    assert (call.function.name, call.function.arguments) == ("search", '{"q": "sky"}')
    item = client.responses.create(model="gpt-4o", input="x").output[0]
    assert (item.type, item.name) == ("function_call", "search")
    with claude.messages.stream(model="claude-sonnet-4-6", max_tokens=9, messages=MESSAGES) as stream:
        block = stream.get_final_message().content[0]
    assert (block.type, block.name, block.input) == ("tool_use", "search", {"q": "sky"})


def test_embeddings_and_models(client: openai.OpenAI) -> None:
    """The SDK's base64 vectors decode to the same floats; models are listed."""
    encoded = client.embeddings.create(model="text-embedding-3-small", input=["a", "b"])
    floats = client.embeddings.create(model="text-embedding-3-small", input=["a", "b"], encoding_format="float")
    assert [len(one.embedding) for one in encoded.data] == [8, 8]
    assert encoded.data[0].embedding == pytest.approx(floats.data[0].embedding, abs=1e-6)
    assert "gpt-4o" in [model.id for model in client.models.list()]


def test_anthropic_messages(claude: anthropic.Anthropic, provider: Provider) -> None:
    """The Anthropic SDK gets text, thinking and cache counts, whole and streamed."""
    provider.always(Reply(text="Rayleigh scattering.", reasoning="short waves", usage={"cached": 7, "input": 5}))
    ask = {"model": "claude-sonnet-4-6", "max_tokens": 9, "messages": MESSAGES}
    whole = claude.messages.create(**ask)
    with claude.messages.stream(**ask) as stream:
        final = stream.get_final_message()
    assert [block.type for block in whole.content] == ["thinking", "text"]
    assert final.content[1].text == whole.content[1].text == "Rayleigh scattering."
    assert (final.usage.cache_read_input_tokens, final.usage.input_tokens) == (7, 5)


def test_gemini_sync_and_stream(provider: Provider) -> None:
    """google-genai gets the same text whole and streamed."""
    client = genai.Client(api_key="k", http_options={"base_url": provider.url})
    whole = client.models.generate_content(model="gemini-2.5-flash", contents="Why is the sky blue?")
    parts = list(client.models.generate_content_stream(model="gemini-2.5-flash", contents="Why is the sky blue?"))
    assert whole.text == "".join(part.text for part in parts)
    assert parts[-1].usage_metadata.total_token_count == whole.usage_metadata.total_token_count
    client.close()


async def test_gemini_async(provider: Provider) -> None:
    """google-genai's asynchronous client, which may use another HTTP library, is answered as well."""
    client = genai.Client(api_key="k", http_options={"base_url": provider.url})
    answer = await client.aio.models.generate_content(model="gemini-2.5-flash", contents="Why?")
    assert answer.text == "Here is my answer to: Why?"
    await client.aio.aclose()
    client.close()


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        pytest.param(429, openai.RateLimitError, id="rate-limit"),
        pytest.param(401, openai.AuthenticationError, id="key"),
        pytest.param(503, openai.InternalServerError, id="server"),
    ],
)
def test_a_request_can_ask_for_trouble(client: openai.OpenAI, status: int, expected: type[Exception]) -> None:
    """A directive in the question gives the error of that status, in the provider's shape."""
    with pytest.raises(expected):
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": f"go [[status={status}]]"}])


def test_scripted_replies_come_in_order_then_the_default(client: openai.OpenAI, provider: Provider) -> None:
    """script() is used up first, always() answers the rest."""
    provider.script(Reply(text="one"), Reply(text="two"))
    provider.always(Reply(text="rest"))
    texts = [client.chat.completions.create(model="m", messages=MESSAGES).choices[0].message.content for _ in range(4)]
    assert texts == ["one", "two", "rest", "rest"]


def test_a_cut_stream_breaks_the_connection(client: openai.OpenAI, provider: Provider) -> None:
    """cut_after ends the stream without its terminator, which the SDK reports as an error."""
    provider.script(Reply(cut_after=2))
    chunks = []
    stream = client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
    with pytest.raises(openai.APIConnectionError):
        chunks.extend(stream)
    assert len(chunks) == 2


def test_gzip_is_transparent_to_the_sdk(client: openai.OpenAI, provider: Provider) -> None:
    """A compressed answer, and a compressed stream, are read as if they were not."""
    provider.always(Reply(content_encoding="gzip"))
    whole = client.chat.completions.create(model="m", messages=MESSAGES).choices[0].message.content
    parts = client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
    assert "".join(part.choices[0].delta.content or "" for part in parts) == whole


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
