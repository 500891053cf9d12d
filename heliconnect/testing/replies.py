"""What the scripted provider answers: `Reply` as the test writes it, and each API's bodies and events made from it.

The shapes follow the providers' API references; texts and token counts are computed from the request, so that the same
request always gets the same answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

__all__ = ["Answer", "Reply", "answer_to", "last_user_text", "pieces_of", "steered", "texts_of"]

Json = dict[str, Any]
_PIECE = re.compile(r"\S+\s*")
_DIRECTIVE = re.compile(r"\[\[(status|delay|first|cut|hang)(?:=(\d+))?\]\]")


_TEXT_KEYS = (
    *("text", "content", "parts", "input", "prompt", "messages", "contents", "requests"),
    *("system", "systemInstruction", "instructions"),
)


@dataclass(frozen=True, slots=True)
class Reply:
    """How the provider answers; what is not said is made up from the request.

    text is the answer, tool_calls a list of (name, arguments) pairs instead of it, reasoning what it thought before.
    usage overrides token counts: input, output, cached, cache_write, reasoning, each as that provider counts it (at
    OpenAI and Gemini input includes cached, at Anthropic it does not). status >= 400 gives an error in the provider's
    own shape, with text as its message. body replaces everything. first_byte_delay_ms passes before the answer begins,
    chunk_delay_ms between two events. cut_after breaks the connection after so many events (or bytes of a body that is
    no stream). hang never answers. headers are added as they are, duplicates too; a content-type among them replaces
    the provider's own. content_encoding "gzip" compresses.
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
    content_encoding: Literal["gzip"] | None = None


def steered(reply: Reply, text: str) -> Reply:
    """`reply` as the request's own text wants it.

    [[status=429]] answers so (200 to 599), [[first=50]] and [[delay=50]] wait so many ms before the answer and between
    two events, [[cut=3]] breaks off after so many events or bytes ([[cut]]: one), [[hang]] never answers.
    """
    for name, raw in _DIRECTIVE.findall(text):
        value = int(raw or 0)
        match name:
            case "status" if 400 <= value <= 599:
                reply = replace(reply, status=value, text=f"scripted failure {value}")
            case "status" if 200 <= value < 400:
                reply = replace(reply, status=value)
            case "delay":
                reply = replace(reply, chunk_delay_ms=value)
            case "first":
                reply = replace(reply, first_byte_delay_ms=value)
            case "cut":
                reply = replace(reply, cut_after=value or 1)
            case "hang":
                reply = replace(reply, hang=True)
    return reply


def pieces_of(text: str) -> list[str]:
    """A text in the parts that a stream sends: its words, each with the space behind it."""
    return _PIECE.findall(text)


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
        return pieces_of(self.text)


def texts_of(value: Any) -> list[str]:
    """Every piece of text in a request's messages, wherever the API keeps it."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [text for item in value for text in texts_of(item)]
    if isinstance(value, dict):
        return [text for key in _TEXT_KEYS if key in value for text in texts_of(value[key])]
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


def answer_to(request: Any, reply: Reply, model: str, number: int, *, keeps_directives: bool = False) -> Answer:
    """The definite answer to `request`: an echo of its question unless the reply says otherwise.

    A word counts as a token, and so does a token id of an embeddings request. The echo leaves directives out, unless
    they are mere text to this provider.
    """
    asked = last_user_text(request)
    question = (asked if keeps_directives else _DIRECTIVE.sub("", asked)).strip()
    text = reply.text if reply.text is not None else f"Here is my answer to: {question or 'nothing at all'}"
    words = sum(len(piece.split()) for piece in texts_of(request)) + _token_ids(request)
    usage = reply.usage
    made = 0 if reply.tool_calls else len(text.split())
    made += sum(3 + len(str(arguments).split()) for _, arguments in reply.tool_calls)
    thought = len((reply.reasoning or "").split())
    output = usage.get("output", made + thought)
    return Answer(
        model=model,
        text="" if reply.tool_calls else text,
        tool_calls=reply.tool_calls,
        reasoning=reply.reasoning,
        input_tokens=usage.get("input", words + 3),
        output_tokens=output,
        cached_tokens=usage.get("cached", 0),
        cache_write_tokens=usage.get("cache_write", 0),
        reasoning_tokens=usage.get("reasoning", min(thought, output)),
        number=number,
    )


def _token_ids(request: Any) -> int:
    given = request.get("input") if isinstance(request, dict) else None
    rows = given if isinstance(given, list) else []
    return sum(len(row) if isinstance(row, list) else isinstance(row, int) for row in rows)
