"""Anthropic's Messages, and Bedrock's Converse, which is shaped after them.

Sources: https://docs.anthropic.com/en/api/messages,
https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from heliconnect.conversation.messages import Message, Part, listed, mapped, text_of, texts

__all__ = ["answered", "asked", "converse_answered", "converse_asked"]


def asked(request: object) -> list[Message]:
    """The system prompt and the messages of a request."""
    body = mapped(request)
    system = tuple(_blocks(body.get("system")))
    found = [Message("system", system)] if system else []
    for message in map(mapped, listed(body.get("messages"))):
        parts = tuple(_blocks(message.get("content")))
        is_result = bool(parts) and all(part.kind == "tool_result" for part in parts)
        found.append(Message("tool" if is_result else text_of(message.get("role")) or "user", parts))
    if isinstance(body.get("prompt"), str):
        found.append(Message("user", (Part("text", body["prompt"]),)))
    return found


def _blocks(content: object) -> Iterator[Part]:
    if isinstance(content, str):
        if content:
            yield Part("text", content)
        return
    for raw in listed(content):
        yield Part("text", raw) if isinstance(raw, str) else _block(mapped(raw), raw)


def _block(block: Mapping[str, Any], raw: object) -> Part:
    match text_of(block.get("type")):
        case "text":
            return Part("text", text_of(block.get("text")))
        case "thinking":
            return Part("reasoning", text_of(block.get("thinking")))
        case "redacted_thinking":
            return Part("reasoning", "(redacted by the provider)")
        case "tool_use" | "server_tool_use" | "mcp_tool_use":
            return Part("tool_call", name=text_of(block.get("name")) or "tool", data=block.get("input"))
        case "image" | "document" as kind:
            source = mapped(block.get("source"))
            data, url = text_of(source.get("data")), text_of(source.get("url"))
            address = f"data:{source.get('media_type', '')};base64,{data}" if data else url or None
            return Part("image" if kind == "image" else "file", name=text_of(block.get("title")) or kind, url=address)
        case kind if kind.endswith("tool_result"):
            content = block.get("content")
            text = content if isinstance(content, str) else texts(part.text for part in _blocks(content))
            if not text and content:
                return Part("tool_result", name=text_of(block.get("tool_use_id")), data=content)
            return Part("tool_result", text, name=text_of(block.get("tool_use_id")))
        case _:
            return Part("json", data=raw)


def answered(answers: Sequence[object]) -> list[Message]:
    """The message that was answered, whole or put together from its stream."""
    first = mapped(answers[0])
    if "content" in first:
        return [Message(text_of(first.get("role")) or "assistant", tuple(_blocks(first.get("content"))))]
    if isinstance(first.get("completion"), str):
        return [Message("assistant", (Part("text", texts(mapped(a).get("completion") for a in answers)),))]
    blocks: dict[object, dict[str, Any]] = {}
    for answer in map(mapped, answers):
        index = answer.get("index")
        if answer.get("type") == "content_block_start":
            blocks[index] = dict(mapped(answer.get("content_block")))
        elif answer.get("type") == "content_block_delta":
            _grow(blocks.setdefault(index, {"type": "text"}), mapped(answer.get("delta")))
    parts = []
    for block in blocks.values():
        arguments = block.pop("partial_json", None)
        part = _block(block, block)
        parts.append(Part("tool_call", arguments, name=part.name) if arguments else part)
    return [Message("assistant", tuple(parts))]


def _grow(block: dict[str, Any], delta: Mapping[str, Any]) -> None:
    for name in ("text", "thinking", "partial_json"):
        if isinstance(delta.get(name), str):
            block[name] = text_of(block.get(name)) + delta[name]


def converse_asked(request: object) -> list[Message]:
    """The system prompt and the messages of a Converse request."""
    body = mapped(request)
    system = tuple(_converse_parts(body.get("system")))
    found = [Message("system", system)] if system else []
    return found + [
        Message(text_of(message.get("role")) or "user", tuple(_converse_parts(message.get("content"))))
        for message in map(mapped, listed(body.get("messages")))
    ]


def _converse_parts(content: object) -> Iterator[Part]:
    for raw in listed(content):
        block = mapped(raw)
        if "text" in block:
            yield Part("text", text_of(block["text"]))
        elif "toolUse" in block:
            yield Part(
                "tool_call", name=text_of(mapped(block["toolUse"]).get("name")), data=block["toolUse"].get("input")
            )
        elif "toolResult" in block:
            result = mapped(block["toolResult"])
            text = texts(part.text for part in _converse_parts(result.get("content")))
            yield Part("tool_result", text, name=text_of(result.get("toolUseId")), data=None if text else result)
        elif "reasoningContent" in block:
            yield Part("reasoning", text_of(mapped(mapped(block["reasoningContent"]).get("reasoningText")).get("text")))
        else:
            yield Part("json", data=raw)


def converse_answered(answers: Sequence[object]) -> list[Message]:
    """The message that Converse answered, whole or put together from its stream."""
    if mapped(answers[0]).get("type") == "messageStart":
        return [Message("assistant", tuple(_converse_parts(_converse_blocks(answers))))]
    message = mapped(mapped(mapped(answers[0]).get("output")).get("message"))
    return [Message(text_of(message.get("role")) or "assistant", tuple(_converse_parts(message.get("content"))))]


def _converse_blocks(answers: Sequence[object]) -> list[dict[str, Any]]:
    """The content blocks of a stream's events, as a whole answer has them."""
    texts_of: dict[object, dict[str, str]] = {}
    tools: dict[object, Mapping[str, Any]] = {}
    for event in map(mapped, answers):
        index = event.get("contentBlockIndex")
        if event.get("type") == "contentBlockStart":
            tools[index] = mapped(mapped(event.get("start")).get("toolUse"))
        elif event.get("type") == "contentBlockDelta":
            delta, said = mapped(event.get("delta")), texts_of.setdefault(index, {})
            for name, piece in (
                ("text", delta.get("text")),
                ("thought", mapped(delta.get("reasoningContent")).get("text")),
                ("input", mapped(delta.get("toolUse")).get("input")),
            ):
                if isinstance(piece, str):
                    said[name] = said.get(name, "") + piece
    return [_converse_block(tools.get(index), said) for index, said in texts_of.items()]


def _converse_block(tool: Mapping[str, Any] | None, said: Mapping[str, str]) -> dict[str, Any]:
    if "input" in said:
        try:
            arguments: Any = json.loads(said["input"])
        except ValueError:
            arguments = said["input"]
        return {"toolUse": {**(tool or {}), "input": arguments}}
    if "thought" in said:
        return {"reasoningContent": {"reasoningText": {"text": said["thought"]}}}
    return {"text": said.get("text", "")}
