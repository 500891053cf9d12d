"""The scripted provider's Anthropic Messages and Gemini.

Sources: https://docs.anthropic.com/en/api/messages, https://ai.google.dev/api/generate-content
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from heliconnect.testing.openai_api import sse, vector_of
from heliconnect.testing.replies import Answer, Json, pieces_of

__all__ = [
    "anthropic_error",
    "gemini",
    "gemini_embeddings",
    "gemini_error",
    "gemini_parts",
    "message",
    "message_events",
]


def _anthropic_usage(answer: Answer) -> Json:
    return {
        "input_tokens": answer.input_tokens,
        "cache_creation_input_tokens": answer.cache_write_tokens,
        "cache_read_input_tokens": answer.cached_tokens,
        "cache_creation": {
            "ephemeral_5m_input_tokens": answer.cache_write_tokens,
            "ephemeral_1h_input_tokens": 0,
        },
        "output_tokens": answer.output_tokens,
        "service_tier": "standard",
    }


def _blocks(answer: Answer) -> list[Json]:
    blocks: list[Json] = []
    if answer.reasoning:
        blocks.append({"type": "thinking", "thinking": answer.reasoning, "signature": "c2lnbmVk"})
    if answer.text:
        blocks.append({"type": "text", "text": answer.text})
    blocks += [
        {"type": "tool_use", "id": f"toolu_{answer.number}_{n}", "name": name, "input": arguments}
        for n, (name, arguments) in enumerate(answer.tool_calls)
    ]
    return blocks


def message(answer: Answer) -> Json:
    """An Anthropic message."""
    return {
        "id": f"msg_{answer.number}",
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": _blocks(answer),
        "stop_reason": "tool_use" if answer.tool_calls else "end_turn",
        "stop_sequence": None,
        "usage": _anthropic_usage(answer),
    }


def message_events(answer: Answer) -> Iterator[bytes]:
    """An Anthropic message as a stream."""
    whole = message(answer)
    start = {**whole, "content": [], "stop_reason": None, "usage": {**whole["usage"], "output_tokens": 1}}
    yield sse({"type": "message_start", "message": start}, "message_start")
    for index, block in enumerate(whole["content"]):
        for name, data in _block_steps(block):
            yield sse({"type": name, "index": index, **data}, name)
            if index == 0 and name == "content_block_start":
                yield sse({"type": "ping"}, "ping")
    delta = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    counts = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")
    usage = {name: whole["usage"][name] for name in counts}
    yield sse({"type": "message_delta", "delta": delta, "usage": usage}, "message_delta")
    yield sse({"type": "message_stop"}, "message_stop")


def _block_steps(block: Json) -> Iterator[tuple[str, Json]]:
    delta = "content_block_delta"
    match block["type"]:
        case "text":
            yield "content_block_start", {"content_block": {"type": "text", "text": ""}}
            for piece in pieces_of(block["text"]):
                yield delta, {"delta": {"type": "text_delta", "text": piece}}
        case "thinking":
            yield "content_block_start", {"content_block": {"type": "thinking", "thinking": "", "signature": ""}}
            for piece in pieces_of(block["thinking"]):
                yield delta, {"delta": {"type": "thinking_delta", "thinking": piece}}
            yield delta, {"delta": {"type": "signature_delta", "signature": block["signature"]}}
        case _:
            yield "content_block_start", {"content_block": {**block, "input": {}}}
            for piece in ("", *pieces_of(json.dumps(block["input"]))):
                yield delta, {"delta": {"type": "input_json_delta", "partial_json": piece}}
    yield "content_block_stop", {}


def anthropic_error(status: int, text: str) -> Json:
    """An error in Anthropic's shape."""
    kind = _ANTHROPIC_ERRORS.get(status, "api_error" if status >= 500 else "invalid_request_error")
    return {"type": "error", "error": {"type": kind, "message": text}, "request_id": "req_scripted"}


# Source: https://docs.anthropic.com/en/api/errors
_ANTHROPIC_ERRORS = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}


def _gemini_usage(answer: Answer) -> Json:
    visible = answer.output_tokens - answer.reasoning_tokens
    usage: Json = {
        "promptTokenCount": answer.input_tokens,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": answer.input_tokens}],
        "candidatesTokenCount": visible,
        "totalTokenCount": answer.input_tokens + answer.output_tokens,
    }
    if answer.reasoning_tokens:
        usage["thoughtsTokenCount"] = answer.reasoning_tokens
    if answer.cached_tokens:
        usage["cachedContentTokenCount"] = answer.cached_tokens
    return usage


def _candidate(answer: Answer, parts: list[Json], *, is_last: bool) -> Json:
    candidate: Json = {"content": {"parts": parts, "role": "model"}, "index": 0}
    if is_last:
        candidate["finishReason"] = "STOP"
    return {"candidates": [candidate], "modelVersion": answer.model, "responseId": f"gem-{answer.number}"}


def gemini(answer: Answer) -> Json:
    """A Gemini answer."""
    calls = [{"functionCall": {"name": name, "args": arguments}} for name, arguments in answer.tool_calls]
    thoughts = [{"text": answer.reasoning, "thought": True}] if answer.reasoning else []
    text = [{"text": answer.text}] if answer.text else []
    body = _candidate(answer, [*thoughts, *text, *calls], is_last=True)
    return {**body, "usageMetadata": _gemini_usage(answer)}


def gemini_parts(answer: Answer) -> list[Json]:
    """A Gemini answer as the objects of a stream; the last one holds the whole usage."""
    if answer.tool_calls or not answer.pieces:
        return [gemini(answer)]
    thoughts: list[Json] = [{"text": piece, "thought": True} for piece in pieces_of(answer.reasoning or "")]
    text: list[Json] = [{"text": piece} for piece in answer.pieces]
    parts = [_candidate(answer, [part], is_last=False) for part in (*thoughts, *text)]
    parts[-1]["candidates"][0]["finishReason"] = "STOP"
    partial = {"promptTokenCount": answer.input_tokens, "totalTokenCount": answer.input_tokens}
    return [{**part, "usageMetadata": partial} for part in parts[:-1]] + [
        {**parts[-1], "usageMetadata": _gemini_usage(answer)}
    ]


def gemini_embeddings(answer: Answer, request: Json) -> Json:
    """One vector, or with `requests` one for each; of eight numbers, or as `outputDimensionality` says."""

    def vector(one: Json) -> Json:
        return {"values": vector_of(one.get("content"), one.get("outputDimensionality"))}

    usage = {"usageMetadata": {"promptTokenCount": answer.input_tokens}}
    if "requests" in request:
        return {"embeddings": [vector(one) for one in request["requests"]], **usage}
    return {"embedding": vector(request), **usage}


def gemini_error(status: int, text: str) -> Json:
    """An error in Google's shape."""
    kind = _GEMINI_ERRORS.get(status, "INTERNAL" if status >= 500 else "INVALID_ARGUMENT")
    return {"error": {"code": status, "message": text, "status": kind}}


# Source: https://ai.google.dev/gemini-api/docs/troubleshooting
_GEMINI_ERRORS = {
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
