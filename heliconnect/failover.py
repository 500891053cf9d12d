"""When a call goes straight to its provider: a circuit breaker for the gateway, without any I/O.

A gateway that cannot be connected to is left alone for a cool-down; then one call tries it again. So a dead gateway
costs at most one connect timeout per cool-down, and every change of state is reported once, not once per call.
Only failures *before* any byte was sent count here: those are safe to send again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import StrEnum

from heliconnect.protocol import ERROR, ID
from heliconnect.settings import Gateway

__all__ = ["Breaker", "GatewayState", "Verdict", "judge"]

_log = logging.getLogger("heliconnect")


class Verdict(StrEnum):
    """What an answer that came from the gateway's address is."""

    PASSED_ON = "passed on"
    """The provider's answer, or one that must not be asked for twice."""
    UNSENT = "unsent"
    """The gateway says that nothing of the request reached the provider: it may be sent again."""
    FOREIGN = "foreign"
    """Not a gateway's answer at all: something else listens there, or a proxy stands in between."""


def judge(gateway: Gateway, header_names: Collection[str], unsent: str | None) -> Verdict:
    """What an answer is, by its header names (lower case) and its `helicone-unsent` value.

    Every answer of the local gateway is marked; what bears no mark did not come from it, and cannot have reached a
    provider. Other gateways are taken at their word.
    """
    if unsent == "true":
        return Verdict.UNSENT
    if gateway is Gateway.LOCAL and ID not in header_names and ERROR not in header_names:
        return Verdict.FOREIGN
    return Verdict.PASSED_ON


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

    def failed(self, gateway: str, reason: str, cooldown_ms: int) -> None:
        """The gateway cannot be used: calls go direct for the cool-down. Says so once, at the change."""
        with self._lock:
            is_change = gateway not in self._retry_at
            self._retry_at[gateway] = self._clock() + cooldown_ms / 1000
            self._direct[gateway] = self._direct.get(gateway, 0) + 1
        if is_change:
            _log.warning(
                "the gateway %s cannot be reached (%s): LLM calls go straight to their providers until it answers "
                "again; start it with `heliconnect up`, or set HELICONE_BASE_URL",
                gateway,
                reason,
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
