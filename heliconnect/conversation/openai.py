"""OpenAI's shapes: Chat Completions, Responses, legacy completions, embeddings; spoken by most other providers too.

Source: https://platform.openai.com/docs/api-reference
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from heliconnect.conversation.messages import Message, Part, listed, mapped, text_of, texts

__all__ = [
    "chat_answered",
    "chat_asked",
    "completions_answered",
    "completions_asked",
    "embeddings_answered",
    "embeddings_asked",
    "responses_answered",
    "responses_asked",
]


def chat_asked(request: object) -> list[Message]:
    """The messages of a chat completion's request."""
    return [_chat_message(message) for message in listed(mapped(request).get("messages"))]


def _chat_message(raw: object) -> Message:
    message = mapped(raw)
    role = text_of(message.get("role")) or "assistant"
    parts = list(_content(message.get("content")))
    if role == "tool":
        parts = [Part("tool_result", part.text, name=text_of(message.get("tool_call_id"))) for part in parts]
    reasoning = text_of(message.get("reasoning_content")) or text_of(message.get("reasoning"))
    if reasoning:
        parts.insert(0, Part("reasoning", reasoning))
    if text_of(message.get("refusal")):
        parts.append(Part("refusal", message["refusal"]))
    parts += _tool_calls(message)
    return Message(role, tuple(parts))


def _content(content: object) -> Iterator[Part]:
    if isinstance(content, str):
        if content:
            yield Part("text", content)
        return
    for raw in listed(content):
        part = mapped(raw)
        kind = text_of(part.get("type"))
        if isinstance(raw, str):
            yield Part("text", raw)
        elif kind in {"text", "input_text", "output_text", "summary_text", "reasoning_text"}:
            yield Part("text", text_of(part.get("text")))
        elif kind in {"image_url", "input_image"}:
            url = part.get("image_url")
            yield Part("image", url=text_of(url) or text_of(mapped(url).get("url")) or None)
        elif kind == "input_audio":
            audio = mapped(part.get("input_audio"))
            yield Part("audio", url=f"data:audio/{audio.get('format', 'wav')};base64,{text_of(audio.get('data'))}")
        elif kind in {"file", "input_file"}:
            file = mapped(part.get("file")) or part
            url = text_of(file.get("file_data")) or text_of(file.get("file_url")) or None
            yield Part("file", name=text_of(file.get("filename")) or text_of(file.get("file_id")) or "file", url=url)
        elif kind == "refusal":
            yield Part("refusal", text_of(part.get("refusal")))
        elif kind == "thinking":
            yield Part("reasoning", texts(mapped(one).get("text") for one in listed(part.get("thinking"))))
        else:
            yield Part("json", data=raw)


def _tool_calls(message: Mapping[str, Any]) -> Iterator[Part]:
    for raw in listed(message.get("tool_calls")):
        call = mapped(mapped(raw).get("function")) or mapped(mapped(raw).get("custom"))
        yield _call(call.get("name"), call.get("arguments", call.get("input")))
    legacy = mapped(message.get("function_call"))
    if legacy:
        yield _call(legacy.get("name"), legacy.get("arguments"))


def _call(name: object, arguments: object) -> Part:
    if isinstance(arguments, str):
        return Part("tool_call", arguments, name=text_of(name) or "tool")
    return Part("tool_call", name=text_of(name) or "tool", data=arguments)


def chat_answered(answers: Sequence[object]) -> list[Message]:
    """The choices of a chat completion, or of its stream."""
    if not any("delta" in mapped(choice) for answer in answers for choice in listed(mapped(answer).get("choices"))):
        return [
            _chat_message(mapped(choice).get("message"))
            for answer in answers
            for choice in listed(mapped(answer).get("choices"))
        ]
    by_index: dict[object, _Growing] = {}
    for answer in answers:
        for raw in listed(mapped(answer).get("choices")):
            choice = mapped(raw)
            by_index.setdefault(choice.get("index"), _Growing()).add(mapped(choice.get("delta")))
    return [growing.message() for growing in by_index.values()]


class _Growing:
    """One choice of a stream, put together from its deltas."""

    def __init__(self) -> None:
        self.role = "assistant"
        self.content: list[str] = []
        self.reasoning: list[str] = []
        self.refusal: list[str] = []
        self.calls: dict[object, dict[str, str]] = {}

    def add(self, delta: Mapping[str, Any]) -> None:
        self.role = text_of(delta.get("role")) or self.role
        content = delta.get("content")
        if isinstance(content, list):
            for part in _content(content):
                (self.reasoning if part.kind == "reasoning" else self.content).append(part.text)
        else:
            self.content.append(text_of(content))
        self.reasoning.append(text_of(delta.get("reasoning_content")) or text_of(delta.get("reasoning")))
        self.refusal.append(text_of(delta.get("refusal")))
        for raw in [
            *listed(delta.get("tool_calls")),
            *([delta["function_call"]] if delta.get("function_call") else []),
        ]:
            call = mapped(raw)
            function = mapped(call.get("function")) or call
            known = self.calls.setdefault(call.get("index"), {"name": "", "arguments": ""})
            known["name"] += text_of(function.get("name"))
            known["arguments"] += text_of(function.get("arguments"))

    def message(self) -> Message:
        parts = [
            Part(kind, "".join(pieces))
            for kind, pieces in (("reasoning", self.reasoning), ("text", self.content), ("refusal", self.refusal))
            if any(pieces)
        ]
        parts += [_call(call["name"], call["arguments"]) for call in self.calls.values()]
        return Message(self.role, tuple(parts))


def responses_asked(request: object) -> list[Message]:
    """The instructions and input items of a response's request."""
    body = mapped(request)
    found = []
    if text_of(body.get("instructions")):
        found.append(Message("system", (Part("text", body["instructions"]),)))
    given = body.get("input")
    if isinstance(given, str):
        found.append(Message("user", (Part("text", given),)))
    return found + [_item(item) for item in listed(given)]


def _item(raw: object) -> Message:
    item = mapped(raw)
    kind = text_of(item.get("type")) or "message"
    if kind == "message":
        return Message(text_of(item.get("role")) or "assistant", tuple(_content(item.get("content"))))
    if kind == "reasoning":
        told = [*listed(item.get("summary")), *listed(item.get("content"))]
        text = "\n".join(text_of(mapped(one).get("text")) for one in told)
        return Message("assistant", (Part("reasoning", text),) if text else ())
    if kind.endswith("_call_output"):
        output = item.get("output")
        text = output if isinstance(output, str) else texts(part.text for part in _content(output))
        return Message("tool", (Part("tool_result", text, name=text_of(item.get("call_id"))),))
    if kind in {"function_call", "custom_tool_call"}:
        return Message("assistant", (_call(item.get("name"), item.get("arguments", item.get("input"))),))
    if kind.endswith("_call"):
        return Message("assistant", (Part("tool_call", name=kind.removesuffix("_call"), data=raw),))
    return Message("assistant", (Part("json", data=raw),))


def responses_answered(answers: Sequence[object]) -> list[Message]:
    """The output of a response; of a stream, that of its last word, else what its deltas add up to."""
    whole = [a for a in answers if mapped(a).get("object") == "response"]
    for answer in answers:
        response = mapped(answer).get("response")
        if mapped(response).get("output"):
            whole.append(response)
    if whole and mapped(whole[-1]).get("output"):
        return _merged(_item(item) for item in listed(mapped(whole[-1]).get("output")))
    pieces = [(text_of(mapped(a).get("type")), text_of(mapped(a).get("delta"))) for a in answers]
    thought = "".join(delta for kind, delta in pieces if "reasoning" in kind)
    said = "".join(delta for kind, delta in pieces if kind == "response.output_text.delta")
    called = "".join(delta for kind, delta in pieces if kind == "response.function_call_arguments.delta")
    parts = [Part(kind, text) for kind, text in (("reasoning", thought), ("text", said)) if text]
    return [Message("assistant", (*parts, *((_call("", called),) if called else ())))]


def _merged(messages: Iterator[Message]) -> list[Message]:
    """Neighbouring items of one role as one message."""
    merged: list[Message] = []
    for message in messages:
        if merged and merged[-1].role == message.role:
            merged[-1] = Message(message.role, merged[-1].parts + message.parts)
        else:
            merged.append(message)
    return merged


def completions_asked(request: object) -> list[Message]:
    """The prompt of a legacy completion."""
    prompt = mapped(request).get("prompt")
    prompts = prompt if isinstance(prompt, list) else [prompt]
    return [Message("user", (Part("text", one),)) for one in prompts if isinstance(one, str)]


def completions_answered(answers: Sequence[object]) -> list[Message]:
    """The text of a legacy completion or of its stream, choice by choice."""
    by_index: dict[object, str] = {}
    for answer in answers:
        for choice in map(mapped, listed(mapped(answer).get("choices"))):
            index = choice.get("index")
            by_index[index] = by_index.get(index, "") + text_of(choice.get("text"))
    return [Message("assistant", (Part("text", text),)) for text in by_index.values() if text]


def embeddings_asked(request: object) -> list[Message]:
    """What is to be embedded, in OpenAI's, Cohere's and Gemini's shape."""
    body = mapped(request)
    raw = body.get("input", body.get("texts", body.get("requests", body.get("content"))))
    found: list[Message] = []
    for one in raw if isinstance(raw, list) else [raw]:
        content = mapped(mapped(one).get("content") or one)
        text = one if isinstance(one, str) else texts(mapped(p).get("text") for p in listed(content.get("parts")))
        if text:
            found.append(Message("user", (Part("text", text),)))
    return found


def embeddings_answered(answers: Sequence[object]) -> list[Message]:
    """How many vectors came, instead of their numbers."""
    body = mapped(answers[0])
    vectors = body.get("data", body.get("embeddings", body.get("embedding")))
    count = 1 if isinstance(vectors, Mapping) and "values" in vectors else len(vectors) if vectors else 0
    return [Message("assistant", (Part("text", f"{count} vector{'' if count == 1 else 's'}"),))] if count else []
