"""Sends log entries in the background: nobody waits for it, and it never raises.

No thread runs before the first entry, and none while nothing is to be done. What the gateway does not take now waits in
the outbox, and is sent when it answers again, by this process or the next. Memory is bounded, what does not fit is
counted. After a fork the child begins anew; at the end of the process what is left goes out or into the outbox.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from heliconnect.outbox import Entry, Outbox, default_folder
from heliconnect.routing import is_loopback, log_url, origin_of
from heliconnect.settings import get_settings

__all__ = ["Sender", "SenderStatus", "discard", "flush", "get_sender"]

_log = logging.getLogger("heliconnect")
_MAX_ENTRIES = 2_000
_MAX_BYTES = 64 << 20
_POST_S = 10.0
_RETRY_S = 5.0
_MAX_RETRY_S = 60.0
_LINGER_S = 5.0
_EXIT_S = 3.0
_REFUSED = frozenset({400, 401, 403, 413, 422})


@dataclass(frozen=True, slots=True)
class SenderStatus:
    """What became of the entries of this process, and how many wait: in memory, and on disk for any process."""

    queued: int
    waiting: int
    sent: int
    dropped: int


class Sender:
    """One for each process. Safe to use from any thread."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._queue: deque[tuple[Entry, str | None]] = deque()
        self._bytes = 0
        self._ready = threading.Condition()
        self._thread: threading.Thread | None = None
        self._is_busy = False
        self._retry_at = 0.0
        self._retry_s = _RETRY_S
        self._is_down = False
        self._is_discarded = False
        self._is_closed = False
        self.sent = 0
        self.dropped = 0

    def submit(self, entry: Entry, api_key: str | None = None) -> bool:
        """Send an entry soon; False when there is no room for it. Never waits, never raises."""
        with self._ready:
            if len(self._queue) >= _MAX_ENTRIES or self._bytes + entry.size > _MAX_BYTES:
                self.dropped += 1
                if self.dropped == 1:
                    _log.warning("log entries come faster than the gateway takes them: some are dropped")
                return False
            if not self._is_closed and self._wake():
                self._queue.append((entry, api_key))
                self._bytes += entry.size
                self._ready.notify_all()
                return True
        return self._outbox.put(entry)  # the process ends: the next one sends it

    def _wake(self) -> bool:
        """Whether there is a thread: the interpreter starts none any more while it ends."""
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="heliconnect-sender", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                return False
            self._thread = thread
        return True

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Wait until everything queued was sent or lies in the outbox; False when that took too long."""
        deadline = time.monotonic() + timeout_s
        with self._ready:
            while self._queue or self._is_busy:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._ready.wait(min(left, 0.1))
        return True

    def status(self) -> SenderStatus:
        """What was done, and what waits."""
        with self._ready:
            queued = len(self._queue) + self._is_busy
        return SenderStatus(queued, len(self._outbox.waiting()), self.sent, self.dropped)

    def close(self) -> None:
        """The process ends: send for a moment more, keep the rest on disk."""
        self.flush(_EXIT_S)
        with self._ready:
            self._is_closed = True
            rest, self._bytes = list(self._queue), 0
            self._queue.clear()
        for entry, _ in rest:
            self._outbox.put(entry)

    def discard(self) -> None:
        """Forget everything that is queued or waits."""
        with self._ready:
            self._is_discarded = True
            self._queue.clear()
            self._bytes = 0
        for path in self._outbox.waiting():
            self._outbox.remove(path)

    def _run(self) -> None:
        while True:
            taken = self._take()
            if taken is None:
                return
            try:
                self._handle(*taken)
            except Exception as error:  # noqa: BLE001 - the thread must live on, whatever one entry does
                _log.warning("a log entry could not be sent: %s", type(error).__name__)
            finally:
                with self._ready:
                    self._is_busy = False
                    self._ready.notify_all()

    def _take(self) -> tuple[Entry | None, str | None] | None:
        """The next entry; (None, None) when the outbox is due; None when there is nothing to do for a while."""
        idle_until = time.monotonic() + _LINGER_S
        with self._ready:
            while not self._queue:
                if self._is_discarded:
                    self._thread = None
                    return None
                now = time.monotonic()
                if now >= self._retry_at and self._outbox.waiting():
                    self._is_busy = True
                    return None, None
                if now >= idle_until and not self._outbox.waiting():
                    self._thread = None
                    return None
                self._ready.wait(0.5)
            entry, key = self._queue.popleft()
            self._bytes -= entry.size
            self._is_busy = True
            return entry, key

    def _handle(self, entry: Entry | None, key: str | None) -> None:
        if entry is None:
            self._deliver()
            return
        is_resting = self._is_down and time.monotonic() < self._retry_at
        is_dealt_with = not is_resting and self._post(entry, key)
        if not is_dealt_with and not self._is_discarded and not self._outbox.put(entry):
            self.dropped += 1

    def _deliver(self) -> None:
        with self._outbox.delivering() as may:
            if not may:
                self._retry_at = time.monotonic() + _RETRY_S
                return
            for path in self._outbox.waiting():
                entry = self._outbox.read(path)
                if entry is None:
                    continue
                if not self._post(entry, _own_key(entry)):
                    return
                self._outbox.remove(path)

    def _post(self, entry: Entry, key: str | None) -> bool:
        """Whether the gateway has dealt with the entry: taken it, or refused it for good."""
        status = _post(entry, key)
        if status is None or (status >= 300 and status not in _REFUSED):
            self._retry_at = time.monotonic() + self._retry_s
            self._retry_s = min(self._retry_s * 2, _MAX_RETRY_S)
            self._is_down = True
            return False
        self._is_down, self._retry_s = False, _RETRY_S
        if status in _REFUSED:
            self.dropped += 1
            _log.warning("the gateway refused a log entry: %d", status)
        else:
            self.sent += 1
        return True


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        """A gateway's log endpoint redirects nowhere: the key stays where it is."""


def _post(entry: Entry, key: str | None) -> int | None:
    """The status of the answer; None when there was none, or it came from something that is no gateway."""
    handlers: list[urllib.request.BaseHandler] = [_NoRedirect()]
    origin = _origin(entry.url)
    if is_loopback(origin):
        handlers.append(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(entry.url, entry.body, dict(entry.headers), method="POST")  # noqa: S310 - http(s) by Settings
    if key is not None:
        request.add_header("Authorization", f"Bearer {key}")
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=_POST_S) as answer:
            return int(answer.status) if answer.headers.get("helicone-id") or not is_loopback(origin) else None
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except (OSError, ValueError):
        return None


def _own_key(entry: Entry) -> str | None:
    """The key for an entry from the outbox: this process's, if the entry is for this process's gateway."""
    settings = get_settings()
    return settings.api_key if _origin(log_url(None, settings)) == _origin(entry.url) else None


def _origin(url: str) -> str:
    return (origin_of(url) or ("", ""))[0]


_sender: Sender | None = None
_lock = threading.Lock()


def get_sender() -> Sender:
    """The process's sender, made when it is first needed."""
    global _sender
    with _lock:
        if _sender is None:
            folder = get_settings().spool_dir
            _sender = Sender(Outbox(Path(folder).expanduser() if folder else default_folder()))
            atexit.register(_close)
        return _sender


def flush(timeout_s: float = 5.0) -> bool:
    """Wait until all log entries of this process are sent or safe on disk: before a serverless function returns, say.

    False when that took longer than timeout_s, in seconds.
    """
    return _sender is None or _sender.flush(timeout_s)


def discard() -> None:
    """Forget this process's sender and what it holds, in memory and on disk: for tests that must leave nothing."""
    global _sender
    with _lock:
        found, _sender = _sender, None
    if found is not None:
        found.discard()


def _close() -> None:
    if _sender is not None:
        _sender.close()


def _after_fork() -> None:
    """The child has neither the thread nor the entries: its parent sends those."""
    global _sender, _lock
    _sender = None
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
