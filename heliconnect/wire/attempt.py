"""One call's dealings with its gateway, the same for every HTTP library: whether to try it, what its failure means.

Also what every shell needs at the edges: a call that leaves directly is marked, so that a shell below leaves it alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar

from heliconnect.callcontext import active_run, current, note_request
from heliconnect.failover import Verdict, judge
from heliconnect.outgoing import Outgoing, prepare
from heliconnect.protocol import UNSENT
from heliconnect.routing import origin_of
from heliconnect.settings import Settings
from heliconnect.wire.switch import switch

__all__ = ["Attempt", "end_run", "going_direct", "plan"]

_leaving: ContextVar[str | None] = ContextVar("heliconnect_leaving", default=None)


class Attempt:
    """A call that is to be routed. outgoing says where and with what headers, settings by which rules."""

    def __init__(self, outgoing: Outgoing, settings: Settings) -> None:
        self.outgoing = outgoing
        self.settings = settings

    @property
    def connect_timeout_s(self) -> float:
        """How long a connection to the gateway may take, in seconds."""
        return self.settings.connect_timeout_ms / 1000

    def may_begin(self) -> bool:
        """Whether the gateway may be tried now; if so the call's request id is noted."""
        is_open = not self.settings.failover or switch.breaker.allows(self.outgoing.gateway, self.settings.cooldown_ms)
        if is_open:
            note_request(self.outgoing.request_id)
        return is_open

    def may_go_direct(self, error: Exception) -> bool:
        """No connection was made, so nothing was sent: note that, and say whether to go direct."""
        if self.settings.failover:
            switch.breaker.failed(self.outgoing.gateway, type(error).__name__, self.settings.cooldown_ms)
        return self.settings.failover

    def must_go_direct(self, headers: Mapping[str, str], *, is_repeatable: bool) -> bool:
        """Whether an answer means that the request has to be sent again, straight to its provider.

        headers are the answer's; is_repeatable says whether the request's body can be sent once more.
        """
        verdict = judge(self.settings.gateway, {name.lower() for name in headers}, headers.get(UNSENT))
        if verdict is not Verdict.FOREIGN:
            switch.breaker.answered(self.outgoing.gateway)
        elif self.settings.failover:
            what = "what answers there is no gateway"
            switch.breaker.failed(self.outgoing.gateway, what, self.settings.cooldown_ms)
        return verdict is not Verdict.PASSED_ON and self.settings.failover and is_repeatable


def plan(client: object, method: str, url: str, raw_headers: Iterable[tuple[bytes, bytes]]) -> Attempt | None:
    """How a request of `client` is sent; None when it is left alone. Never raises."""
    try:
        raw = list(raw_headers)
        settings = switch.settings_for(client, raw)
        if settings is None or (_leaving.get() is not None and _leaving.get() == _origin(url)):
            return None
        outgoing = prepare(method, url, raw, current(), settings)
    except Exception as error:  # noqa: BLE001 - no mistake of ours may fail the call
        switch.report(error)
        return None
    return None if outgoing is None else Attempt(outgoing, settings)


@contextlib.contextmanager
def going_direct(url: str) -> Iterator[None]:
    """What is sent to this URL's origin within is on its way to its provider: no shell further down routes it again."""
    token = _leaving.set(_origin(url))
    try:
        yield
    finally:
        _leaving.reset(token)


def end_run() -> None:
    """The call was cancelled: no callback will tell, so its framework run ends here."""
    run = active_run()
    if run is not None:
        run.active = False


def _origin(url: str) -> str | None:
    found = origin_of(url)
    return None if found is None else found[0]
