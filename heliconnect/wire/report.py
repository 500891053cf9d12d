"""What heliconnect does in this process, at a glance: `heliconnect.status()`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from heliconnect.carrying import refused_tokens
from heliconnect.routing import origin_of
from heliconnect.sender import get_sender
from heliconnect.settings import get_settings, is_disabled
from heliconnect.wire.switch import Mode, switch

__all__ = ["Status", "status"]


@dataclass(frozen=True, slots=True)
class Status:
    """The state of this process.

    routes is "nothing", "runs" (of a framework that has our handler) or "everything"; clients given to `connect` are
    routed in any case. is_reachable is False from a failed connection to the gateway until it answers again;
    direct_calls counts the calls that went straight to their provider. Of log entries, and the records of such calls,
    queued are in memory, waiting on disk (for any process), sent and dropped of this process. refused_tokens counts
    context tokens that were not believed, by reason.
    """

    gateway: str
    routes: str
    is_reachable: bool
    direct_calls: int
    queued: int
    waiting: int
    sent: int
    dropped: int
    refused_tokens: Mapping[str, int]


def status() -> Status:
    """The state of this process. Raises SettingsError when the environment holds a value that cannot be used."""
    settings = get_settings()
    gateway = (origin_of(settings.base_url) or (settings.base_url, ""))[0]
    known, entries = switch.breaker.state(gateway), get_sender().status()
    is_off = settings.disabled or is_disabled()
    routes = "nothing" if is_off else {Mode.OFF: "nothing", Mode.RUNS: "runs", Mode.ALL: "everything"}[switch.mode]
    return Status(
        gateway=settings.base_url,
        routes=routes,
        is_reachable=known.is_reachable,
        direct_calls=known.direct_calls,
        queued=entries.queued,
        waiting=entries.waiting,
        sent=entries.sent,
        dropped=entries.dropped,
        refused_tokens=refused_tokens(),
    )
