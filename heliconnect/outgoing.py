"""The whole client side as one function: what a request becomes before it leaves.

In: a request's method, URL and headers, the call context, the settings. Out: the gateway's URL, the headers to set, and
the id of the call. Pure: the HTTP libraries' shells in `heliconnect.wire` only apply what is decided here.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from heliconnect.callcontext import CallContext, current
from heliconnect.exchange import Pairs
from heliconnect.protocol import AUTH, CONTEXT_REF, PREFIX, REQUEST_ID, ascii_headers, context_headers
from heliconnect.references import find
from heliconnect.routing import origin_of, route
from heliconnect.settings import Settings, get_settings

__all__ = ["Outgoing", "RawPairs", "direct_headers", "headers", "prepare"]

RawPairs = list[tuple[bytes, bytes]]
"""Headers as HTTP libraries keep them: pairs of bytes in the order of the wire, names in any case."""

_log = logging.getLogger("heliconnect")
_PREFIX = PREFIX.encode()
_CONTEXT_REF = CONTEXT_REF.lower().encode()


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request as it is sent to the gateway.

    url is the gateway's URL, set_headers the headers to set (each replaces all lines of its name; values are text to be
    sent as UTF-8), request_id the `Helicone-Request-Id` among them, gateway the origin the request goes to.
    has_direct is False for a request that its caller addressed to the gateway: it has no provider to go to instead.
    """

    url: str
    provider: str
    request_id: str
    gateway: str
    set_headers: Pairs
    has_direct: bool = True

    def apply(self, raw: Iterable[tuple[bytes, bytes]]) -> RawPairs:
        """`raw` with `set_headers` put in: lines of the same name go, Host stays first, all others keep their order."""
        replaced = {_CONTEXT_REF, *(name.lower().encode() for name, _ in self.set_headers)}
        added = [(name.encode(), value.encode()) for name, value in self.set_headers]
        return [added[0], *((name, value) for name, value in raw if name.lower() not in replaced), *added[1:]]


def prepare(
    method: str,
    url: str,
    raw_headers: Iterable[tuple[bytes, bytes]],
    context: CallContext,
    settings: Settings,
    new_id: Callable[[], uuid.UUID] = uuid.uuid4,
) -> Outgoing | None:
    """Decide how a request leaves; None when it has to be left alone.

    Left alone are hosts that are no LLM provider, protocol upgrades, requests signed for their host (AWS Signature
    Version 4), and everything while routing is disabled.
    `Helicone-*` headers that the call itself carries win over the context. `Helicone-Request-Id` is a new UUID v4 for
    every attempt unless the call names one. Never raises for any context value.
    """
    if settings.disabled or method.upper() == "CONNECT":
        return None
    found = route(url, settings)
    if found is None or "X-Amz-Signature=" in url:
        return None
    explicit: dict[str, bytes] = {}
    for raw_name, raw_value in raw_headers:
        name = raw_name.lower()
        if name.startswith(_PREFIX):
            explicit[name.decode("latin-1")] = raw_value
        elif name == b"upgrade" or (name == b"authorization" and raw_value.startswith(b"AWS4-")):
            return None
    left = find(explicit.pop(CONTEXT_REF.lower(), b"").decode("latin-1"))
    carried, dropped = context_headers(context if left is None else context.overlaid(left))
    if dropped:
        _log.warning("%d context value(s) have no header form and were left out of an LLM call", dropped)
    request_id = explicit.get(REQUEST_ID.lower(), b"").decode("latin-1") or str(new_id())
    explicit.pop(REQUEST_ID.lower(), None)  # an empty one names nothing
    gateway = (origin_of(found.url) or ("", ""))[0]
    offered = [*carried, *found.headers, (REQUEST_ID, request_id)]
    if settings.api_key is not None:
        offered.append((AUTH, f"Bearer {settings.api_key}"))
    kept = [(name, value) for name, value in offered if name.lower() not in explicit]
    said = [(name, value.decode("utf-8", "replace")) for name, value in explicit.items()]
    return Outgoing(
        url=found.url,
        provider=found.provider,
        request_id=request_id,
        gateway=gateway,
        set_headers=(("Host", gateway.partition("://")[2]), *said, *kept),
        has_direct=found.has_direct,
    )


def headers(settings: Settings | None = None) -> dict[str, str]:
    """The headers of the current context, for calls that heliconnect does not route itself.

    Holds user, session, properties, a new request id and, where a key is set, `Helicone-Auth`: send them to the gateway
    only. Values are ASCII, as many HTTP libraries demand: other characters are percent-encoded. With `connect()` or
    `install()` none of this is needed.
    """
    used = settings if settings is not None else get_settings()
    carried, _ = context_headers(current())
    made = ascii_headers((*carried, (REQUEST_ID, str(uuid.uuid4()))))
    return made if used.api_key is None else {**made, AUTH: f"Bearer {used.api_key}"}


def direct_headers(raw: Iterable[tuple[bytes, bytes]], prefix: str = PREFIX) -> RawPairs:
    """`raw` without any `Helicone-*` line, or any of another prefix: what goes straight to a provider."""
    start = prefix.encode()
    return [(name, value) for name, value in raw if not name.lower().startswith(start)]
