"""What was asked and answered in a span, whichever convention wrote it down, as messages of OpenAI's chat.

The families are tried in turn, the newest first; the first that says something counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from heliconnect.server.otlp.chat import Message, from_inference, from_numbered, from_parts, tool_of
from heliconnect.server.otlp.nested import first, parsed, rows
from heliconnect.server.otlp.spans import Attributes, Event, Span

__all__ = ["answered", "asked", "told", "tools"]

_DETAILS = "gen_ai.client.inference.operation.details"
_BODY = "gen_ai.event.content"


def told(span: Span) -> dict[str, Any]:
    """The span's attributes, with those of the event that carries a call's content, if one does."""
    found: dict[str, Any] = {}
    for event in span.events:
        if event.name == _DETAILS or event.name.startswith("gen_ai.content."):
            found.update(event.attributes)
    return {**found, **span.attributes}


def asked(attributes: Attributes, events: tuple[Event, ...]) -> list[Message]:
    """The messages of the request; empty where the span does not hold them."""
    return next((found for read in _ASKED if (found := read(attributes, events))), [])


def answered(attributes: Attributes, events: tuple[Event, ...]) -> list[tuple[Message, str | None]]:
    """The messages of the answer, one for each choice, with why each ended."""
    return next((found for read in _ANSWERED if (found := read(attributes, events))), [])


def _listed(value: object) -> list[Any]:
    given = parsed(value)
    return [parsed(one) for one in given] if isinstance(given, list) else [] if given in (None, "") else [given]


def _asked_now(attributes: Attributes, _: tuple[Event, ...]) -> list[Message]:
    """OpenTelemetry's, as of version 1.37."""
    messages = [one for raw in _listed(attributes.get("gen_ai.input.messages")) for one in from_parts(raw)]
    rules = _listed(attributes.get("gen_ai.system_instructions"))
    if rules:
        messages = [*from_parts({"role": "system", "parts": rules}), *messages]
    return messages


def _answered_now(attributes: Attributes, _: tuple[Event, ...]) -> list[tuple[Message, str | None]]:
    found = []
    for raw in _listed(attributes.get("gen_ai.output.messages")):
        why = raw.get("finish_reason") if isinstance(raw, Mapping) else None
        found += [(one, _reason(why)) for one in from_parts(raw, "assistant")]
    return found


def _asked_events(_: Attributes, events: tuple[Event, ...]) -> list[Message]:
    """OpenTelemetry's, from 1.28: an event for each message."""
    found = []
    for event in events:
        role, is_message, _rest = event.name.removeprefix("gen_ai.").partition(".message")
        if event.name.startswith("gen_ai.") and is_message:
            found += from_parts(_body(event), role)
    return found


def _answered_events(_: Attributes, events: tuple[Event, ...]) -> list[tuple[Message, str | None]]:
    found = []
    for event in events:
        if event.name == "gen_ai.choice":
            body = _body(event)
            message = parsed(body.get("message")) if body.get("message") is not None else body
            found += [(one, _reason(body.get("finish_reason"))) for one in from_parts(message, "assistant")]
    return found


def _body(event: Event) -> dict[str, Any]:
    content = parsed(event.attributes.get(_BODY))
    plain = {name: value for name, value in event.attributes.items() if name != _BODY}
    if isinstance(content, Mapping):
        return {**plain, **content}
    return plain if content is None else {**plain, "content": content}


def _asked_numbered(attributes: Attributes, _: tuple[Event, ...]) -> list[Message]:
    """Traceloop's, and the first of OpenTelemetry's: "gen_ai.prompt.0.role", or all of it as one JSON text."""
    found = [from_numbered(row, "user") for row in rows(attributes, "gen_ai.prompt")]
    return found or [one for raw in _listed(attributes.get("gen_ai.prompt")) for one in from_parts(raw)]


def _answered_numbered(attributes: Attributes, _: tuple[Event, ...]) -> list[tuple[Message, str | None]]:
    numbered = rows(attributes, "gen_ai.completion")
    if numbered:
        return [(from_numbered(row, "assistant"), _reason(row.get("finish_reason"))) for row in numbered]
    raws = _listed(attributes.get("gen_ai.completion"))
    return [(one, None) for raw in raws for one in from_parts(raw, "assistant")]


def _asked_inference(attributes: Attributes, _: tuple[Event, ...]) -> list[Message]:
    """OpenInference's."""
    found = [from_inference(row, "user") for row in rows(attributes, "llm.input_messages")]
    for row in [] if found else rows(attributes, "llm.prompts"):
        prompt = row.get("prompt")
        found += from_parts(prompt.get("text") if isinstance(prompt, Mapping) else prompt)
    if found:
        return found
    texts = [row.get("embedding") for row in rows(attributes, "embedding.embeddings")]
    return [m for one in texts if isinstance(one, Mapping) and "text" in one for m in from_parts(one["text"])]


def _answered_inference(attributes: Attributes, _: tuple[Event, ...]) -> list[tuple[Message, str | None]]:
    why = _reason(attributes.get("llm.finish_reason"))
    found = [(from_inference(row, "assistant"), why) for row in rows(attributes, "llm.output_messages")]
    for row in [] if found else rows(attributes, "llm.choices"):
        given = row.get("completion")
        text = given.get("text") if isinstance(given, Mapping) else given
        found += [(one, why) for one in from_parts(text, "assistant")]
    return found


def _asked_ai_sdk(attributes: Attributes, _: tuple[Event, ...]) -> list[Message]:
    """The AI SDK's. Source: https://ai-sdk.dev/docs/ai-sdk-core/telemetry"""
    given = _listed(attributes.get("ai.prompt.messages")) or _listed(attributes.get("ai.values"))
    return [one for raw in given for one in from_parts(raw)]


def _answered_ai_sdk(attributes: Attributes, _: tuple[Event, ...]) -> list[tuple[Message, str | None]]:
    text, calls = (
        first(attributes, "ai.response.text", "ai.response.object"),
        _listed(attributes.get("ai.response.toolCalls")),
    )
    if text is None and not calls:
        return []
    parts: list[Any] = [] if text is None else [{"type": "text", "content": text}]
    for call in (one for one in calls if isinstance(one, Mapping)):
        arguments = call.get("input", call.get("args"))
        parts.append(
            {"type": "tool_call", "id": call.get("toolCallId"), "name": call.get("toolName"), "arguments": arguments}
        )
    why = _reason(attributes.get("ai.response.finishReason"))
    return [(one, why) for one in from_parts({"parts": parts}, "assistant")]


def _asked_values(attributes: Attributes, _: tuple[Event, ...]) -> list[Message]:
    """What OpenInference knows of any span: its input and output as text."""
    given = parsed(attributes.get("input.value"))
    if isinstance(given, Mapping) and isinstance(given.get("messages"), list):
        return [one for raw in given["messages"] for one in from_parts(raw)]
    return [] if given in (None, "") else from_parts(attributes["input.value"])  # as it stands


def _answered_values(attributes: Attributes, _: tuple[Event, ...]) -> list[tuple[Message, str | None]]:
    given = parsed(attributes.get("output.value"))
    choices = given.get("choices") if isinstance(given, Mapping) else None
    found = [one for one in choices if isinstance(one, Mapping)] if isinstance(choices, list) else []
    if any("message" in one for one in found):
        return [(m, _reason(c.get("finish_reason"))) for c in found for m in from_parts(c.get("message"), "assistant")]
    if given in (None, ""):
        return []
    return [(one, None) for one in from_parts(attributes["output.value"], "assistant")]


def _reason(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


_ASKED: tuple[Callable[[Attributes, tuple[Event, ...]], list[Message]], ...] = (
    _asked_now,
    _asked_events,
    _asked_numbered,
    _asked_inference,
    _asked_ai_sdk,
    _asked_values,
)
_ANSWERED: tuple[Callable[[Attributes, tuple[Event, ...]], list[tuple[Message, str | None]]], ...] = (
    _answered_now,
    _answered_events,
    _answered_numbered,
    _answered_inference,
    _answered_ai_sdk,
    _answered_values,
)


def tools(attributes: Attributes) -> list[Any]:
    """The tools that the model could call."""
    given = [tool_of(one) for one in _listed(attributes.get("gen_ai.tool.definitions"))]
    if given:
        return given
    found = [row.get("tool") for row in rows(attributes, "llm.tools")]
    given = [tool_of(one.get("json_schema")) for one in found if isinstance(one, Mapping)]
    return given or [tool_of(row) for row in rows(attributes, "llm.request.functions")]
