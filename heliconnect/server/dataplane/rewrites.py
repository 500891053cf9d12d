"""Requests as they are sent on where a feature changes them, and what is read from messages for that. Pure."""

from __future__ import annotations

import json
from dataclasses import replace

from heliconnect.server.dataplane.heads import Line, RequestHead, ResponseHead

__all__ = ["line", "retry_after_s", "user_in", "with_headers", "with_usage"]


def line(name: bytes, value: bytes) -> Line:
    """A header line; name in lower case."""
    return name, name, value


def with_usage(body: bytes) -> bytes:
    """A streamed request that asks for its usage too: OpenAI tells it only then."""
    try:
        parsed = json.loads(body)
    except ValueError:
        return body
    if not isinstance(parsed, dict) or parsed.get("stream") is not True or "messages" not in parsed:
        return body
    options = parsed.get("stream_options")
    merged = {**(options if isinstance(options, dict) else {}), "include_usage": True}
    return json.dumps({**parsed, "stream_options": merged}, ensure_ascii=False).encode("utf-8", "surrogatepass")


def user_in(body: bytes) -> str | None:
    """The user that an OpenAI request names in its body."""
    try:
        parsed = json.loads(body)
    except ValueError:
        return None
    user = parsed.get("user") if isinstance(parsed, dict) else None
    return user if isinstance(user, str) and user else None


def retry_after_s(head: ResponseHead) -> float | None:
    """The seconds that an answer asks to wait, where it says so as a number."""
    text = next((value for lower, _, value in head.lines if lower == b"retry-after"), b"")
    return float(text) if text.isdigit() else None


def with_headers(head: RequestHead, headers: tuple[tuple[str, str], ...], size: int) -> RequestHead:
    """A fallback's head: its own headers, and of the caller's only what frames the message and belongs to Helicone."""
    own = [(name.lower().encode(), name.encode(), value.encode()) for name, value in headers]
    framing = {b"host", b"content-length", b"transfer-encoding", b"connection"}
    sent = [one for one in own if one[0] not in framing]
    ours = {b"host", b"content-type", b"accept"} - {lower for lower, _, _ in sent}
    kept = [one for one in head.lines if one[0] in ours or one[0].startswith(b"helicone-")]
    return replace(head, lines=[*kept, *sent, line(b"content-length", b"%d" % size)], length=size)
