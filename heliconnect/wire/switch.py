"""Which calls are routed: all of the process, those of certain clients, or those that an adapter speaks for.

The HTTP libraries stay wrapped once they were; this switch is what the wrappers ask, for each request.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Iterable
from enum import IntEnum

from heliconnect.callcontext import CallContext, active_run, told_context
from heliconnect.errors import HeliconnectError
from heliconnect.failover import Breaker
from heliconnect.protocol import PREFIX
from heliconnect.settings import Settings, get_settings, is_disabled

__all__ = ["Mode", "Switch", "switch"]

_log = logging.getLogger("heliconnect")
_PREFIX = PREFIX.encode()


class Mode(IntEnum):
    """How much is routed besides the clients given to `connect`."""

    OFF = 0
    RUNS = 1
    """Calls under a framework run of ours, and calls that carry a Helicone header themselves."""
    ALL = 2


class Switch:
    """The process's switch and its breaker."""

    def __init__(self) -> None:
        self.mode = Mode.OFF
        self.breaker = Breaker()
        self.override: Settings | None = None
        """What holds for every call that is routed at all, whatever its client was given: a test's gateway."""
        self.watcher: Callable[[object, str], None] | None = None
        """Told the client and the request id of every call that is routed, in whatever task or thread."""
        self.carrying_calls = 0
        self.bare_thread_calls = 0
        """Routed calls with a context, and those in threads other than the main one without any."""
        self._clients: weakref.WeakKeyDictionary[object, Settings | None] = weakref.WeakKeyDictionary()
        self._told: set[str] = set()

    def connect(self, client: object, settings: Settings | None) -> None:
        """Route this client's calls, by its own settings or the process's."""
        self._clients[client] = settings

    def is_connected(self, client: object) -> bool:
        """Whether this very client was given to `connect`."""
        return client in self._clients

    def settings_of(self, client: object) -> Settings | None:
        """The settings that a connected client was given for itself."""
        return self._clients.get(client)

    def may_route(self, client: object) -> bool:
        """Whether any request of this client could be routed now: a quick answer for all those that cannot."""
        return (self.mode is not Mode.OFF or client in self._clients) and not is_disabled()

    def settings_for(self, client: object, raw_headers: Iterable[tuple[bytes, bytes]]) -> Settings | None:
        """The settings by which a request of `client` is routed; None when it is not ours to touch."""
        if client in self._clients:
            return self.override or self._clients[client] or get_settings()
        if self.mode is Mode.ALL or (
            self.mode is Mode.RUNS and (active_run() or _speaks_helicone(raw_headers) or told_context() is not None)
        ):
            return self.override or get_settings()
        return None

    def note(self, client: object, context: CallContext, request_id: str) -> None:
        """A call is routed."""
        if context.user_id is not None or context.session_id is not None or context.properties:
            self.carrying_calls += 1
        elif threading.current_thread() is not threading.main_thread():
            self.bare_thread_calls += 1
        if self.watcher is not None:
            self.watcher(client, request_id)

    @property
    def has_clients(self) -> bool:
        """Whether any client was given to `connect` that still exists."""
        return bool(self._clients)

    def report(self, error: Exception) -> None:
        """A mistake of ours or in the setup: said once of each kind; the call goes on without us."""
        kind = f"{type(error).__name__}: {error}" if isinstance(error, HeliconnectError) else type(error).__name__
        self.tell(f"an LLM call could not be routed and goes straight to its provider: {kind}")

    def report_record(self, error: Exception) -> None:
        """The record of a call that went straight to its provider could not be kept: said once of each kind."""
        self.tell(f"a call could not be recorded: {type(error).__name__}")

    def tell(self, message: str) -> None:
        """Say something that somebody has to see to, once."""
        if message not in self._told:
            self._told.add(message)
            _log.error("%s", message)


def _speaks_helicone(raw_headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return any(name.lower().startswith(_PREFIX) for name, _ in raw_headers)


switch = Switch()
