"""Retention: records older than they are to be kept are removed, at the start and then once an hour.

In small steps with pauses, so that the writer, which shares the store, is never held up for long.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from heliconnect.store import Store

__all__ = ["Retention", "prune"]

_log = logging.getLogger("heliconnect")
_EVERY_S = 3_600.0
_PAUSE_S = 0.02


def prune(
    store: Store,
    before: datetime,
    *,
    bodies_only: bool = False,
    pause: Callable[[float], object] = time.sleep,
) -> int:
    """Remove the records (or their bodies) that began before `before`; gives how many.

    `pause` waits between two steps; it ends the removal by giving something true. Raises StoreError.
    """
    removed = 0
    for step in store.remove_before(before, bodies_only=bodies_only):
        removed += step
        if pause(_PAUSE_S):
            break
    return removed


class Retention:
    """Prunes a store in a thread of its own, until stopped. Nothing else ends it: what goes wrong is logged."""

    def __init__(
        self,
        store: Store,
        keep: timedelta,
        *,
        every_s: float = _EVERY_S,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._keep = keep
        self._every_s = every_s
        self._now = now
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heliconnect-retention", daemon=True)

    def start(self) -> None:
        """Begin with the first round."""
        self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """End after the step under way."""
        self._stop.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._round()
            except Exception as error:  # noqa: BLE001 - a thread that ends keeps every record for ever
                _log.error("old records could not be removed, which is tried again later: %s", error)
            self._stop.wait(self._every_s)

    def _round(self) -> None:
        before = self._now() - self._keep
        removed = prune(self._store, before, pause=self._stop.wait)
        if removed and not self._stop.is_set():
            self._store.shrink()
            _log.info("%d records from before %s were removed", removed, before.isoformat(timespec="seconds"))
