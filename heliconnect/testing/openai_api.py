"""The scripted provider's OpenAI: Chat Completions, legacy completions, embeddings, models.

The Responses API has a module of its own, responses_api.py.

Source: https://platform.openai.com/docs/api-reference
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Iterator
from typing import Any

from heliconnect.testing.replies import Answer, Json, pieces_of

__all__ = [
    "chat",
    "chat_events",
    "completion",
    "completion_events",
    "embeddings",
    "error",
    "models",
    "sse",
    "vector_of",
]

CREATED = 1_767_225_600  # 2026-01-01: fixed, so that the same request gets the same bytes


def sse(data: Any, event: str | None = None) -> bytes:
    """One server-sent event."""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    return (f"event: {event}\n" if event else "").encode() + f"data: {text}\n\n".encode()


def _usage(answer: Answer) -> Json:
    return {
        "prompt_tokens": answer.input_tokens,
        "completion_tokens": answer.output_tokens,
        "total_tokens": answer.input_tokens + answer.output_tokens,
        "prompt_tokens_details": {"cached_tokens": answer.cached_tokens, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": answer.reasoning_tokens,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _tool_calls(answer: Answer) -> list[Json]:
    return [
        {"id": f"call_{answer.number}_{n}", "type": "function"}
        | {"function": {"name": name, "arguments": json.dumps(arguments)}}
        for n, (name, arguments) in enumerate(answer.tool_calls)
    ]


def _tool_call_deltas(answer: Answer) -> Iterator[Json]:
    """Each call with its name and no arguments yet, then the arguments in pieces."""
    for index, call in enumerate(_tool_calls(answer)):
        yield {"tool_calls": [{"index": index, **call, "function": {**call["function"], "arguments": ""}}]}
        for piece in pieces_of(call["function"]["arguments"]):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def _chat_head(answer: Answer, kind: str) -> Json:
    return {"id": f"chatcmpl-{answer.number}", "object": kind, "created": CREATED, "model": answer.model}


def chat(answer: Answer) -> Json:
    """A chat completion."""
    message: Json = {"role": "assistant", "content": answer.text or None, "refusal": None}
    if answer.tool_calls:
        message["tool_calls"] = _tool_calls(answer)
    finish = "tool_calls" if answer.tool_calls else "stop"
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": finish}
    head = _chat_head(answer, "chat.completion")
    return {**head, "choices": [choice], "usage": _usage(answer), "service_tier": "default"}


def chat_events(answer: Answer, request: Json) -> Iterator[bytes]:
    """A chat completion as a stream; usage comes only where `stream_options.include_usage` asks for it."""
    head = _chat_head(answer, "chat.completion.chunk")
    with_usage = bool((request.get("stream_options") or {}).get("include_usage"))

    def chunk(delta: Json, finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return sse({**head, "choices": [choice], **({"usage": None} if with_usage else {})})

    yield chunk({"role": "assistant", "content": None if answer.tool_calls else "", "refusal": None})
    for piece in answer.pieces:
        yield chunk({"content": piece})
    for delta in _tool_call_deltas(answer):
        yield chunk(delta)
    yield chunk({}, "tool_calls" if answer.tool_calls else "stop")
    if with_usage:
        yield sse({**head, "choices": [], "usage": _usage(answer)})
    yield sse("[DONE]")


def completion(answer: Answer) -> Json:
    """A legacy completion."""
    choice = {"index": 0, "text": answer.text, "logprobs": None, "finish_reason": "stop"}
    head = {"id": f"cmpl-{answer.number}", "object": "text_completion", "created": CREATED, "model": answer.model}
    return {**head, "choices": [choice], "usage": _usage(answer)}


def completion_events(answer: Answer, request: Json) -> Iterator[bytes]:
    """A legacy completion as a stream."""
    head = {"id": f"cmpl-{answer.number}", "object": "text_completion", "created": CREATED, "model": answer.model}
    for piece in answer.pieces:
        yield sse({**head, "choices": [{"index": 0, "text": piece, "logprobs": None, "finish_reason": None}]})
    yield sse({**head, "choices": [{"index": 0, "text": "", "logprobs": None, "finish_reason": "stop"}]})
    if (request.get("stream_options") or {}).get("include_usage"):
        yield sse({**head, "choices": [], "usage": _usage(answer)})
    yield sse("[DONE]")


def vector_of(value: object, size: int | None) -> list[float]:
    """Numbers from 0 to 1 that stand for `value`, the same ones each time: `size` of them, or eight."""
    size = size or 8
    digest = hashlib.shake_256(str(value).encode()).digest(size)
    return [byte / 255 for byte in digest]


def embeddings(answer: Answer, request: Json) -> Json:
    """One vector for each input, as floats or, where asked for, base64; of eight numbers, or as `dimensions` says.

    An input is a text or a list of token ids; a list of such is many.
    """
    given = request.get("input")
    is_many = isinstance(given, list) and not all(isinstance(item, int) for item in given)
    data = []
    for index, item in enumerate(given if is_many and isinstance(given, list) else [given]):
        floats = vector_of(item, request.get("dimensions"))
        packed = base64.b64encode(struct.pack(f"<{len(floats)}f", *floats)).decode()
        embedding = packed if request.get("encoding_format") == "base64" else floats
        data.append({"object": "embedding", "index": index, "embedding": embedding})
    usage = {"prompt_tokens": answer.input_tokens, "total_tokens": answer.input_tokens}
    return {"object": "list", "data": data, "model": answer.model, "usage": usage}


def models() -> Json:
    """The list of models."""
    names = ("gpt-4o", "gpt-4o-mini", "gpt-4.1-mini")
    return {
        "object": "list",
        "data": [{"id": name, "object": "model", "created": CREATED, "owned_by": "openai"} for name in names],
    }


def error(status: int, message: str) -> Json:
    """An error in OpenAI's shape."""
    kind, code = _ERRORS.get(status, ("server_error" if status >= 500 else "invalid_request_error", None))
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


# Source: https://platform.openai.com/docs/guides/error-codes
_ERRORS: dict[int, tuple[str, str | None]] = {
    401: ("invalid_request_error", "invalid_api_key"),
    429: ("rate_limit_error", "rate_limit_exceeded"),
}
