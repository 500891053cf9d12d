"""The writer: drains the spool into the store, each capture exactly once, in a thread of the control process.

A batch and its position in the spool are stored in one transaction; a segment is deleted when it is read to its end and
nobody appends to it. A store that is locked, full or broken costs time, not records: the spool keeps them meanwhile. A
single record that cannot be read, or that the store refuses, is set aside in a file beside the spool, counted, and
holds up no other. Nothing ends the thread but `stop`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import threading
from collections.abc import Callable
from pathlib import Path

from heliconnect.errors import StoreError
from heliconnect.exchange import Capture, Exchange
from heliconnect.spool import SpoolReader, encode
from heliconnect.store import Mark, Store

__all__ = ["Writer", "WriterStatus"]

_log = logging.getLogger("heliconnect")
_IDLE_S = 0.1
_RETRY_S = 1.0
_BATCH = 2_000
_ASIDE = "aside"


@dataclasses.dataclass(frozen=True, slots=True)
class WriterStatus:
    """What the writer has done since it began, and what waits.

    error is the store's last refusal, None while it takes records.
    """

    stored: int
    waiting_bytes: int
    dropped: int
    damaged: int
    set_aside: int
    error: str | None


class Writer:
    """Moves captures from `reader` through `finish` into `store`, until stopped; charge is told what was stored."""

    def __init__(
        self,
        reader: SpoolReader,
        store: Store,
        finish: Callable[[Capture], Exchange],
        aside: Path,
        charge: Callable[[list[Exchange]], None] | None = None,
    ) -> None:
        self._charge = charge
        self._reader = reader
        self._store = store
        self._finish = finish
        self._aside = aside / _ASIDE
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heliconnect-writer", daemon=True)
        self._offsets: dict[str, int] = {}
        self._stored = 0
        self._damaged = 0
        self._set_aside = 0
        self._error: str | None = None

    def start(self) -> None:
        """Begin to drain."""
        self._thread.start()

    def stop(self, timeout_s: float = 30.0) -> None:
        """Drain what is there, then end."""
        self._stop.set()
        self._thread.join(timeout_s)

    def status(self) -> WriterStatus:
        """What was done, and what waits."""
        waiting = self._reader.size_bytes() - sum(self._offsets.values())
        return WriterStatus(
            self._stored, max(waiting, 0), self._reader.dropped(), self._damaged, self._set_aside, self._error
        )

    def _run(self) -> None:
        while True:
            is_last = self._stop.is_set()
            try:
                moved = self.drain()
            except Exception as error:  # noqa: BLE001 - a writer that ends loses all that comes after
                self._refused(error)
                if is_last:
                    return
                self._stop.wait(_RETRY_S)
                continue
            if self._error is not None:
                _log.warning("the store takes records again")
                self._error = None
            if is_last and not moved:
                return
            if not moved:
                self._stop.wait(_IDLE_S)

    def _refused(self, error: Exception) -> None:
        if self._error is None:
            _log.error("records wait in the spool: %s", error)
        self._error = str(error)

    def drain(self) -> int:
        """One round over all segments; gives how many captures were stored.

        Raises StoreError or OSError when the store or the spool cannot be used.
        """
        moved = 0
        segments = self._reader.segments()
        for gone in self._offsets.keys() - set(segments):
            del self._offsets[gone]
        for segment in segments:
            moved += self._drain_segment(segment)
        return moved

    def _drain_segment(self, segment: str) -> int:
        if segment not in self._offsets:
            self._offsets[segment] = self._store.mark(segment)
        moved = 0
        while True:
            is_free = self._reader.is_free(segment)  # asked first: what is appended after it is still read
            offset = self._offsets[segment]
            batch = self._reader.read(segment, offset, max_captures=_BATCH)
            if batch.offset == offset:
                if is_free:
                    self._reader.delete(segment)
                    self._store.forget_segment(segment)
                    del self._offsets[segment]
                return moved
            self._keep(batch.captures, Mark(segment, batch.offset))
            self._offsets[segment] = batch.offset
            self._damaged += batch.damaged
            moved += len(batch.captures)

    def _keep(self, captures: tuple[Capture, ...], mark: Mark) -> None:
        read, unread = self._read(captures)
        exchanges = [exchange for _, exchange in read]
        self._put_aside(unread)
        try:
            self._store.append(exchanges, mark)
        except StoreError:
            # The store's own trouble, or one record's? One that takes a position takes records.
            self._store.append([], Mark(mark.segment, self._offsets[mark.segment]))
            fits = [self._store.would_take(exchange) for exchange in exchanges]
            if all(fits):
                raise
            refused = [capture for (capture, _), is_taken in zip(read, fits, strict=True) if not is_taken]
            self._put_aside(refused)
            self._store.append([exchange for exchange, is_taken in zip(exchanges, fits, strict=True) if is_taken], mark)
            self._stored += sum(fits)
            self._set_aside += len(refused) + len(unread)
        else:
            self._stored += len(exchanges)
            self._set_aside += len(unread)
        if self._charge is not None:
            self._charge(exchanges)

    def _read(self, captures: tuple[Capture, ...]) -> tuple[list[tuple[Capture, Exchange]], list[Capture]]:
        read: list[tuple[Capture, Exchange]] = []
        unread: list[Capture] = []
        for capture in captures:
            try:
                read.append((capture, self._finish(capture)))
            except Exception:  # noqa: BLE001 - one capture may not hold up the others
                unread.append(capture)
        return read, unread

    def _put_aside(self, captures: list[Capture]) -> None:
        if captures:
            self._aside.mkdir(parents=True, exist_ok=True, mode=0o700)
        for capture in captures:
            frame = b"".join(encode(capture))
            # Named after the content: the same frame again, after a crash, is the same file; an id may come twice.
            (self._aside / f"{hashlib.sha256(frame).hexdigest()[:32]}.spool").write_bytes(frame)
            _log.error("the record %r cannot be kept and was set aside in %s", capture.request_id[:64], self._aside)
