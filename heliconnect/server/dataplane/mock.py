"""Helicone's short cut for tests: the answer stands in the request's own header, `__helicone-mock-response`.

JSON is answered as it is. An array is our own addition: its items are sent as server-sent events, `EVENT_PAUSE_S`
apart, so that a client can see whether a stream reaches it as one.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any, Protocol

from heliconnect.server.dataplane.heads import ResponseHead

__all__ = ["EVENT_PAUSE_S", "MOCK_HEADER", "answer", "is_mock"]

MOCK_HEADER = b"__helicone-mock-response"
EVENT_PAUSE_S = 0.1
_MAX_EVENTS = 100


class Answered(Protocol):
    """A call as a provider's side sees it."""

    is_over: bool

    def provider_head(self, head: ResponseHead, *, has_body: bool) -> None: ...
    def provider_body(self, piece: bytes) -> None: ...
    def provider_done(self) -> None: ...
    def flush(self) -> None: ...


def is_mock(body: bytes) -> bool:
    """Whether this can be an answer."""
    try:
        return not isinstance(found := json.loads(body), list) or len(found) <= _MAX_EVENTS
    except ValueError:
        return False


def answer(call: Answered, body: bytes, loop: asyncio.AbstractEventLoop) -> None:
    """Answer a call with `body`, for which `is_mock` holds."""
    events: Any = json.loads(body)
    if isinstance(events, list):
        call.provider_head(_head(b"text/event-stream", None), has_body=True)
        call.flush()
        _send_next(call, _lines(events), loop)
        return
    call.provider_head(_head(b"application/json", len(body)), has_body=True)
    call.provider_body(body)
    call.flush()
    call.provider_done()


def _head(kind: bytes, length: int | None) -> ResponseHead:
    lines = [(b"content-type", b"content-type", kind)]
    if length is not None:
        lines.append((b"content-length", b"content-length", b"%d" % length))
    return ResponseHead(200, b"OK", lines, length, False, True)


def _lines(events: list[Any]) -> Iterator[bytes]:
    for event in events:
        yield b"data: " + (event if isinstance(event, str) else json.dumps(event)).encode() + b"\n\n"


def _send_next(call: Answered, lines: Iterator[bytes], loop: asyncio.AbstractEventLoop) -> None:
    if call.is_over:
        return
    line = next(lines, None)
    if line is None:
        call.provider_done()
        return
    call.provider_body(line)
    call.flush()
    loop.call_later(EVENT_PAUSE_S, _send_next, call, lines, loop)
