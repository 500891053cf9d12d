"""Messages and their parts, and the small readings that every flavour shares."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Message", "Part", "error_message", "listed", "mapped", "text_of", "texts"]


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a message.

    kind is text, reasoning, tool_call (name, text: its arguments), tool_result (name: its call's id), image, audio or
    file (url: a data: URL or an address, name), refusal, error, or json (data: what has no other form).
    """

    kind: str
    text: str = ""
    name: str | None = None
    url: str | None = None
    data: object = None


@dataclass(frozen=True, slots=True)
class Message:
    """Who speaks (system, developer, user, assistant, tool, ...) and what."""

    role: str
    parts: tuple[Part, ...]


def mapped(value: object) -> Mapping[str, Any]:
    """`value` if it is a JSON object, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def listed(value: object) -> list[Any]:
    """`value` if it is a JSON array, else an empty one."""
    return value if isinstance(value, list) else []


def text_of(value: object) -> str:
    """`value` if it is text, else an empty one."""
    return value if isinstance(value, str) else ""


def texts(values: Iterable[object]) -> str:
    """All text among `values`, joined."""
    return "".join(value for value in values if isinstance(value, str))


def error_message(answer: object) -> Message | None:
    """The error that an answer is, in any provider's shape; None when it is none."""
    body = mapped(answer)
    error = body.get("error")
    if not error and mapped(body.get("response")).get("error"):
        error = body["response"]["error"]
    if isinstance(error, Mapping):
        label = error.get("type") or error.get("status") or error.get("code")
        return Message(
            "error", (Part("error", text_of(error.get("message")) or str(error), name=str(label or "error")),)
        )
    if isinstance(error, str) and error:
        return Message("error", (Part("error", error, name="error"),))
    is_plain = (
        "message" in body and isinstance(body["message"], str) and not ({"choices", "text", "object"} & body.keys())
    )
    if is_plain and len(body) <= 4:
        return Message(
            "error", (Part("error", body["message"], name=str(body.get("type") or body.get("code") or "error")),)
        )
    return None
