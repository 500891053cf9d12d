"""The scripted provider: the real SDKs take its answers for a provider's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import anthropic
import httpx
import openai
import pytest
from google import genai
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

from heliconnect.testing import Provider, Reply

MESSAGES = [{"role": "user", "content": "Why is the sky blue?"}]
ECHO = "Here is my answer to: Why is the sky blue?"


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
    with pytest.raises((openai.APIConnectionError, httpx.RemoteProtocolError)):
        chunks.extend(stream)
    assert len(chunks) == 2


def test_gzip_is_transparent_to_the_sdk(client: openai.OpenAI, provider: Provider) -> None:
    """A compressed answer, and a compressed stream, are read as if they were not."""
    provider.always(Reply(content_encoding="gzip"))
    whole = client.chat.completions.create(model="m", messages=MESSAGES).choices[0].message.content
    parts = client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
    assert "".join(part.choices[0].delta.content or "" for part in parts) == whole


async def test_openai_async_stream(provider: Provider) -> None:
    """The asynchronous OpenAI SDK reads the same stream."""
    async with openai.AsyncOpenAI(base_url=f"{provider.url}/v1", api_key="k", max_retries=0) as client:
        stream = await client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True)
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert text == ECHO


async def test_anthropic_async_stream(provider: Provider) -> None:
    """The asynchronous Anthropic SDK reads the same stream, with all counts in its end."""
    ask_for = {"model": "claude-sonnet-4-6", "max_tokens": 9, "messages": MESSAGES}
    async with (
        anthropic.AsyncAnthropic(base_url=provider.url, api_key="k", max_retries=0) as client,
        client.messages.stream(**ask_for) as stream,
    ):
        final = await stream.get_final_message()
    assert final.content[0].text == ECHO
    assert (final.usage.input_tokens, final.usage.output_tokens) == (8, 10)


def test_langchain_chat_and_embeddings(provider: Provider) -> None:
    """ChatOpenAI invokes and streams; OpenAIEmbeddings gets one vector for each text."""
    with openai.DefaultHttpxClient() as http:
        wiring = {"base_url": f"{provider.url}/v1", "api_key": "k", "http_client": http}
        model = ChatOpenAI(model="gpt-4o", **wiring)
        whole = model.invoke("Why is the sky blue?")
        assert (whole.content, whole.usage_metadata["total_tokens"]) == (ECHO, 18)
        assert "".join(str(chunk.content) for chunk in model.stream("Why is the sky blue?")) == ECHO
        vectors = OpenAIEmbeddings(check_embedding_ctx_length=False, **wiring).embed_documents(["a", "b"])
    assert [len(vector) for vector in vectors] == [8, 8]
    assert vectors[0] != vectors[1]


LITELLM = """
import sys, litellm
ask = {"model": "openai/gpt-4o", "messages": [{"role": "user", "content": "Why is the sky blue?"}]}
ask |= {"api_base": sys.argv[1], "api_key": "k"}
whole = litellm.completion(**ask)
chunks = litellm.completion(**ask, stream=True)
print(whole.choices[0].message.content, whole.usage.total_tokens)
print("".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices))
"""


def test_litellm_whole_and_streamed(provider: Provider) -> None:
    """LiteLLM reads both forms; in a process of its own, for it leaves an event loop and sockets open."""
    environ = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    command = [sys.executable, "-c", LITELLM, f"{provider.url}/v1"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines() == [f"{ECHO} 18", ECHO]


def test_gemini_embeddings(provider: Provider) -> None:
    """google-genai gets one vector for each text, as long as it asked for."""
    client = genai.Client(api_key="k", http_options={"base_url": provider.url})
    config = {"output_dimensionality": 3}
    answer = client.models.embed_content(model="gemini-embedding-001", contents=["a", "b"], config=config)
    client.close()
    assert [len(one.values) for one in answer.embeddings] == [3, 3]


def test_gemini_stream_without_sse_is_one_growing_array(provider: Provider) -> None:
    """Without alt=sse the stream is a JSON array, an element at a time."""
    url = f"{provider.url}/v1beta/models/gemini-2.5-flash:streamGenerateContent"
    answer = httpx.post(url, json={"contents": [{"role": "user", "parts": [{"text": "Why?"}]}]})
    texts = [part["candidates"][0]["content"]["parts"][0]["text"] for part in answer.json()]
    assert answer.headers["content-type"] == "application/json"
    assert "".join(texts) == "Here is my answer to: Why?"
    assert len(texts) > 1


def test_legacy_completions(client: openai.OpenAI) -> None:
    """The old endpoint gives its text whole and streamed."""
    whole = client.completions.create(model="davinci-002", prompt="Why?").choices[0].text
    parts = client.completions.create(model="davinci-002", prompt="Why?", stream=True)
    assert whole == "".join(part.choices[0].text for part in parts) == "Here is my answer to: Why?"


AWKWARD = {"text": 'it\'s "so"', "deep": {"on": True, "none": None}, "größe": 1.5}


def test_tool_arguments_survive_every_stream(
    client: openai.OpenAI, claude: anthropic.Anthropic, provider: Provider
) -> None:
    """Quotes, booleans and null in arguments come out of each stream as they were scripted."""
    provider.always(Reply(tool_calls=(("search", AWKWARD), ("stop", {}))))
    with client.chat.completions.stream(model="m", messages=MESSAGES) as chat:
        calls = chat.get_final_completion().choices[0].message.tool_calls
    assert [(call.function.name, json.loads(call.function.arguments)) for call in calls] == [
        ("search", AWKWARD),
        ("stop", {}),
    ]
    with client.responses.stream(model="m", input="x") as responses:
        snapshots = [event.snapshot for event in responses if event.type == "response.function_call_arguments.delta"]
    assert json.loads(snapshots[-2]) == AWKWARD
    with claude.messages.stream(model="m", max_tokens=9, messages=MESSAGES) as messages:
        assert [block.input for block in messages.get_final_message().content] == [AWKWARD, {}]


def test_reasoning_in_responses_is_streamed_and_counted(client: openai.OpenAI, provider: Provider) -> None:
    """The summary comes in deltas before the text; its tokens are part of the output's."""
    provider.always(Reply(text="Scattering.", reasoning="short waves win"))
    events = list(client.responses.create(model="m", input="x", stream=True))
    thought = "".join(event.delta for event in events if event.type == "response.reasoning_summary_text.delta")
    usage = events[-1].response.usage
    assert thought == "short waves win"
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert (usage.output_tokens, usage.output_tokens_details.reasoning_tokens) == (4, 3)


def test_embeddings_of_token_ids(client: openai.OpenAI) -> None:
    """A list of ids is one input, a list of lists many; each id is a token."""
    one = client.embeddings.create(model="m", input=[1, 2, 3], dimensions=4)
    many = client.embeddings.create(model="m", input=[[1, 2], [3]], dimensions=4)
    assert ([len(row.embedding) for row in one.data], one.usage.prompt_tokens) == ([4], 6)
    assert ([len(row.embedding) for row in many.data], many.usage.prompt_tokens) == ([4, 4], 6)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        pytest.param(401, "authentication_error", id="key"),
        pytest.param(404, "not_found_error", id="model"),
        pytest.param(429, "rate_limit_error", id="rate-limit"),
        pytest.param(529, "overloaded_error", id="overloaded"),
    ],
)
def test_anthropic_errors(claude: anthropic.Anthropic, provider: Provider, status: int, kind: str) -> None:
    """Anthropic's errors name their kind in Anthropic's words."""
    provider.script(Reply(status=status, text="no"))
    with pytest.raises(anthropic.APIStatusError) as raised:
        claude.messages.create(model="m", max_tokens=9, messages=MESSAGES)
    assert raised.value.status_code == status
    assert raised.value.body["error"] == {"type": kind, "message": "no"}


def test_gemini_errors(provider: Provider) -> None:
    """Google's errors carry code, message and status."""
    provider.script(Reply(status=429, text="slow down"))
    client = genai.Client(api_key="k", http_options={"base_url": provider.url})
    with pytest.raises(genai.errors.ClientError) as raised:
        client.models.generate_content(model="gemini-2.5-flash", contents="Why?")
    client.close()
    assert (raised.value.code, raised.value.status, raised.value.message) == (429, "RESOURCE_EXHAUSTED", "slow down")


def test_gemini_thoughts_and_calls(provider: Provider) -> None:
    """Thoughts are marked and counted apart, cached tokens named; a function call comes in one part."""
    provider.script(Reply(text="Scattering.", reasoning="short waves", usage={"cached": 2}))
    provider.script(Reply(tool_calls=(("search", AWKWARD),)))
    client = genai.Client(api_key="k", http_options={"base_url": provider.url})
    ask = {"model": "gemini-2.5-flash", "contents": "Why?"}
    parts = list(client.models.generate_content_stream(**ask))
    calls = [call for part in client.models.generate_content_stream(**ask) for call in part.function_calls or ()]
    client.close()
    pieces = [piece for part in parts for piece in part.candidates[0].content.parts]
    usage = parts[-1].usage_metadata
    assert [(piece.text, bool(piece.thought)) for piece in pieces] == [
        ("short ", True),
        ("waves", True),
        ("Scattering.", False),
    ]
    assert (usage.thoughts_token_count, usage.candidates_token_count, usage.cached_content_token_count) == (2, 1, 2)
    assert [(call.name, call.args) for call in calls] == [("search", AWKWARD)]


def test_a_single_gemini_embedding(provider: Provider) -> None:
    """embedContent gives one vector."""
    content = {"content": {"parts": [{"text": "a"}]}}
    answer = httpx.post(f"{provider.url}/v1beta/models/gemini-embedding-001:embedContent", json=content)
    assert len(answer.json()["embedding"]["values"]) == 8


def test_legacy_stream_has_usage_only_when_asked(client: openai.OpenAI) -> None:
    """As in chat, the last chunk holds it and no choices."""
    ask = {"model": "davinci-002", "prompt": "Why?", "stream": True}
    plain = list(client.completions.create(**ask))
    asked = list(client.completions.create(**ask, stream_options={"include_usage": True}))
    assert [part.usage for part in plain] == [None] * len(plain)
    assert (asked[-1].choices, asked[-1].usage.total_tokens) == ([], 10)
