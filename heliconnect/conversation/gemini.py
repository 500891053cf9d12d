"""Gemini's generateContent, also as Vertex speaks it.

Source: https://ai.google.dev/api/generate-content
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from heliconnect.conversation.messages import Message, Part, listed, mapped, text_of

__all__ = ["answered", "asked"]


def asked(request: object) -> list[Message]:
    """The system instruction and the contents of a request."""
    body = mapped(request)
    system = tuple(_parts(body.get("systemInstruction", body.get("system_instruction"))))
    found = [Message("system", system)] if system else []
    contents = body.get("contents")
    for content in contents if isinstance(contents, list) else [contents]:
        parts = tuple(_parts(content))
        is_result = bool(parts) and all(part.kind == "tool_result" for part in parts)
        found.append(Message("tool" if is_result else _role(mapped(content).get("role")), parts))
    return found


def _role(role: object) -> str:
    return "assistant" if role == "model" else text_of(role) or "user"


def _parts(content: object) -> Iterator[Part]:
    if isinstance(content, str):
        yield Part("text", content)
        return
    raw_parts = mapped(content).get("parts")
    for raw in raw_parts if isinstance(raw_parts, list) else [raw_parts] if raw_parts else []:
        part = mapped(raw)
        inline = mapped(part.get("inlineData", part.get("inline_data")))
        call = mapped(part.get("functionCall", part.get("function_call")))
        result = mapped(part.get("functionResponse", part.get("function_response")))
        file = mapped(part.get("fileData", part.get("file_data")))
        if isinstance(part.get("text"), str):
            yield Part("reasoning" if part.get("thought") is True else "text", part["text"])
        elif inline:
            media = text_of(inline.get("mimeType", inline.get("mime_type")))
            kind = media.partition("/")[0] if media.startswith(("image/", "audio/")) else "file"
            yield Part(kind, name=media, url=f"data:{media};base64,{text_of(inline.get('data'))}")
        elif call:
            yield Part("tool_call", name=text_of(call.get("name")) or "tool", data=call.get("args"))
        elif result:
            yield Part("tool_result", name=text_of(result.get("name")), data=result.get("response"))
        elif file:
            yield Part("file", name=text_of(file.get("mimeType")) or "file", url=text_of(file.get("fileUri")) or None)
        elif set(part) - {"thoughtSignature"}:
            yield Part("json", data=raw)


def answered(answers: Sequence[object]) -> list[Message]:
    """The candidates of an answer; a stream's text is put together."""
    by_index: dict[object, list[Part]] = {}
    for answer in answers:
        for candidate in map(mapped, listed(mapped(answer).get("candidates"))):
            parts = by_index.setdefault(candidate.get("index", 0), [])
            for part in _parts(candidate.get("content")):
                if parts and part.kind in {"text", "reasoning"} and parts[-1].kind == part.kind:
                    parts[-1] = Part(part.kind, parts[-1].text + part.text)
                else:
                    parts.append(part)
    return [Message("assistant", tuple(parts)) for parts in by_index.values()]
