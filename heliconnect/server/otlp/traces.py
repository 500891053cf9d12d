"""Traces under way: the spans of several exports put together, so that each call knows the spans around it.

A span is exported when it ends, so a call comes before the spans around it, often in an earlier export. A call whose
root has not come waits for it, ten seconds at most and in memory, and is recorded with what is known then. Where many
wait, none does any longer. A call
that holds another one, as a framework's span holds that of the SDK below it, is not recorded: it would count twice.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

from heliconnect.exchange import Capture
from heliconnect.server.ingest import Ingest
from heliconnect.server.otlp.calls import is_call
from heliconnect.server.otlp.captures import capture_of, is_context
from heliconnect.server.otlp.contents import told
from heliconnect.server.otlp.spans import Attributes, Read, Span

__all__ = ["WAIT_S", "Outcome", "Traces"]

_log = logging.getLogger("heliconnect")
WAIT_S = 10.0
_MAX_SEEN = 20_000
_MAX_WAITING = 2_000
_MAX_WAITING_BYTES = 64 << 20
_MAX_DEPTH = 64
_MAX_CONTEXT = 32
_MAX_VALUE = 500
Key = tuple[str, str]
ValueT = TypeVar("ValueT")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an export: why spans were refused, and whether all calls that were taken could be kept."""

    refused: list[str] = field(default_factory=list)
    is_kept: bool = True


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is remembered of a span: name, parent, and the attributes that say whose calls are below it."""

    name: str
    parent_id: str | None
    context: Attributes


@dataclass(frozen=True, slots=True)
class _Waiting:
    span: Span
    headers: Mapping[str, str]
    size_bytes: int
    until: float


class Traces:
    """Takes spans, gives captures to `ingest`. clock tells seconds that only go forward; for several threads."""

    def __init__(self, ingest: Ingest, wait_s: float = WAIT_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._ingest = ingest
        self._wait_s = wait_s
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: OrderedDict[Key, _Seen] = OrderedDict()
        self._holding: OrderedDict[Key, None] = OrderedDict()
        self._waiting: OrderedDict[Key, _Waiting] = OrderedDict()

    @property
    def is_waiting(self) -> bool:
        """Whether calls wait for the spans around them."""
        return bool(self._waiting)

    def take(self, read: Read, headers: Mapping[str, str]) -> Outcome:
        """Keep the calls among the spans of one export. headers are its own, with lower-case names."""
        refused = list(read.refused)
        with self._lock:
            calls = [span for span in read.spans if self._learn(span)]
            until = self._clock() + self._wait_s
            for span in calls:
                try:
                    made = self._capture(span, headers)
                except Exception as error:  # noqa: BLE001 - one span may be anything, the others are taken
                    refused.append(f"span {span.span_id} could not be read: {type(error).__name__}")
                else:
                    size_bytes = made.request_size_bytes + made.response_size_bytes
                    self._waiting[span.trace_id, span.span_id] = _Waiting(span, headers, size_bytes, until)
            return Outcome(refused, is_kept=self._settle())

    def settle(self) -> None:
        """Keep the calls that have waited long enough."""
        with self._lock:
            self._settle()

    def close(self) -> None:
        """Keep all calls that wait."""
        with self._lock:
            self._settle(is_last=True)

    def _learn(self, span: Span) -> bool:
        """Remember a span, and that those above it hold a call if it is one. Tells whether it is."""
        key = (span.trace_id, span.span_id)
        context = {
            name: value[:_MAX_VALUE] if isinstance(value, str) else value
            for name, value in span.attributes.items()
            if is_context(name) and isinstance(value, str | int | float)
        }
        few = dict(islice(context.items(), _MAX_CONTEXT))
        _put(self._seen, key, _Seen(span.name[:_MAX_VALUE], span.parent_id, few))
        found = is_call(told(span))
        if found or key in self._holding:
            for parent_id in self._above(span):
                _put(self._holding, (span.trace_id, parent_id), None)
        return found

    def _above(self, span: Span) -> list[str]:
        """The ids of the spans above one, the nearest first, as far as they are known; the last may not have come."""
        found: list[str] = []
        at = span.parent_id
        while at is not None and at != span.span_id and at not in found and len(found) < _MAX_DEPTH:
            found.append(at)
            seen = self._seen.get((span.trace_id, at))
            at = None if seen is None else seen.parent_id
        return found

    def _capture(self, span: Span, headers: Mapping[str, str]) -> Capture:
        ids = self._above(span)
        around = [seen for at in ids if (seen := self._seen.get((span.trace_id, at))) is not None]
        path = [*(seen.name for seen in reversed(around)), span.name]
        return capture_of(span, path, [seen.context for seen in around], headers)

    def _settle(self, *, is_last: bool = False) -> bool:
        """Keep the calls that need not wait any more; False when one of them could not be kept."""
        now, is_kept = self._clock(), True
        size_bytes = sum(call.size_bytes for call in self._waiting.values())
        is_full = len(self._waiting) > _MAX_WAITING or size_bytes > _MAX_WAITING_BYTES
        for key, call in list(self._waiting.items()):
            above = self._above(call.span)
            is_whole = not above or (call.span.trace_id, above[-1]) in self._seen
            if not (is_whole or is_last or is_full or now >= call.until):
                continue
            del self._waiting[key]
            if key in self._holding:
                continue
            try:
                is_kept = self._ingest.take(self._capture(call.span, call.headers)) and is_kept
            except Exception:  # noqa: BLE001 - as when it came; the calls behind it are kept
                _log.warning("span %s could not be read", call.span.span_id)
        return is_kept


def _put(into: OrderedDict[Key, ValueT], key: Key, value: ValueT) -> None:
    into[key] = value
    if len(into) > _MAX_SEEN:
        into.popitem(last=False)
