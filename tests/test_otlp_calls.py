"""Which spans are calls, and what they say of usage, provider, parameters and tools."""

from __future__ import annotations

import json

import pytest

from heliconnect.recorder import finish
from tests.spans import Json, Taking, bodies_of, capture_of, span

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
NOW = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o"}
OLD = {"gen_ai.system": "OpenAI", "gen_ai.request.model": "gpt-4o", "llm.request.type": "chat"}
INFERENCE = {"openinference.span.kind": "LLM", "llm.system": "openai", "llm.model_name": "gpt-4o"}
AI_SDK = {"gen_ai.system": "openai.chat", "gen_ai.request.model": "gpt-4o"}


def parts(*given: Json, role: str, **more: str) -> Json:
    return {"role": role, "parts": list(given), **more}


def text(said: str) -> Json:
    return {"type": "text", "content": said}


FULL = {
    "prompt_tokens": 100,
    "completion_tokens": 50,
    "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10},
    "completion_tokens_details": {"reasoning_tokens": 20},
}


@pytest.mark.parametrize(
    ("told", "usage"),
    [
        pytest.param(
            {
                "gen_ai.usage.input_tokens": 100,
                "gen_ai.usage.output_tokens": 50,
                "gen_ai.usage.cache_read.input_tokens": 60,
                "gen_ai.usage.cache_creation.input_tokens": 10,
                "gen_ai.usage.reasoning.output_tokens": 20,
            },
            FULL,
            id="gen-ai",
        ),
        pytest.param(
            {
                "gen_ai.usage.prompt_tokens": 100,
                "gen_ai.usage.completion_tokens": 50,
                "gen_ai.usage.cache_read_input_tokens": 60,
                "gen_ai.usage.cache_creation_input_tokens": 10,
                "llm.usage.reasoning_tokens": 20,
                "llm.usage.total_tokens": 150,
            },
            {**FULL, "total_tokens": 150},
            id="traceloop",
        ),
        pytest.param(
            {
                "llm.token_count.prompt": 100,
                "llm.token_count.completion": 50,
                "llm.token_count.prompt_details.cache_read": 60,
                "llm.token_count.prompt_details.cache_write": 10,
                "llm.token_count.completion_details.reasoning": 20,
            },
            FULL,
            id="openinference",
        ),
        pytest.param(
            {"gen_ai.usage.input_tokens": 10, "gen_ai.usage.cache_read.input_tokens": 60},
            {"prompt_tokens": 70, "prompt_tokens_details": {"cached_tokens": 60}},
            id="caches-beside-the-input",
        ),
        pytest.param({"gen_ai.usage.output_tokens": 50}, {"completion_tokens": 50}, id="output-alone"),
        pytest.param({"llm.usage.total_tokens": 150}, {"total_tokens": 150}, id="total-alone"),
        pytest.param({"gen_ai.usage.input_tokens": 3.0}, {"prompt_tokens": 3}, id="whole-float"),
        pytest.param({"gen_ai.usage.input_tokens": "3"}, None, id="text"),
        pytest.param({"gen_ai.usage.input_tokens": -1}, None, id="negative"),
        pytest.param({"gen_ai.usage.input_tokens": True}, None, id="boolean"),
        pytest.param({}, None, id="nothing"),
    ],
)
def test_only_counts_that_are_told_are_known(told: Json, usage: Json | None) -> None:
    """In the shape of OpenAI's usage."""
    _, answer = bodies_of(span({**NOW, **told}))
    assert answer.get("usage") == usage


def test_usage_and_cost_are_those_of_any_call() -> None:
    """Disjoint parts, priced by the answer's model; a part that was not told stays unknown."""
    told = {"gen_ai.usage.input_tokens": 100, "gen_ai.usage.cache_read.input_tokens": 60}
    exchange = finish(capture_of(span({**NOW, **told, "gen_ai.usage.output_tokens": 50})))
    assert exchange.usage is not None
    assert (exchange.usage.input_tokens, exchange.usage.cache_read_tokens) == (40, 60)
    assert exchange.cost is not None
    assert float(exchange.cost.total_usd) == pytest.approx(40 * 2.5e-6 + 60 * 1.25e-6 + 50 * 1e-5)
    alone = finish(capture_of(span({**NOW, "gen_ai.usage.output_tokens": 50}))).usage
    assert alone is not None
    assert (alone.input_tokens, alone.output_tokens) == (None, 50)
    logged = finish(capture_of(span({**INFERENCE, "llm.cost.total": 0.25}))).cost
    assert (logged and float(logged.total_usd), logged and logged.source) == (0.25, "logged")


@pytest.mark.parametrize(
    ("attributes", "is_record"),
    [
        pytest.param(NOW, True, id="chat"),
        pytest.param({**NOW, "gen_ai.operation.name": "generate_content"}, True, id="generate-content"),
        pytest.param({**NOW, "gen_ai.operation.name": "invoke_agent"}, False, id="agent"),
        pytest.param({**NOW, "gen_ai.operation.name": "execute_tool"}, False, id="tool"),
        pytest.param(OLD, True, id="traceloop-call"),
        pytest.param({**OLD, "llm.request.type": "completion"}, True, id="traceloop-completion"),
        pytest.param({**OLD, "traceloop.span.kind": "workflow"}, False, id="traceloop-workflow"),
        pytest.param(AI_SDK, True, id="provider-and-model"),
        pytest.param({"gen_ai.system": "openai"}, False, id="provider-alone"),
        pytest.param(INFERENCE, True, id="openinference-llm"),
        pytest.param({**INFERENCE, "openinference.span.kind": "CHAIN"}, False, id="openinference-chain"),
        pytest.param({"http.request.method": "GET"}, False, id="no-model"),
    ],
)
def test_calls_are_told_from_other_spans(attributes: Json, is_record: bool) -> None:
    """An agent, a chain or a tool may name a model too: it is none."""
    taking = Taking()
    taking.take(span(attributes))
    assert bool(taking.kept.captures) is is_record


@pytest.mark.parametrize(
    ("told", "provider"),
    [
        pytest.param({"gen_ai.provider.name": "gcp.gemini"}, "google", id="gemini"),
        pytest.param({"gen_ai.provider.name": "gcp.vertex_ai"}, "vertex", id="vertex"),
        pytest.param({"gen_ai.provider.name": "aws.bedrock"}, "bedrock", id="bedrock"),
        pytest.param({"gen_ai.provider.name": "azure.ai.openai"}, "azure", id="azure"),
        pytest.param({"gen_ai.system": "Anthropic"}, "anthropic", id="case"),
        pytest.param({"gen_ai.system": "anthropic.messages"}, "anthropic", id="ai-sdk"),
        pytest.param({"llm.provider": "mistralai", "llm.system": "openai"}, "mistral", id="openinference"),
        pytest.param({"gen_ai.provider.name": "my.own"}, "my.own", id="unknown"),
        pytest.param({"server.address": "api.groq.com"}, "groq", id="by-host"),
        pytest.param({"server.address": "llm.example.com"}, None, id="unknown-host"),
        pytest.param({}, None, id="untold"),
    ],
)
def test_providers_have_our_names(told: Json, provider: str | None) -> None:
    """So that prices and filters know them."""
    call = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"}
    assert capture_of(span({**call, **told})).provider == provider


def test_parameters_and_tools_are_in_the_request() -> None:
    """By OpenAI's names, whichever convention told them."""
    now = {
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 10,
        "gen_ai.request.stop_sequences": ["END"],
        "gen_ai.request.stream": True,
        "gen_ai.tool.definitions": json.dumps(
            [{"type": "function", "name": "weather", "parameters": {"type": "object"}}]
        ),
    }
    request, _ = bodies_of(span({**NOW, **now}))
    assert request == {
        "model": "gpt-4o",
        "temperature": 0.5,
        "max_tokens": 10,
        "stop": ["END"],
        "stream": True,
        "tools": [TOOL],
    }
    given = {"llm.invocation_parameters": json.dumps({"model": "gpt-4o", "temperature": 0.5})}
    request, _ = bodies_of(span({**INFERENCE, **given, "llm.tools.0.tool.json_schema": json.dumps(TOOL)}))
    assert request == {"model": "gpt-4o", "temperature": 0.5, "tools": [TOOL]}
    old = {"llm.request.functions.0.name": "weather", "llm.request.functions.0.parameters": '{"type": "object"}'}
    assert bodies_of(span({**OLD, **old}))[0]["tools"] == [TOOL]


@pytest.mark.parametrize(
    "attributes",
    [
        pytest.param(
            {
                **NOW,
                "gen_ai.operation.name": "embeddings",
                "gen_ai.input.messages": json.dumps([parts(text("a"), role="user"), parts(text("b"), role="user")]),
            },
            id="gen-ai",
        ),
        pytest.param(
            {
                **INFERENCE,
                "openinference.span.kind": "EMBEDDING",
                "embedding.model_name": "gpt-4o",
                "embedding.embeddings.0.embedding.text": "a",
                "embedding.embeddings.1.embedding.text": "b",
            },
            id="openinference",
        ),
    ],
)
def test_embeddings_have_a_shape_of_their_own(attributes: Json) -> None:
    """What was embedded is the input; the vectors are not kept."""
    capture = capture_of(span(attributes))
    assert json.loads(capture.request_body) == {"model": "gpt-4o", "input": ["a", "b"]}
    assert finish(capture).flavor == "embeddings"
    vectors = {f"embedding.embeddings.{at}.embedding.vector": [0.1, 0.2] for at in range(2)}
    preview = finish(capture_of(span({**attributes, **vectors}))).response_preview
    assert preview == "2 vectors"


def test_an_embedding_of_which_nothing_is_told_says_nothing() -> None:
    """No input is made up, and no vector."""
    request, answer = bodies_of(span({**NOW, "gen_ai.operation.name": "embeddings"}))
    assert (request, answer) == ({"model": "gpt-4o"}, {"object": "list"})
