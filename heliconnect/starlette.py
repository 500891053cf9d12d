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
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any

from heliconnect.callcontext import CallContext, use
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

    trusted_headers maps names of request headers to those fields ("property:<name>" for a property). They are believed
    only from callers that `trust` accepts: a callable on the scope, or networks such as "10.0.0.0/8". Without `trust`
    nobody is believed: a browser cannot name somebody else. What a believed header says wins.

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
        trust: Trust | None = None,
    ) -> None:
        self.app = app
        self._sources = {"user_id": user_id, "session_id": session_id}
        self._sources |= {"session_name": session_name, "session_path": session_path}
        self._properties = properties
        self._headers = {name.lower().encode(): _field(field) for name, field in (trusted_headers or {}).items()}
        self._trusts = _trust(trust)
        self._told: set[str] = set()

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] not in {"http", "websocket"}:
            await self.app(scope, receive, send)
            return
        with use(await self._context(scope)):
            await self.app(scope, receive, send)

    async def _context(self, scope: Scope) -> CallContext:
        found: dict[str, Any] = {name: await self._value(name, source, scope) for name, source in self._sources.items()}
        properties = dict(await self._all_properties(scope))
        if self._headers and self._is_trusted(scope):
            for field, value in self._said(scope):
                if field in found:
                    found[field] = value
                else:
                    properties[field.removeprefix("property:")] = value
        return CallContext(**found, properties=properties)

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
            self._report("trust", error)
            return False

    def _said(self, scope: Scope) -> Iterable[tuple[str, str]]:
        """What trusted headers say: the first line of each, if it is short printable text."""
        seen: set[bytes] = set()
        for name, raw in scope["headers"]:
            field = self._headers.get(name)
            if field is None or name in seen:
                continue
            seen.add(name)
            try:
                text = raw.decode()
            except UnicodeDecodeError:
                continue
            if text and len(text) <= _MAX_HEADER_CHARACTERS and text.isprintable():
                yield field, text

    def _report(self, name: str, error: Exception) -> None:
        if name not in self._told:
            self._told.add(name)
            _log.warning("%s of a request could not be read (%s): left out", name, type(error).__name__)


def _field(field: str) -> str:
    if field not in _FIELDS and not field.startswith("property:"):
        raise SettingsError(f"trusted_headers: expected one of {', '.join(_FIELDS)} or property:<name>, got {field!r}")
    return field


def _trust(trust: Trust | None) -> Callable[[Scope], bool]:
    if trust is None:
        return lambda scope: False
    if callable(trust):
        return trust
    try:
        networks = [ipaddress.ip_network(network) for network in trust]
    except ValueError as error:
        raise SettingsError(f"trust: expected networks such as 10.0.0.0/8, got {error}") from error

    def is_within(scope: Scope) -> bool:
        client = scope.get("client")
        if not client:
            return False
        address = ipaddress.ip_address(client[0])
        return any(address in network for network in networks)

    return is_within
