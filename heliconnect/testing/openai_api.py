"""The scripted provider's OpenAI: Chat Completions, Responses, legacy completions, embeddings, models.

Source: https://platform.openai.com/docs/api-reference
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections.abc import Iterator
from typing import Any

from heliconnect.testing.replies import Answer, Json

__all__ = ["chat", "chat_events", "completion", "completion_events", "embeddings", "error", "models", "responses"]

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
        "completion_tokens_details": {"reasoning_tokens": answer.reasoning_tokens, "audio_tokens": 0},
    }


def _tool_calls(answer: Answer, *, indexed: bool = False) -> list[Json]:
    return [
        ({"index": n} if indexed else {})
        | {"id": f"call_{answer.number}_{n}", "type": "function"}
        | {"function": {"name": name, "arguments": json.dumps(arguments)}}
        for n, (name, arguments) in enumerate(answer.tool_calls)
    ]


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

    yield chunk({"role": "assistant", "content": "", "refusal": None})
    for piece in answer.pieces:
        yield chunk({"content": piece})
    for call in _tool_calls(answer, indexed=True):
        yield chunk({"tool_calls": [call]})
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


def _response_output(answer: Answer) -> list[Json]:
    items: list[Json] = []
    if answer.reasoning:
        summary = [{"type": "summary_text", "text": answer.reasoning}]
        items.append({"id": f"rs_{answer.number}", "type": "reasoning", "summary": summary})
    for n, (name, arguments) in enumerate(answer.tool_calls):
        items.append(
            {"id": f"fc_{answer.number}_{n}", "type": "function_call", "call_id": f"call_{answer.number}_{n}"}
            | {"name": name, "arguments": json.dumps(arguments), "status": "completed"}
        )
    if answer.text:
        content = [{"type": "output_text", "text": answer.text, "annotations": [], "logprobs": []}]
        items.append(
            {"id": f"msg_{answer.number}", "type": "message", "role": "assistant", "status": "completed"}
            | {"content": content}
        )
    return items


def responses(answer: Answer, status: str = "completed") -> Json:
    """A response of the Responses API; while it is in progress without output and usage."""
    is_done = status == "completed"
    usage = {
        "input_tokens": answer.input_tokens,
        "input_tokens_details": {"cached_tokens": answer.cached_tokens},
        "output_tokens": answer.output_tokens,
        "output_tokens_details": {"reasoning_tokens": answer.reasoning_tokens},
        "total_tokens": answer.input_tokens + answer.output_tokens,
    }
    return {
        "id": f"resp_{answer.number}",
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "metadata": {},
        "model": answer.model,
        "output": _response_output(answer) if is_done else [],
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "usage": usage if is_done else None,
    }


def responses_events(answer: Answer) -> Iterator[bytes]:
    """A response as a stream of typed, numbered events."""
    for number, event in enumerate(_response_steps(answer)):
        yield sse({**event, "sequence_number": number}, event["type"])


def _response_steps(answer: Answer) -> Iterator[Json]:
    yield {"type": "response.created", "response": responses(answer, "in_progress")}
    yield {"type": "response.in_progress", "response": responses(answer, "in_progress")}
    for index, item in enumerate(_response_output(answer)):
        begun = {**item, "status": "in_progress"} | ({"content": []} if "content" in item else {})
        yield {"type": "response.output_item.added", "output_index": index, "item": begun}
        place = {"item_id": item["id"], "output_index": index}
        if item["type"] == "function_call":
            yield {"type": "response.function_call_arguments.delta", **place, "delta": item["arguments"]}
            yield {"type": "response.function_call_arguments.done", **place, "arguments": item["arguments"]}
        elif item["type"] == "message":
            part = item["content"][0]
            here = {**place, "content_index": 0}
            yield {"type": "response.content_part.added", **here, "part": {**part, "text": ""}}
            for piece in answer.pieces:
                yield {"type": "response.output_text.delta", **here, "delta": piece, "logprobs": []}
            yield {"type": "response.output_text.done", **here, "text": answer.text, "logprobs": []}
            yield {"type": "response.content_part.done", **here, "part": part}
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    yield {"type": "response.completed", "response": responses(answer)}


def embeddings(answer: Answer, request: Json) -> Json:
    """One vector of eight numbers for each input, as floats or, where asked for, base64."""
    inputs = request.get("input")
    inputs = inputs if isinstance(inputs, list) else [inputs]
    data = []
    for index, text in enumerate(inputs):
        digest = hashlib.sha256(str(text).encode()).digest()[:8]
        floats = [byte / 255 for byte in digest]
        packed = base64.b64encode(struct.pack("<8f", *floats)).decode()
        vector = packed if request.get("encoding_format") == "base64" else floats
        data.append({"object": "embedding", "index": index, "embedding": vector})
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
    kind = {401: "invalid_request_error", 429: "rate_limit_error"}.get(
        status, "server_error" if status >= 500 else "invalid_request_error"
    )
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}
