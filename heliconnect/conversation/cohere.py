"""Cohere's chat and generate, versions 1 and 2.

Source: https://docs.cohere.com/reference/chat
"""

from __future__ import annotations

from collections.abc import Sequence

from heliconnect.conversation.messages import Message, Part, listed, mapped, text_of, texts
from heliconnect.conversation.openai import chat_asked

__all__ = ["answered", "asked"]


def asked(request: object) -> list[Message]:
    """The messages of version 2; the preamble, history and message of version 1."""
    body = mapped(request)
    if listed(body.get("messages")):
        return chat_asked(request)
    found = []
    if text_of(body.get("preamble")):
        found.append(Message("system", (Part("text", body["preamble"]),)))
    for turn in map(mapped, listed(body.get("chat_history"))):
        role = {"CHATBOT": "assistant"}.get(text_of(turn.get("role")), text_of(turn.get("role")).lower() or "user")
        found.append(Message(role, (Part("text", text_of(turn.get("message"))),)))
    question = text_of(body.get("message")) or text_of(body.get("prompt"))
    return [*found, Message("user", (Part("text", question),))] if question else found


def answered(answers: Sequence[object]) -> list[Message]:
    """What was answered, whole or put together from its stream, in either version."""
    first = mapped(answers[0])
    if "generations" in first:
        return [
            Message("assistant", (Part("text", text_of(mapped(g).get("text"))),)) for g in listed(first["generations"])
        ]
    if len(answers) == 1:
        message = mapped(first.get("message"))
        parts = [Part("text", text_of(first.get("text")))] if text_of(first.get("text")) else []
        parts += [_part(mapped(block)) for block in listed(message.get("content"))]
        calls = listed(message.get("tool_calls")) or listed(first.get("tool_calls"))
        return [Message("assistant", (*parts, *map(_call, calls)))]
    pieces: list[object] = []
    calls = []
    for answer in map(mapped, answers):
        delta = mapped(mapped(answer.get("delta")).get("message"))
        if answer.get("event_type") == "text-generation":
            pieces.append(answer.get("text"))
        elif answer.get("type") == "content-delta":
            pieces.append(mapped(delta.get("content")).get("text"))
        elif answer.get("type") == "tool-call-start":
            calls.append(delta.get("tool_calls"))
    text = texts(pieces)
    return [Message("assistant", (*((Part("text", text),) if text else ()), *map(_call, calls)))]


def _part(block: object) -> Part:
    found = mapped(block)
    if found.get("type") == "thinking":
        return Part("reasoning", text_of(found.get("thinking")))
    return Part("text", text_of(found.get("text"))) if "text" in found else Part("json", data=block)


def _call(raw: object) -> Part:
    call = mapped(raw)
    function = mapped(call.get("function")) or call
    arguments = function.get("arguments", function.get("parameters"))
    name = text_of(function.get("name")) or "tool"
    return (
        Part("tool_call", arguments, name=name)
        if isinstance(arguments, str)
        else Part("tool_call", name=name, data=arguments)
    )
