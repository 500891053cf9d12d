"""What the scripted provider answers: `Reply` as the test writes it, and each API's bodies and events made from it.

The shapes follow the providers' API references; texts and token counts are computed from the request, so that the same
request always gets the same answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

__all__ = ["Answer", "Reply", "answer_to", "directives", "last_user_text"]

Json = dict[str, Any]
_PIECE = re.compile(r"\S+\s*")
_DIRECTIVE = re.compile(r"\[\[(status|delay|first|cut|hang)(?:=(\d+))?\]\]")


@dataclass(frozen=True, slots=True)
class Reply:
    """How the provider answers; what is not said is made up from the request.

    text is the answer, tool_calls a list of (name, arguments) pairs instead of it, reasoning what it thought before.
    usage overrides token counts: input, output, cached, cache_write, reasoning. status >= 400 gives an error in the
    provider's own shape, with text as its message. body replaces everything. first_byte_delay_ms passes before the
    answer begins, chunk_delay_ms between two events. cut_after breaks the connection after so many events (or bytes
    of a body that is no stream). hang never answers. headers are added as they are, content_encoding "gzip" compresses.
    """

    text: str | None = None
    status: int = 200
    tool_calls: tuple[tuple[str, Json], ...] = ()
    reasoning: str | None = None
    usage: Mapping[str, int] = field(default_factory=dict)
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    first_byte_delay_ms: int = 0
    chunk_delay_ms: int = 0
    cut_after: int | None = None
    hang: bool = False
    content_encoding: str | None = None


def directives(reply: Reply, text: str) -> Reply:
    """`reply` steered by the request: [[status=429]], [[delay=50]] and [[first=50]] in ms, [[cut=3]], [[hang]]."""
    for name, raw in _DIRECTIVE.findall(text):
        value = int(raw or 0)
        match name:
            case "status":
                reply = replace(reply, status=value, text=f"scripted failure {value}")
            case "delay":
                reply = replace(reply, chunk_delay_ms=value)
            case "first":
                reply = replace(reply, first_byte_delay_ms=value)
            case "cut":
                reply = replace(reply, cut_after=value or 1)
            case _:
                reply = replace(reply, hang=True)
    return reply


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply made definite for one request."""

    model: str
    text: str
    tool_calls: tuple[tuple[str, Json], ...]
    reasoning: str | None
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    number: int

    @property
    def pieces(self) -> list[str]:
        """The text in the parts that a stream sends."""
        return _PIECE.findall(self.text)


def texts_of(value: Any) -> list[str]:
    """Every piece of text in a request's messages, wherever the API keeps it."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [text for item in value for text in texts_of(item)]
    if isinstance(value, dict):
        keys = ("text", "content", "parts", "input", "prompt", "messages", "contents", "system", "systemInstruction")
        return [text for key in keys if key in value for text in texts_of(value[key])]
    return []


def last_user_text(request: Any) -> str:
    """The text that the request ends with: the question to be answered."""
    if not isinstance(request, dict):
        return ""
    for key in ("messages", "contents", "input", "prompt", "content", "requests"):
        if key in request:
            value = request[key]
            users = (
                [m for m in value if isinstance(m, dict) and m.get("role") == "user"] if isinstance(value, list) else []
            )
            found = texts_of(users[-1] if users else value)
            return found[-1] if found else ""
    return ""


def answer_to(request: Any, reply: Reply, model: str, number: int) -> Answer:
    """The definite answer to `request`: an echo of its question unless the reply says otherwise."""
    question = _DIRECTIVE.sub("", last_user_text(request)).strip()
    text = reply.text if reply.text is not None else f"Here is my answer to: {question or 'nothing at all'}"
    words = sum(len(piece.split()) for piece in texts_of(request))
    usage = reply.usage
    made = len(text.split()) + sum(3 + len(str(arguments).split()) for _, arguments in reply.tool_calls)
    thought = len((reply.reasoning or "").split())
    return Answer(
        model=model,
        text="" if reply.tool_calls else text,
        tool_calls=reply.tool_calls,
        reasoning=reply.reasoning,
        input_tokens=usage.get("input", words + 3),
        output_tokens=usage.get("output", made + thought),
        cached_tokens=usage.get("cached", 0),
        cache_write_tokens=usage.get("cache_write", 0),
        reasoning_tokens=usage.get("reasoning", thought),
        number=number,
    )
