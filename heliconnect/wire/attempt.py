"""One call's dealings with its gateway, the same for every HTTP library: whether to try it, what its failure means.

Also what every shell needs at the edges: a call that leaves is marked, so that a shell below leaves it alone.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass

from heliconnect.callcontext import CallContext, active_run, current, note_request
from heliconnect.failover import Verdict, judge
from heliconnect.outgoing import Outgoing, prepare
from heliconnect.protocol import CONTEXT_REF, PREFIX, UNSENT, header_text
from heliconnect.routing import is_loopback, origin_of
from heliconnect.settings import Settings
from heliconnect.wire.switch import switch

__all__ = ["Attempt", "end_run", "leaving", "plan"]

_leaving: ContextVar[str | None] = ContextVar("heliconnect_leaving", default=None)


@dataclass(slots=True)
class Tried:
    """The last call of this task or thread: what it asked, the id of its first attempt, when, and whether it failed.

    A retry asks the same for the same user and session, and soon: a worker's thread serves many, one after the other.
    """

    key: tuple[object, ...]
    first_id: str
    at_s: float
    has_failed: bool = True

    def is_first_of(self, key: tuple[object, ...], now_s: float) -> bool:
        """Whether a call with this key, made now, tries once more what failed."""
        return self.has_failed and self.key == key and now_s - self.at_s < _RETRY_WITHIN_S


_tried: ContextVar[Tried | None] = ContextVar("heliconnect_tried", default=None)
_RETRIED = frozenset({408, 409, 425, 429})
_RETRY_WITHIN_S = 300.0


class Attempt:
    """A call that is to be routed. outgoing says where and with what headers, settings by which rules.

    direct_prefix is how the names of the headers begin (in lower case) that a request to its provider goes without.
    """

    direct_prefix = PREFIX

    def __init__(self, outgoing: Outgoing, settings: Settings, tried: Tried) -> None:
        self.outgoing = outgoing
        self.settings = settings
        self._tried = tried
        self.direct_id = outgoing.request_id
        """The id of the record of the call should it go straight to its provider."""
        self._has_failover = settings.failover and outgoing.has_direct

    @property
    def connect_timeout_s(self) -> float:
        """How long a connection to the gateway may take, in seconds."""
        return self.settings.connect_timeout_ms / 1000

    @property
    def is_on_this_machine(self) -> bool:
        """Whether the gateway is on this machine: then it is reached without any proxy, which would see its keys."""
        return is_loopback(self.outgoing.gateway)

    @property
    def is_recorded(self) -> bool:
        """Whether a record is kept of this call when it goes straight to its provider."""
        return self.settings.record_direct

    def may_begin(self) -> bool:
        """Whether the gateway may be tried now; if so the call's request id is noted."""
        is_open = not self._has_failover or switch.breaker.allows(self.outgoing.gateway, self.settings.cooldown_ms)
        if is_open or self.settings.record_direct:
            note_request(self.outgoing.request_id)
        if is_open:
            _tried.set(self._tried)
        return is_open

    def may_go_direct(self, error: Exception) -> bool:
        """No connection was made, so nothing was sent: note that, and say whether to go direct."""
        if self._has_failover:
            switch.breaker.failed(self.outgoing.gateway, type(error).__name__, self.settings.cooldown_ms)
        elif not self.outgoing.has_direct:
            switch.tell(
                f"the gateway {self.outgoing.gateway} cannot be reached, and calls addressed to it have no provider to "
                "go to instead: let the client name its provider, and heliconnect routes it"
            )
        return self._has_failover

    def must_go_direct(self, status: int, headers: Mapping[str, str], *, is_repeatable: bool) -> bool:
        """Whether an answer means that the request has to be sent again, straight to its provider.

        status and headers are the answer's, found in lower case too; is_repeatable says whether the request's body can
        be sent once more.
        """
        self._tried.has_failed = status in _RETRIED or status >= 500
        verdict = judge(self.settings.gateway, headers, headers.get(UNSENT))
        if verdict is not Verdict.FOREIGN:
            switch.breaker.answered(self.outgoing.gateway)
        elif self._has_failover:
            what = "what answers there is no gateway"
            switch.breaker.failed(self.outgoing.gateway, what, self.settings.cooldown_ms)
        goes_direct = verdict is not Verdict.PASSED_ON and self._has_failover and is_repeatable
        if goes_direct and verdict is Verdict.UNSENT and self.is_recorded:
            self.direct_id = str(uuid.uuid4())  # the gateway has a record of its own, of what it could not pass on
            note_request(self.direct_id)
        return goes_direct


class Aside(Attempt):
    """A call that is not routed but carries an adapter's reference to its context: it leaves without that header."""

    direct_prefix = CONTEXT_REF.lower()
    is_on_this_machine = False
    is_recorded = False

    def __init__(self) -> None:
        """There is no gateway to deal with."""

    def may_begin(self) -> bool:
        """The gateway is not to be tried."""
        return False


_REFERENCE = CONTEXT_REF.lower().encode()


def plan(
    client: object, method: str, url: str, raw_headers: Iterable[tuple[bytes, bytes]], body: object = None
) -> Attempt | None:
    """How a request of `client` is sent; None when it is left alone. Never raises.

    body is the request's where it is bytes or text. The same request again after one that failed is a retry: its record
    names the first attempt's in the property `retry-of`.
    """
    try:
        raw = list(raw_headers)
        settings = switch.settings_for(client, raw)
        if settings is None or (_leaving.get() is not None and _leaving.get() == _origin(url)):
            return None
        context, now_s = current(), time.monotonic()
        asked = hash(body) if isinstance(body, bytes | str) else None
        key = (method, url, asked, header_text(context.user_id), header_text(context.session_id))
        before = _tried.get()
        first = before.first_id if before is not None and before.is_first_of(key, now_s) else None
        if first is not None:
            context = context.overlaid(CallContext(properties={"retry-of": first}))
        outgoing = prepare(method, url, raw, context, settings)
        if outgoing is not None:
            switch.note(client, context, outgoing.request_id)
    except Exception as error:  # noqa: BLE001 - no mistake of ours may fail the call
        switch.report(error)
        return None
    if outgoing is None:
        return Aside() if any(name.lower() == _REFERENCE for name, _ in raw) else None
    return Attempt(outgoing, settings, Tried(key, first or outgoing.request_id, now_s))


@contextlib.contextmanager
def leaving(url: str) -> Iterator[None]:
    """What is sent to this URL's origin within has been dealt with: no shell further down looks at it again."""
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
