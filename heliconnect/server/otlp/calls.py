"""LLM calls among spans: which spans are one, and what they say of model, provider, usage and parameters.

Sources: https://opentelemetry.io/docs/specs/semconv/registry/attributes/gen-ai/ (old names too),
https://github.com/traceloop/openllmetry/tree/main/packages/opentelemetry-semantic-conventions-ai,
https://github.com/Arize-ai/openinference/blob/main/spec/semantic_conventions.md
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from heliconnect.routing import provider_by_name, provider_of
from heliconnect.server.otlp.nested import first, integer, parsed, text
from heliconnect.server.otlp.spans import Attributes

__all__ = ["cost_of", "is_call", "is_embedding", "models_of", "parameters_of", "provider_name", "usage_of"]

_OPERATION = "gen_ai.operation.name"
_CALLS = frozenset(
    {"chat", "completion", "text_completion", "text_generation", "generate_content", "embedding", "embeddings"}
    | {"responses", "rerank", "image_generation", "transcription", "speech"}
)
_PROVIDER = ("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system")
_ASKED = ("gen_ai.request.model", "llm.request.model_name", "llm.request.model")
_ANSWERED = ("gen_ai.response.model", "llm.response.model_name", "llm.response.model")
_NAMED = ("llm.model_name", "embedding.model_name")
# Names of providers elsewhere -> ours.
_PROVIDERS = {
    "gcp.gemini": "google",
    "gcp.gen_ai": "google",
    "gemini": "google",
    "google.generative-ai": "google",
    "gcp.vertex_ai": "vertex",
    "google.vertex": "vertex",
    "vertex_ai": "vertex",
    "vertexai": "vertex",
    "azure.ai.openai": "azure",
    "azure.ai.inference": "azure",
    "az.ai.openai": "azure",
    "az.ai.inference": "azure",
    "aws.bedrock": "bedrock",
    "amazon-bedrock": "bedrock",
    "aws": "bedrock",
    "mistral_ai": "mistral",
    "mistralai": "mistral",
    "x_ai": "xai",
    "together_ai": "together",
    "hugging_face": "huggingface",
}
# A count's place in OpenAI's usage -> the attributes that tell it.
_COUNTS = (
    (
        "prompt_tokens",
        *("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.usage.prompt_tokens"),
        *("llm.token_count.prompt", "ai.usage.inputTokens", "ai.usage.promptTokens", "ai.usage.tokens"),
    ),
    (
        "completion_tokens",
        *("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.usage.completion_tokens"),
        *("llm.token_count.completion", "ai.usage.outputTokens", "ai.usage.completionTokens"),
    ),
    ("total_tokens", "gen_ai.usage.total_tokens", "llm.usage.total_tokens", "llm.token_count.total"),
    (
        "prompt_tokens_details.cached_tokens",
        *("gen_ai.usage.cache_read.input_tokens", "gen_ai.usage.cache_read_input_tokens"),
        *("gen_ai.usage.details.cache_read_tokens", "llm.token_count.prompt_details.cache_read"),
        *("llm.token_count.prompt_details.cache_input", "ai.usage.cachedInputTokens"),
    ),
    (
        "prompt_tokens_details.cache_write_tokens",
        *("gen_ai.usage.cache_creation.input_tokens", "gen_ai.usage.cache_creation_input_tokens"),
        *("gen_ai.usage.details.cache_write_tokens", "llm.token_count.prompt_details.cache_write"),
    ),
    ("prompt_tokens_details.audio_tokens", "llm.token_count.prompt_details.audio"),
    (
        "completion_tokens_details.reasoning_tokens",
        *("gen_ai.usage.reasoning.output_tokens", "gen_ai.usage.reasoning_tokens", "llm.usage.reasoning_tokens"),
        *("gen_ai.usage.details.reasoning_tokens", "llm.token_count.completion_details.reasoning"),
        "ai.usage.reasoningTokens",
    ),
    ("completion_tokens_details.audio_tokens", "llm.token_count.completion_details.audio"),
)
# A field of OpenAI's request -> the attributes that tell it.
_PARAMETERS = (
    ("temperature", ("gen_ai.request.temperature", "llm.request.temperature")),
    ("top_p", ("gen_ai.request.top_p", "llm.top_p")),
    ("top_k", ("gen_ai.request.top_k", "llm.top_k")),
    ("max_tokens", ("gen_ai.request.max_tokens", "gen_ai.request.max_completion_tokens")),
    ("frequency_penalty", ("gen_ai.request.frequency_penalty", "llm.frequency_penalty")),
    ("presence_penalty", ("gen_ai.request.presence_penalty", "llm.presence_penalty")),
    ("seed", ("gen_ai.request.seed", "gen_ai.openai.request.seed")),
    ("stop", ("gen_ai.request.stop_sequences", "llm.chat.stop_sequences")),
    ("n", ("gen_ai.request.choice.count", "gen_ai.request.n")),
    ("reasoning_effort", ("gen_ai.request.reasoning_effort",)),
    ("stream", ("gen_ai.request.stream", "gen_ai.is_streaming", "llm.is_streaming")),
    ("user", ("gen_ai.user", "llm.user")),
)


def is_call(attributes: Attributes) -> bool:
    """Whether a span is one call of a model: no agent, tool, chain or retrieval, whatever models those name."""
    operation, kind = text(attributes, _OPERATION), text(attributes, "openinference.span.kind")
    if operation is not None:
        return operation.lower() in _CALLS
    if kind is not None:
        return kind.upper() in {"LLM", "EMBEDDING"}
    if "traceloop.span.kind" in attributes:
        return False
    asked = text(attributes, "llm.request.type")
    if asked is not None:
        return asked.lower() in _CALLS
    return text(attributes, *_PROVIDER) is not None and any(models_of(attributes))


def is_embedding(attributes: Attributes) -> bool:
    """Whether a call asks for vectors."""
    named = text(attributes, _OPERATION, "openinference.span.kind", "llm.request.type") or ""
    return named.lower().startswith("embedding")


def models_of(attributes: Attributes) -> tuple[str | None, str | None]:
    """The model that was asked for, and the one that answered."""
    named = text(attributes, *_NAMED)
    given = _invocation(attributes).get("model")
    asked = text(attributes, *_ASKED) or (given if isinstance(given, str) else None) or named
    return asked, text(attributes, *_ANSWERED) or named


def provider_name(attributes: Attributes) -> str | None:
    """Who served the call, by our name where we have one; None where nothing tells."""
    told = text(attributes, *_PROVIDER)
    host = text(attributes, "server.address")
    if told is None:
        found = None if host is None else provider_of(host)
        return None if found is None else found.name
    name = told.strip().lower()[:100]
    if name in _PROVIDERS:
        return _PROVIDERS[name]
    known = provider_by_name(name) or provider_by_name(name.partition(".")[0])  # the AI SDK's "openai.chat"
    return name if known is None else known.name


def usage_of(attributes: Attributes) -> dict[str, Any]:
    """The usage in the shape of OpenAI's chat: only what attributes tell.

    Input counts caches too, output reasoning; an input smaller than its caches, as some tools have it, leaves them out.
    """
    usage: dict[str, Any] = {}
    for place, *names in _COUNTS:
        count = integer(attributes, *names)
        if count is not None:
            holder, _, name = place.rpartition(".")
            (usage.setdefault(holder, {}) if holder else usage)[name] = count
    details = usage.get("prompt_tokens_details", {})
    cached = details.get("cached_tokens", 0) + details.get("cache_write_tokens", 0)
    if usage.get("prompt_tokens", cached) < cached:
        usage["prompt_tokens"] += cached
    return usage


def cost_of(attributes: Attributes) -> str | None:
    """The cost in US dollars that the span tells."""
    found = first(attributes, "llm.cost.total", "gen_ai.usage.cost")
    return str(found) if isinstance(found, int | float) and not isinstance(found, bool) else None


def parameters_of(attributes: Attributes) -> dict[str, Any]:
    """The parameters of the request, by OpenAI's names."""
    found = {name: value for name, value in _invocation(attributes).items() if name not in {"model", "messages"}}
    for name, names in _PARAMETERS:
        value = first(attributes, *names)
        if value is not None:
            found[name] = value
    return found


def _invocation(attributes: Attributes) -> Mapping[str, Any]:
    given = parsed(first(attributes, "llm.invocation_parameters", "embedding.invocation_parameters"))
    return given if isinstance(given, Mapping) else {}
