"""Server-sent events: bytes in, events out, however the bytes were cut into chunks.

Follows https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream, but for two things a
recorder needs: an event is bounded in size (a larger one is dropped and counted, parsing goes on), and an event that
was begun but not finished can be seen.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Decoder", "Event", "decode", "ends_well"]

_END_OF_LINE = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"
MAX_EVENT_BYTES = 16 << 20
_TAIL_BYTES = 64 << 10
_LAST_EVENT = re.compile(
    rb"data: ?(?:\[DONE\]|\{[^\n]*\"type\": ?\"(?:message_stop|response\.completed)\")[^\n]*\n\n?$"
)


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its data (lines joined by a newline), its type, and the last id seen."""

    data: bytes
    event: str = "message"
    id: str = ""


class Decoder:
    """Turns chunks into events. oversized counts events dropped because they passed max_event_bytes."""

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_bytes = max_event_bytes
        self._buffer = bytearray()
        self._scanned = 0
        self._is_start = True
        self._data: list[bytes] = []
        self._size = 0
        self._event = ""
        self._id = ""
        self._is_too_big = False
        self.oversized = 0

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that `chunk` completes."""
        buffer = self._buffer
        buffer += chunk
        if self._is_start:
            if len(buffer) < len(_BOM) and _BOM.startswith(bytes(buffer)):
                return []
            self._is_start = False
            if buffer.startswith(_BOM):
                del buffer[: len(_BOM)]
        events: list[Event] = []
        start, scan_from = 0, self._scanned
        while (found := _END_OF_LINE.search(buffer, scan_from)) is not None:
            if found.end() == len(buffer) and found[0] == b"\r":
                break  # a line feed may follow in the next chunk
            event = self._line(bytes(buffer[start : found.start()]))
            if event is not None:
                events.append(event)
            start = scan_from = found.end()
        del buffer[:start]
        if len(buffer) > self._max_bytes:
            buffer.clear()
            self._is_too_big = True
        self._scanned = max(len(buffer) - 1, 0)
        return events

    def finish(self) -> bool:
        """Whether the stream ended in the middle of an event: that event is never dispatched."""
        return bool(self._buffer.strip(b"\r\n")) or bool(self._data) or self._is_too_big

    def _line(self, line: bytes) -> Event | None:
        if not line:
            return self._dispatch()
        name, colon, value = line.partition(b":")
        if colon and not name:
            return None
        value = value.removeprefix(b" ")
        if name == b"data":
            self._size += len(value) + 1
            if self._size > self._max_bytes:
                self._is_too_big = True
                self._data.clear()
            else:
                self._data.append(value)
        elif name == b"event":
            self._event = value.decode("utf-8", "replace")
        elif name == b"id" and b"\0" not in value:
            self._id = value.decode("utf-8", "replace")
        return None

    def _dispatch(self) -> Event | None:
        data, name = self._data, self._event
        self._data, self._event, self._size = [], "", 0
        if self._is_too_big:
            self._is_too_big = False
            self.oversized += 1
            return None
        return Event(b"\n".join(data), name or "message", self._id) if data else None


def decode(body: bytes) -> list[Event]:
    """All events of a whole body; one that it ends in the middle of is left out, as the standard says."""
    decoder = Decoder()
    events = decoder.feed(body)
    return events + decoder.feed(b"\n") if body.endswith(b"\r") else events


def ends_well(body: bytes) -> bool:
    """Whether a stream's body ends in the last event of an LLM's API: OpenAI's or Anthropic's.

    A reader that leaves there has read it whole.
    """
    return _LAST_EVENT.search(body[-_TAIL_BYTES:]) is not None
