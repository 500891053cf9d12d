"""A record's bodies as bubbles of a conversation, bounded so that any body makes a page that opens. Pure.

Reads the bodies with `heliconnect.conversation`; decides what is shown, how much of it, and as what.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup

from heliconnect.bodies import parse_answers, parse_json
from heliconnect.conversation import Message, Part, answered, asked
from heliconnect.exchange import Exchange, Pairs
from heliconnect.flavors import Flavor
from heliconnect.server.dashboard import prose

__all__ = [
    "Bubble",
    "Dialogue",
    "Said",
    "Shown",
    "body_bytes",
    "content_type",
    "dialogue",
    "full_text",
    "parameters",
    "read",
    "tools",
]

MAX_BUBBLES = 120
HEAD_BUBBLES = 5
MAX_PARTS = 200
MAX_PART = 24_000
MIN_PART = 500
MAX_TEXT = 600_000
MAX_PICTURE = 3_000_000
MAX_PICTURES = 8_000_000
_IMAGE = re.compile(r"data:image/(?:png|jpe?g|gif|webp|avif|bmp);base64,[A-Za-z0-9+/=\s]+")
_TONES = {
    "system": "system", "developer": "system", "user": "user", "assistant": "assistant", "model": "assistant",
    "tool": "tool", "function": "tool", "error": "error",
}  # fmt: skip
_PARAMETERS = (
    *("temperature", "top_p", "top_k", "max_tokens", "max_completion_tokens", "max_output_tokens", "n", "seed", "stop"),
    *("presence_penalty", "frequency_penalty", "reasoning_effort", "response_format", "tool_choice", "service_tier"),
    *("stream", "dimensions", "encoding_format", "verbosity", "previous_response_id", "store"),
)


@dataclass(frozen=True, slots=True)
class Shown:
    """One part as it is drawn.

    kind is the part's; html stands for text where it is rendered. address names the part ("asked.3.0") where more than
    is shown can be fetched; size counts the characters of all of it.
    """

    kind: str
    text: str = ""
    html: Markup | None = None
    name: str | None = None
    image: str | None = None
    address: str | None = None
    size: int = 0


@dataclass(frozen=True, slots=True)
class Bubble:
    """One message: who speaks, in which tone it is drawn, and what."""

    role: str
    tone: str
    is_answer: bool
    parts: tuple[Shown, ...]


@dataclass(frozen=True, slots=True)
class Dialogue:
    """Bubbles in order. Of a long one a window is shown: hidden_from is where the left-out ones begin."""

    bubbles: tuple[Bubble, ...]
    total: int
    gap_at: int | None = None
    hidden: int = 0
    hidden_from: int = 0
    earlier: int | None = None
    later: int | None = None


def body_bytes(text: str | None, *, is_base64: bool) -> bytes:
    """A recorded body as bytes; b"" for none."""
    if not text:
        return b""
    if not is_base64:
        return text.encode("utf-8", "replace")
    try:
        return base64.b64decode(text)
    except binascii.Error:
        return b""


def content_type(headers: Pairs) -> str:
    """The media type that headers name; "" for none."""
    return next((value for name, value in headers if name == "content-type"), "")


@dataclass(frozen=True, slots=True)
class Said:
    """A record's bodies, parsed once: the request as JSON, what was asked and what was answered."""

    request: object
    asked: list[Message]
    answered: list[Message]


def read(exchange: Exchange) -> Said:
    """Parse the bodies of a record; what cannot be read is left out."""
    try:
        flavor = Flavor(exchange.flavor or Flavor.OTHER)
    except ValueError:
        flavor = Flavor.OTHER
    request = parse_json(body_bytes(exchange.request_body, is_base64=exchange.request_is_base64))
    answer = body_bytes(exchange.response_body, is_base64=exchange.response_is_base64)
    answers = parse_answers(answer, content_type(exchange.response_headers))
    return Said(request, asked(flavor, request), answered(flavor, answers))


def dialogue(said: Said, *, is_markdown: bool = True, start: int | None = None) -> Dialogue:
    """The conversation of a record. start is the first bubble of the window; None shows the beginning and the end."""
    every = [(f"asked.{at}", message, False) for at, message in enumerate(said.asked)]
    every += [(f"answered.{at}", message, True) for at, message in enumerate(said.answered)]
    total = len(every)
    budget = _Budget()
    if total <= MAX_BUBBLES:
        return Dialogue(_draw(every, budget, is_markdown=is_markdown), total)
    if start is None:
        tail = total - (MAX_BUBBLES - HEAD_BUBBLES)
        bubbles = _draw(every[:HEAD_BUBBLES] + every[tail:], budget, is_markdown=is_markdown)
        return Dialogue(bubbles, total, gap_at=HEAD_BUBBLES, hidden=tail - HEAD_BUBBLES, hidden_from=HEAD_BUBBLES)
    start = max(0, min(start, total - 1))
    end = start + MAX_BUBBLES
    return Dialogue(
        _draw(every[start:end], budget, is_markdown=is_markdown),
        total,
        earlier=max(0, start - MAX_BUBBLES) if start else None,
        later=end if end < total else None,
    )


def full_text(said: Said, address: str) -> str | None:
    """All of one part, by the address that `Shown` gave; None when there is no such part."""
    side, _, where = address.partition(".")
    at, _, part_at = where.partition(".")
    messages = {"asked": said.asked, "answered": said.answered}.get(side, [])
    if not (at.isdecimal() and part_at.isdecimal()) or len(address) > 40:
        return None
    parts = messages[int(at)].parts if int(at) < len(messages) else ()
    return _text(parts[int(part_at)]) if int(part_at) < len(parts) else None


@dataclass(slots=True)
class _Budget:
    """What may still be shown on this page, in characters: of text, and of pictures."""

    text: int = MAX_TEXT
    pictures: int = MAX_PICTURES

    def take(self, size: int) -> int:
        """How many characters of a text of `size` may be shown: a few always."""
        granted = min(size, MAX_PART, max(self.text, MIN_PART))
        self.text -= granted
        return granted

    def take_picture(self, size: int) -> bool:
        if size > self.pictures:
            return False
        self.pictures -= size
        return True


def _draw(every: Iterable[tuple[str, Message, bool]], budget: _Budget, *, is_markdown: bool) -> tuple[Bubble, ...]:
    bubbles = []
    for address, message, is_answer in every:
        tone = _TONES.get(message.role, "other")
        as_markdown = is_markdown and tone == "assistant"
        parts = [
            _shown(part, f"{address}.{at}", budget, as_markdown=as_markdown)
            for at, part in enumerate(message.parts[:MAX_PARTS])
        ]
        if len(message.parts) > MAX_PARTS:
            parts.append(Shown("note", f"{len(message.parts) - MAX_PARTS} more parts: see the JSON"))
        bubbles.append(Bubble(message.role[:40], tone, is_answer, tuple(parts)))
    return tuple(bubbles)


def _shown(part: Part, address: str, budget: _Budget, *, as_markdown: bool) -> Shown:
    name = part.name[:120] if part.name else None
    if part.url is not None:
        return _medium(part, name, budget)
    text = _text(part)
    visible = prose.shortened(text)
    granted = budget.take(len(visible))
    cut = visible[:granted]
    is_whole = granted == len(text)
    html: Markup | None = None
    if part.kind == "text" and as_markdown:
        html = prose.markdown(cut)
    elif part.kind in {"tool_call", "tool_result", "json"} and text[:1] in {"{", "["}:
        cut, fits = prose.indented(cut, MAX_PART)
        is_whole = is_whole and fits
        html = prose.coloured_json(cut)
    return Shown(part.kind, cut, html, name, address=None if is_whole else address, size=len(text))


def _text(part: Part) -> str:
    if part.text or part.data is None:
        return part.text
    return part.data if isinstance(part.data, str) else json.dumps(part.data, ensure_ascii=False, default=str)


def _medium(part: Part, name: str | None, budget: _Budget) -> Shown:
    """An image as a picture where it is a bitmap in a data URL; anything else that has an address as text."""
    url = part.url or ""
    if part.kind == "image" and len(url) <= MAX_PICTURE and _IMAGE.fullmatch(url) and budget.take_picture(len(url)):
        return Shown("image", name=name, image="".join(url.split()), size=len(url))
    return Shown("address", prose.shortened(url)[:2000], name=part.kind if name in {None, part.kind} else name)


def parameters(request: object) -> list[tuple[str, str]]:
    """The settings a request was sent with (temperature, limits, ...), as text."""
    if not isinstance(request, dict):
        return []
    inner = request.get("generationConfig", request.get("inferenceConfig"))
    found = [(name, request[name]) for name in _PARAMETERS if request.get(name) is not None]
    found += list(inner.items())[:12] if isinstance(inner, dict) else []
    return [
        (str(name)[:60], value[:200] if isinstance(value, str) else json.dumps(value, default=str)[:200])
        for name, value in found
    ]


def tools(request: object) -> list[tuple[str, str]]:
    """The tools a request offered: name and description."""
    offered = request.get("tools") if isinstance(request, dict) else None
    found: list[tuple[str, str]] = []
    for tool in offered[:MAX_PARTS] if isinstance(offered, list) else []:
        if not isinstance(tool, dict):
            continue
        many = tool.get("functionDeclarations", tool.get("function_declarations"))
        for one in many[:MAX_PARTS] if isinstance(many, list) else [tool]:
            inner = one.get("function", one.get("toolSpec", one)) if isinstance(one, dict) else {}
            if isinstance(inner, dict):
                name = inner.get("name") or inner.get("type") or "tool"
                found.append((str(name)[:120], str(inner.get("description") or "")[:400]))
    return found[:MAX_PARTS]
