"""The scripted provider's OpenAI Responses API.

Source: https://platform.openai.com/docs/api-reference/responses
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

from heliconnect.testing.openai_api import CREATED, sse
from heliconnect.testing.replies import Answer, Json, pieces_of

__all__ = ["responses", "responses_events"]


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
        empty: Json = {
            key: value for key, value in (("summary", []), ("content", []), ("arguments", "")) if key in item
        }
        under_way = {"status": "in_progress"} if "status" in item else {}
        yield {"type": "response.output_item.added", "output_index": index, "item": {**item, **empty, **under_way}}
        for kind, step in _ITEM_STEPS[item["type"]](item):
            yield {"type": f"response.{kind}", "item_id": item["id"], "output_index": index, **step}
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    yield {"type": "response.completed", "response": responses(answer)}


def _reasoning_steps(item: Json) -> Iterator[tuple[str, Json]]:
    for index, part in enumerate(item["summary"]):
        here = {"summary_index": index}
        yield "reasoning_summary_part.added", {**here, "part": {**part, "text": ""}}
        for piece in pieces_of(part["text"]):
            yield "reasoning_summary_text.delta", {**here, "delta": piece}
        yield "reasoning_summary_text.done", {**here, "text": part["text"]}
        yield "reasoning_summary_part.done", {**here, "part": part}


def _call_steps(item: Json) -> Iterator[tuple[str, Json]]:
    for piece in pieces_of(item["arguments"]):
        yield "function_call_arguments.delta", {"delta": piece}
    yield "function_call_arguments.done", {"name": item["name"], "arguments": item["arguments"]}


def _message_steps(item: Json) -> Iterator[tuple[str, Json]]:
    for index, part in enumerate(item["content"]):
        here = {"content_index": index}
        yield "content_part.added", {**here, "part": {**part, "text": ""}}
        for piece in pieces_of(part["text"]):
            yield "output_text.delta", {**here, "delta": piece, "logprobs": []}
        yield "output_text.done", {**here, "text": part["text"], "logprobs": []}
        yield "content_part.done", {**here, "part": part}


_ITEM_STEPS: dict[str, Callable[[Json], Iterator[tuple[str, Json]]]] = {
    "reasoning": _reasoning_steps,
    "function_call": _call_steps,
    "message": _message_steps,
}
