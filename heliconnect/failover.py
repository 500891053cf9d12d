"""When a call goes straight to its provider: a circuit breaker for the gateway, without any I/O.

A gateway that cannot be connected to is left alone for a cool-down; then one call tries it again. So a dead gateway
costs at most one connect timeout per cool-down, and every change of state is reported once, not once per call.
Only failures *before* any byte was sent count here: those are safe to send again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Breaker", "GatewayState"]

_log = logging.getLogger("heliconnect")


@dataclass(frozen=True, slots=True)
class GatewayState:
    """What is known of one gateway: whether calls are routed to it, and how many went straight to their provider."""

    is_reachable: bool
    direct_calls: int


class Breaker:
    """The state of every gateway of this process, by origin. Safe to use from any thread.

    clock gives seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._retry_at: dict[str, float] = {}
        self._direct: dict[str, int] = {}

    def allows(self, gateway: str, cooldown_ms: int) -> bool:
        """Whether a call may try this gateway now. During a cool-down no; after it, one caller is let through."""
        if gateway not in self._retry_at:
            return True
        with self._lock:
            retry_at = self._retry_at.get(gateway)
            if retry_at is None:
                return True
            now = self._clock()
            if now >= retry_at:
                self._retry_at[gateway] = now + cooldown_ms / 1000
                return True
            self._direct[gateway] = self._direct.get(gateway, 0) + 1
            return False

    def failed(self, gateway: str, error: BaseException, cooldown_ms: int) -> None:
        """No connection could be made: calls go direct for the cool-down. Says so once, at the change."""
        with self._lock:
            is_change = gateway not in self._retry_at
            self._retry_at[gateway] = self._clock() + cooldown_ms / 1000
            self._direct[gateway] = self._direct.get(gateway, 0) + 1
        if is_change:
            _log.warning(
                "the gateway %s cannot be reached (%s): LLM calls go straight to their providers, unrecorded, until it "
                "answers again; start it with `heliconnect up`, or set HELICONE_BASE_URL",
                gateway,
                type(error).__name__,
            )

    def answered(self, gateway: str) -> None:
        """The gateway answered: calls are routed again. Says so once, at the change."""
        if gateway not in self._retry_at:
            return
        with self._lock:
            is_change = self._retry_at.pop(gateway, None) is not None
        if is_change:
            _log.warning("the gateway %s answers again: LLM calls are routed through it", gateway)

    def state(self, gateway: str) -> GatewayState:
        """What is known of this gateway."""
        with self._lock:
            return GatewayState(gateway not in self._retry_at, self._direct.get(gateway, 0))
