"""ASGI middleware: who a web request is for becomes the context of every LLM call made while it is served.

    app.add_middleware(
        HeliconeMiddleware,
        user_id=lambda scope: scope["state"].get("user"),
        session_id=from_header("x-session"),
    )

Pure ASGI, http and websocket. The context is set on every request, an empty one too, and taken back at its end: on some
servers a connection's next request would otherwise see the values of the one before.
"""

from __future__ import annotations

import inspect
import ipaddress
import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any
from urllib.parse import unquote_to_bytes

from heliconnect.callcontext import CallContext, serve
from heliconnect.carrying import CONTEXT_HEADER, read_token
from heliconnect.errors import MissingExtraError, SettingsError

try:
    import starlette  # noqa: F401 - what this module is made for; ASGI itself needs no import
except ImportError as exc:
    raise MissingExtraError("heliconnect.starlette", "starlette") from exc

__all__ = ["HeliconeMiddleware", "from_header", "from_state"]

_log = logging.getLogger("heliconnect")
Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]
Source = Any
"""A value, or a callable on the ASGI scope that gives one, awaitable or not."""
Trust = Callable[[Scope], bool] | Iterable[str]

_FIELDS = ("user_id", "session_id", "session_name", "session_path")
_MAX_HEADER_CHARACTERS = 256
_MAX_MEMBERS = 64
_TOKEN = CONTEXT_HEADER.lower().encode()
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")


def from_state(name: str) -> Callable[[Scope], object]:
    """A source that reads what an earlier middleware put into the request's state, `request.state.<name>`."""
    return lambda scope: scope.get("state", {}).get(name)


def from_header(name: str) -> Callable[[Scope], str | None]:
    """A source that reads a request header, as UTF-8 (Starlette itself reads Latin-1). None when it is absent.

    For headers that your own proxy or client sets: whoever can send the header chooses the value.
    """
    wanted = name.lower().encode()

    def read(scope: Scope) -> str | None:
        raw: bytes | None = next((value for key, value in scope["headers"] if key == wanted), None)
        return None if raw is None else raw.decode("utf-8", "replace")

    return read


class HeliconeMiddleware:
    """Sets the call context of each request.

    user_id, session_id, session_name and session_path are each a value or a callable on the scope; properties is a
    mapping whose values are such, or a callable that gives the mapping. Callables may be async. One that raises costs
    its own value only.

    trusted_headers maps names of request headers to those fields ("property:<name>" for a property), baggage maps names
    of W3C baggage members in the same way. They are believed only from callers that `trusted` accepts: a callable on
    the scope, or networks such as "10.0.0.0/8". Without `trusted` nobody is believed: a browser cannot name somebody
    else. What a believed header says wins. With traceparent the trace id of a believed W3C `traceparent` is the
    property `trace-id`, and the session id where no other is known.

    With accept_tokens the context of another service arrives in X-Heliconnect-Context, a token of `heliconnect.dump`,
    believed from anybody who knows the secret; what is said here comes on top of it.

    Raises SettingsError for an unknown field or a malformed network.
    """

    def __init__(
        self,
        app: App,
        *,
        user_id: Source = None,
        session_id: Source = None,
        session_name: Source = None,
        session_path: Source = None,
        properties: Mapping[str, Source] | Callable[[Scope], object] | None = None,
        trusted_headers: Mapping[str, str] | None = None,
        trusted: Trust | None = None,
        traceparent: bool = False,
        baggage: Mapping[str, str] | None = None,
        accept_tokens: bool = False,
    ) -> None:
        self.app = app
        self._sources = {"user_id": user_id, "session_id": session_id}
        self._sources |= {"session_name": session_name, "session_path": session_path}
        self._properties = properties
        self._headers = {name.lower().encode(): _field(field) for name, field in (trusted_headers or {}).items()}
        self._baggage = {name: _field(field) for name, field in (baggage or {}).items()}
        self._reads_trace = traceparent
        self._reads_tokens = accept_tokens
        self._trusts = _trust(trusted)
        self._told: set[str] = set()

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        with serve(await self._context(scope)):
            await self.app(scope, receive, send)

    async def _context(self, scope: Scope) -> CallContext:
        found: dict[str, Any] = {name: await self._value(name, source, scope) for name, source in self._sources.items()}
        properties = dict(await self._all_properties(scope))
        if (self._headers or self._baggage or self._reads_trace) and self._is_trusted(scope):
            for field, value in self._said(scope):
                if field in found:
                    found[field] = value
                else:
                    properties[field.removeprefix("property:")] = value
            trace_id = _trace_id(scope) if self._reads_trace else None
            if trace_id is not None:
                properties["trace-id"] = trace_id
                found["session_id"] = found["session_id"] or trace_id
        own = CallContext(**found, properties=properties)
        sent = read_token(_header(scope, _TOKEN)) if self._reads_tokens else None
        return own if sent is None else sent.overlaid(own)

    async def _value(self, name: str, source: Source, scope: Scope) -> object:
        if not callable(source):
            return source
        try:
            value = source(scope)
            return await value if inspect.isawaitable(value) else value
        except Exception as error:  # noqa: BLE001 - a web request must not fail for what it is called in a record
            self._report(name, error)
            return None

    async def _all_properties(self, scope: Scope) -> Mapping[str, object]:
        given = self._properties
        if isinstance(given, Mapping):
            return {name: await self._value(f"property {name}", source, scope) for name, source in given.items()}
        value = await self._value("properties", given, scope)
        return value if isinstance(value, Mapping) else {}

    def _is_trusted(self, scope: Scope) -> bool:
        try:
            return self._trusts(scope)
        except Exception as error:  # noqa: BLE001 - in doubt nobody is believed, and the request goes on
            self._report("the trust", error)
            return False

    def _said(self, scope: Scope) -> Iterable[tuple[str, str]]:
        """What trusted headers and baggage say: the first line of each, if it is short printable text."""
        seen: set[bytes] = set()
        for name, raw in scope["headers"]:
            field = self._headers.get(name)
            if field is not None and name not in seen:
                seen.add(name)
                text = _identity(raw)
                if text is not None:
                    yield field, text
        for member, text in _members(_header(scope, b"baggage") if self._baggage else None):
            if member in self._baggage:
                yield self._baggage[member], text

    def _report(self, name: str, error: Exception) -> None:
        if name not in self._told:
            self._told.add(name)
            _log.warning("%s of a request could not be read (%s): left out", name, type(error).__name__)


def _header(scope: Scope, name: bytes) -> bytes | None:
    found: bytes | None = next((value for key, value in scope["headers"] if key == name), None)
    return found


def _identity(raw: bytes) -> str | None:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return None
    return text if text and len(text) <= _MAX_HEADER_CHARACTERS and text.isprintable() else None


def _members(baggage: bytes | None) -> Iterable[tuple[str, str]]:
    """The members of a W3C baggage header; what follows a semicolon are properties of the member, not its value."""
    for member in (baggage or b"").decode("latin-1").split(",")[:_MAX_MEMBERS]:
        name, equals, value = member.partition("=")
        text = _identity(unquote_to_bytes(value.partition(";")[0].strip())) if equals else None
        if text is not None:
            yield name.strip(), text


def _trace_id(scope: Scope) -> str | None:
    """The trace id of a W3C traceparent header; None for a malformed one, or one of zeros."""
    found = _TRACEPARENT.fullmatch((_header(scope, b"traceparent") or b"").decode("latin-1"))
    return None if found is None or set(found[1]) == {"0"} else found[1]


def _field(field: str) -> str:
    if field not in _FIELDS and not field.startswith("property:"):
        raise SettingsError(
            f"trusted_headers and baggage: expected one of {', '.join(_FIELDS)} or property:<name>, got {field!r}"
        )
    return field


def _trust(trusted: Trust | None) -> Callable[[Scope], bool]:
    if trusted is None:
        return lambda scope: False
    if callable(trusted):
        return trusted
    try:
        networks = [ipaddress.ip_network(network) for network in trusted]
    except ValueError as error:
        raise SettingsError(f"trusted: expected networks such as 10.0.0.0/8, got {error}") from error

    def is_within(scope: Scope) -> bool:
        client = scope.get("client")
        if not client:
            return False
        address = ipaddress.ip_address(client[0])
        return any(address in network for network in networks)

    return is_within
