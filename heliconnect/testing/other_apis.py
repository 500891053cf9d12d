"""The scripted provider's Anthropic Messages and Gemini.

Sources: https://docs.anthropic.com/en/api/messages, https://ai.google.dev/api/generate-content
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from heliconnect.testing.openai_api import sse
from heliconnect.testing.replies import Answer, Json

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
        "output_tokens": answer.output_tokens,
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
        for name, data in _block_steps(answer, block):
            yield sse({"type": name, "index": index, **data}, name)
        if index == 0:
            yield sse({"type": "ping"}, "ping")
    delta = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
    usage = {"output_tokens": answer.output_tokens}
    yield sse({"type": "message_delta", "delta": delta, "usage": usage}, "message_delta")
    yield sse({"type": "message_stop"}, "message_stop")


def _block_steps(answer: Answer, block: Json) -> Iterator[tuple[str, Json]]:
    delta = "content_block_delta"
    match block["type"]:
        case "text":
            yield "content_block_start", {"content_block": {"type": "text", "text": ""}}
            for piece in answer.pieces:
                yield delta, {"delta": {"type": "text_delta", "text": piece}}
        case "thinking":
            yield "content_block_start", {"content_block": {"type": "thinking", "thinking": "", "signature": ""}}
            yield delta, {"delta": {"type": "thinking_delta", "thinking": block["thinking"]}}
            yield delta, {"delta": {"type": "signature_delta", "signature": block["signature"]}}
        case _:
            yield "content_block_start", {"content_block": {**block, "input": {}}}
            arguments = str(block["input"]).replace("'", '"')
            yield delta, {"delta": {"type": "input_json_delta", "partial_json": arguments}}
    yield "content_block_stop", {}


def anthropic_error(status: int, text: str) -> Json:
    """An error in Anthropic's shape."""
    kinds = {401: "authentication_error", 429: "rate_limit_error", 529: "overloaded_error"}
    kind = kinds.get(status, "api_error" if status >= 500 else "invalid_request_error")
    return {"type": "error", "error": {"type": kind, "message": text}}


def _gemini_usage(answer: Answer) -> Json:
    visible = answer.output_tokens - answer.reasoning_tokens
    usage = {
        "promptTokenCount": answer.input_tokens,
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
    parts = [_candidate(answer, [{"text": piece}], is_last=False) for piece in answer.pieces]
    parts[-1]["candidates"][0]["finishReason"] = "STOP"
    partial = {"promptTokenCount": answer.input_tokens, "totalTokenCount": answer.input_tokens}
    return [{**part, "usageMetadata": partial} for part in parts[:-1]] + [
        {**parts[-1], "usageMetadata": _gemini_usage(answer)}
    ]


def gemini_embeddings(request: Json) -> Json:
    """One vector, or with `requests` one for each."""

    def vector(text: object) -> Json:
        return {"values": [byte / 255 for byte in hashlib.sha256(str(text).encode()).digest()[:8]]}

    if "requests" in request:
        return {"embeddings": [vector(one.get("content")) for one in request["requests"]]}
    return {"embedding": vector(request.get("content"))}


def gemini_error(status: int, text: str) -> Json:
    """An error in Google's shape."""
    kind = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 404: "NOT_FOUND", 429: "RESOURCE_EXHAUSTED"}.get(
        status, "INTERNAL"
    )
    return {"error": {"code": status, "message": text, "status": kind}}
