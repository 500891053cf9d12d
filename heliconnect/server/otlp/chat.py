"""Messages in the shapes that spans have, made into those of OpenAI's chat.

Sources: the JSON schemas of https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/,
https://github.com/Arize-ai/openinference/blob/main/spec/semantic_conventions.md
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from heliconnect.errors import MissingExtraError
from heliconnect.server.otlp.nested import numbered, parsed

try:
    import orjson
except ImportError as exc:
    raise MissingExtraError("heliconnect.server.otlp", "server") from exc

__all__ = ["from_inference", "from_numbered", "from_parts", "tool_of"]

Message = dict[str, Any]


def from_parts(raw: object, role: str = "user") -> list[Message]:
    """The messages of one message: a tool's results are messages of their own.

    raw is a message with parts, as OpenTelemetry has them, one in OpenAI's shape, or text that `role` says.
    """
    if not isinstance(raw, Mapping):
        return [{"role": role, "content": _text(raw)}]
    who = raw.get("role") if isinstance(raw.get("role"), str) else role
    parts = raw.get("parts")
    if not isinstance(parts, list):
        return [_without_parts(raw, who)]
    message: Message = {"role": who}
    content: list[Any] = []
    results: list[Message] = []
    for part in parts:
        kind = part.get("type") if isinstance(part, Mapping) else None
        if kind == "tool_call":
            message.setdefault("tool_calls", []).append(_call(part.get("id"), part.get("name"), part.get("arguments")))
        elif kind == "tool_call_response":
            told = part["response"] if "response" in part else part.get("result")
            results.append({"role": "tool", "tool_call_id": part.get("id"), "content": _text(told)})
        elif kind in {"reasoning", "thinking"}:
            message["reasoning_content"] = message.get("reasoning_content", "") + _text(part.get("content"))
        else:
            content.append(_part(part, kind))
    if content:
        message["content"] = _joined(content)
    return ([message] if len(message) > 1 or not results else []) + results


def _without_parts(given: Mapping[str, Any], role: object) -> Message:
    """A message in OpenAI's own shape, or nearly so."""
    message = {name: value for name, value in given.items() if name in _MESSAGE_FIELDS and value is not None}
    content = parsed(given.get("content"))
    is_list = isinstance(content, list) and all(isinstance(one, Mapping) and "type" in one for one in content)
    message["role"] = role
    if content is not None:
        message["content"] = content if is_list else _text(given.get("content"))
    calls = parsed(given.get("tool_calls"))
    if isinstance(calls, list):
        message["tool_calls"] = [_known_call(one) for one in calls if isinstance(one, Mapping)]
    if role == "tool" and isinstance(given.get("id"), str):
        message.setdefault("tool_call_id", given["id"])
    return message


_MESSAGE_FIELDS = frozenset({"name", "tool_call_id", "refusal", "reasoning_content", "function_call"})


def _known_call(raw: Mapping[str, Any]) -> Message:
    function = raw.get("function")
    holder = function if isinstance(function, Mapping) else raw
    return _call(raw.get("id"), holder.get("name"), holder.get("arguments"))


def _call(call_id: object, name: object, arguments: object) -> Message:
    told = arguments if isinstance(arguments, str) else _text(arguments)
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": told}}


def _part(part: object, kind: object) -> Any:
    if not isinstance(part, Mapping):
        return {"type": "text", "text": _text(part)}
    if kind == "text":
        return {"type": "text", "text": _text(part.get("content", part.get("text")))}
    modality, uri = part.get("modality"), part.get("uri")
    if kind == "blob":
        media, data = part.get("mime_type"), _text(part.get("content", part.get("data")))
        if modality == "audio":
            return {"type": "input_audio", "input_audio": {"data": data, "format": _text(media).rpartition("/")[2]}}
        uri = f"data:{_text(media)};base64,{data}"
    if kind in {"blob", "uri"}:
        if modality == "image":
            return {"type": "image_url", "image_url": {"url": uri}}
        return {"type": "file", "file": {"filename": _text(modality), "file_data": uri}}
    if kind == "file" and "file_id" in part:
        return {"type": "file", "file": {"file_id": part.get("file_id")}}
    return dict(part)


def from_numbered(row: Mapping[str, Any], role: str) -> Message:
    """A message of numbered attributes, "gen_ai.prompt.0.role" and so on."""
    calls = [_known_call(call) for call in numbered(row, "tool_calls")]
    given = {**row, "tool_calls": calls or None, "function_call": None}
    if not calls and isinstance(row.get("function_call"), Mapping):
        legacy = row["function_call"]
        given["tool_calls"] = [_call(None, legacy.get("name"), legacy.get("arguments"))]
    given["reasoning_content"] = row.get("reasoning") if isinstance(row.get("reasoning"), str) else None
    return _without_parts(given, row["role"] if isinstance(row.get("role"), str) else role)


def from_inference(row: Mapping[str, Any], role: str) -> Message:
    """A message as OpenInference has it: "llm.input_messages.0.message.role" and so on."""
    told = row.get("message")
    raw: Mapping[str, Any] = told if isinstance(told, Mapping) else {}
    message: Message = {"role": raw["role"] if isinstance(raw.get("role"), str) else role}
    contents = [_inference_part(one) for one in numbered(raw, "contents")]
    reasoning = "".join(one["text"] for one in contents if one.get("type") == "reasoning")
    contents = [one for one in contents if one.get("type") != "reasoning"]
    if contents:
        message["content"] = _joined(contents)
    elif raw.get("content") is not None:
        message["content"] = _text(raw["content"])
    if reasoning:
        message["reasoning_content"] = reasoning
    calls = [one["tool_call"] for one in numbered(raw, "tool_calls") if isinstance(one.get("tool_call"), Mapping)]
    if calls:
        message["tool_calls"] = [_known_call(call) for call in calls]
    elif isinstance(raw.get("function_call_name"), str):
        arguments = raw.get("function_call_arguments_json")
        message["tool_calls"] = [_call(None, raw["function_call_name"], arguments)]
    message.update((name, raw[name]) for name in ("name", "tool_call_id") if isinstance(raw.get(name), str))
    return message


def _inference_part(row: Mapping[str, Any]) -> Message:
    told = row.get("message_content")
    raw: Mapping[str, Any] = told if isinstance(told, Mapping) else {}
    kind = raw.get("type")
    if kind in {"text", "reasoning"}:
        return {"type": kind, "text": _text(raw.get("text"))}
    for name, made in (("image", "image_url"), ("audio", "audio"), ("video", "video"), ("document", "document")):
        holder = raw.get(name)
        inner = holder.get(name) if isinstance(holder, Mapping) else None
        if isinstance(inner, Mapping) and isinstance(inner.get("url"), str):
            if made == "image_url":
                return {"type": made, made: {"url": inner["url"]}}
            return {"type": "file", "file": {"filename": name, "file_data": inner["url"]}}
    return dict(raw)


def tool_of(raw: object) -> Any:
    """A tool's definition as OpenAI's chat has it."""
    given = parsed(raw)
    if isinstance(given, Mapping) and "function" not in given and given.get("type", "function") == "function":
        function = {name: parsed(value) for name, value in given.items() if name != "type" and value is not None}
        return {"type": "function", "function": function}
    return given


def _joined(content: list[Any]) -> Any:
    """A content of one text as that text."""
    if len(content) == 1 and isinstance(content[0], Mapping) and content[0].get("type") == "text":
        return content[0]["text"]
    return content


def _text(value: object) -> str:
    """Text as it is, nothing for None, JSON for the rest."""
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value).decode()
