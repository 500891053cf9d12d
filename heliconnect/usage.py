"""Token counts: what providers report, in any API's shape, made into disjoint parts.

Works on parsed JSON: one object for a plain answer, a stream's objects in their order. Each reading below names the
page that defines it. What is not reported stays None; reports that contradict each other never give a negative count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation

from heliconnect.exchange import Usage

__all__ = ["billed_usage", "reported_cost", "usage_of"]

Json = Mapping[str, object]
_MAX_COUNT = 10**12


def usage_of(answers: Sequence[object]) -> Usage | None:
    """The usage that an answer reports; None when it reports none.

    Later reports of a stream win, field by field: Anthropic sends input counts first and output counts last, Gemini
    sends growing ones.
    """
    merged: dict[str, object] = {}
    for answer in answers:
        for report in _reports(answer):
            merged.update((name, value) for name, value in report.items() if value is not None)
    for key, read in _READINGS:
        if key in merged:
            return read(merged)
    return None


def billed_usage(answers: Sequence[object]) -> Usage | None:
    """The usage that is charged: as `usage_of`, but for Cohere, which charges other counts than the model saw.

    Source: https://docs.cohere.com/docs/how-does-cohere-pricing-work
    """
    billed: object = None
    for answer in answers:
        for report in _reports(answer):
            billed = report.get("billed_units") or billed
    if billed is None:
        return usage_of(answers)
    return Usage(input_tokens=_count(billed, "input_tokens"), output_tokens=_count(billed, "output_tokens"))


def reported_cost(answers: Sequence[object]) -> Decimal | None:
    """The cost in US dollars that the answer itself states; None when it states none.

    Source: https://openrouter.ai/docs/use-cases/usage-accounting
    """
    found: Decimal | None = None
    for answer in answers:
        for report in _reports(answer):
            cost = report.get("cost")
            if isinstance(cost, int | float | str) and not isinstance(cost, bool):
                try:
                    found = Decimal(str(cost))
                except InvalidOperation:
                    continue
    return found if found is not None and found.is_finite() and found >= 0 else None


def _reports(answer: object) -> Iterator[Json]:
    """Every usage report in one object, wherever its API keeps it."""
    if not isinstance(answer, Mapping):
        return
    inner = [answer.get(name) for name in ("response", "message", "x_groq", "delta")]
    for holder in (answer, *inner):
        if not isinstance(holder, Mapping):
            continue
        for name in ("usage", "usageMetadata", "meta"):
            report = holder.get(name)
            if isinstance(report, Mapping):
                yield report
    metrics = answer.get("amazon-bedrock-invocationMetrics")
    if isinstance(metrics, Mapping):
        yield {"inputTokens": metrics.get("inputTokenCount"), "outputTokens": metrics.get("outputTokenCount")}


def _count(report: object, *path: str) -> int | None:
    """The count at `path`; None when it is absent or no count."""
    for name in path:
        if not isinstance(report, Mapping):
            return None
        report = report.get(name)
    if isinstance(report, bool) or not isinstance(report, int | float):
        return None
    return int(report) if 0 <= report <= _MAX_COUNT else None


def _first(*counts: int | None) -> int | None:
    return next((count for count in counts if count is not None), None)


def _rest(total: int | None, *parts: int | None) -> tuple[int | None, ...]:
    """What of `total` is left beside `parts`, then the parts, none larger than what is left for it."""
    if total is None:
        return (None, *(None for _ in parts))
    left, kept = total, []
    for part in parts:
        taken = None if part is None else min(part, left)
        left -= taken or 0
        kept.append(taken)
    return (left, *kept)


def _parts(inputs: tuple[int | None, ...], outputs: tuple[int | None, ...]) -> Usage:
    """Usage of input's rest, cache reads, cache writes and audio, and of output's rest, reasoning and audio."""
    given, read, written, heard = inputs
    made, reasoned, spoken = outputs
    return Usage(
        input_tokens=given,
        cache_read_tokens=read,
        cache_write_tokens=written,
        input_audio_tokens=heard,
        output_tokens=made,
        reasoning_tokens=reasoned,
        output_audio_tokens=spoken,
    )


def _openai_chat(report: Json) -> Usage:
    """Chat Completions, legacy completions, embeddings, and every OpenAI-like API.

    Sources: https://platform.openai.com/docs/api-reference/chat/object, DeepSeek's cache hits
    https://api-docs.deepseek.com/guides/kv_cache, reasoning beside the completion at xAI https://docs.x.ai/docs/guides/reasoning
    """
    prompt, completion = _count(report, "prompt_tokens"), _count(report, "completion_tokens")
    total = _count(report, "total_tokens")
    reasoning = _count(report, "completion_tokens_details", "reasoning_tokens")
    if reasoning and prompt is not None and completion is not None and prompt + completion + reasoning == total:
        completion += reasoning
    inputs = _rest(
        prompt,
        _first(_count(report, "prompt_tokens_details", "cached_tokens"), _count(report, "prompt_cache_hit_tokens")),
        _count(report, "prompt_tokens_details", "cache_write_tokens"),
        _count(report, "prompt_tokens_details", "audio_tokens"),
    )
    outputs = _rest(completion, reasoning, _count(report, "completion_tokens_details", "audio_tokens"))
    return _parts(inputs, outputs)


def _input_output(report: Json) -> Usage:
    """Anthropic, whose caches stand beside input_tokens; OpenAI's Responses, audio and images, where they are within.

    Sources: https://docs.anthropic.com/en/docs/build-with-claude/prompt-caching,
    https://platform.openai.com/docs/api-reference/responses/object
    """
    if "cache_read_input_tokens" in report or "cache_creation_input_tokens" in report or "cache_creation" in report:
        return _anthropic(report)
    inputs = _rest(
        _count(report, "input_tokens"),
        _count(report, "input_tokens_details", "cached_tokens"),
        _count(report, "input_tokens_details", "cache_write_tokens"),
        _first(
            _count(report, "input_tokens_details", "audio_tokens"),
            _count(report, "input_token_details", "audio_tokens"),
        ),
    )
    outputs = _rest(
        _count(report, "output_tokens"),
        _count(report, "output_tokens_details", "reasoning_tokens"),
        _count(report, "output_tokens_details", "audio_tokens"),
    )
    return _parts(inputs, outputs)


def _anthropic(report: Json) -> Usage:
    short = _count(report, "cache_creation", "ephemeral_5m_input_tokens")
    long = _count(report, "cache_creation", "ephemeral_1h_input_tokens")
    written = _count(report, "cache_creation_input_tokens")
    if written is None and (short is not None or long is not None):
        written = (short or 0) + (long or 0)
    rest, one_hour = _rest(written, long)
    return Usage(
        input_tokens=_count(report, "input_tokens"),
        cache_read_tokens=_count(report, "cache_read_input_tokens"),
        cache_write_tokens=rest,
        cache_write_1h_tokens=one_hour,
        output_tokens=_count(report, "output_tokens"),
    )


def _gemini(report: Json) -> Usage:
    """Gemini and Vertex: cached content is part of the prompt, thoughts stand beside the candidates.

    Source: https://ai.google.dev/api/generate-content#UsageMetadata
    """
    prompt, tools = _count(report, "promptTokenCount"), _count(report, "toolUsePromptTokenCount")
    total = None if prompt is None and tools is None else (prompt or 0) + (tools or 0)
    heard = _modality(report.get("promptTokensDetails"), "AUDIO")
    if heard is not None:
        heard = max(heard - (_modality(report.get("cacheTokensDetails"), "AUDIO") or 0), 0)
    given, read, audio = _rest(total, _count(report, "cachedContentTokenCount"), heard)
    made, spoken = _rest(
        _count(report, "candidatesTokenCount"), _modality(report.get("candidatesTokensDetails"), "AUDIO")
    )
    return Usage(
        input_tokens=given,
        cache_read_tokens=read,
        input_audio_tokens=audio,
        output_tokens=made,
        reasoning_tokens=_count(report, "thoughtsTokenCount"),
        output_audio_tokens=spoken,
    )


def _modality(details: object, modality: str) -> int | None:
    found = [_count(row, "tokenCount") for row in details if _is_of(row, modality)] if isinstance(details, list) else []
    known = [count for count in found if count is not None]
    return sum(known) if known else None


def _is_of(row: object, modality: str) -> bool:
    return isinstance(row, Mapping) and row.get("modality") == modality


def _bedrock(report: Json) -> Usage:
    """Bedrock Converse: caches stand beside inputTokens.

    Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_TokenUsage.html
    """
    return Usage(
        input_tokens=_count(report, "inputTokens"),
        cache_read_tokens=_first(_count(report, "cacheReadInputTokens"), _count(report, "cacheReadInputTokenCount")),
        cache_write_tokens=_first(_count(report, "cacheWriteInputTokens"), _count(report, "cacheWriteInputTokenCount")),
        output_tokens=_count(report, "outputTokens"),
    )


def _cohere(report: Json) -> Usage:
    """Cohere: tokens are what the model saw, billed_units what is charged; the former where both are told.

    Source: https://docs.cohere.com/reference/chat
    """
    counted = report.get("tokens") if isinstance(report.get("tokens"), Mapping) else report.get("billed_units")
    given, read = _rest(_count(counted, "input_tokens"), _count(report, "cached_tokens"))
    return Usage(input_tokens=given, cache_read_tokens=read, output_tokens=_count(counted, "output_tokens"))


# A key that only this shape of report has -> how it is read.
_READINGS: tuple[tuple[str, Callable[[Json], Usage]], ...] = (
    ("promptTokenCount", _gemini),
    ("candidatesTokenCount", _gemini),
    ("prompt_tokens", _openai_chat),
    ("input_tokens", _input_output),
    ("inputTokens", _bedrock),
    ("outputTokens", _bedrock),
    ("tokens", _cohere),
    ("billed_units", _cohere),
    ("completion_tokens", _openai_chat),
)
