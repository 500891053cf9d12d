"""What a browser must not be talked into: other sites reading records, or sending commands. Pure ASGI.

Refused are requests for a host name that is not ours (DNS rebinding), requests that a browser marks as coming from
another site (but for following a link), and bodies beyond a bound.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

__all__ = ["MAX_BODY_BYTES", "Guard"]

MAX_BODY_BYTES = 10 << 20

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
IS_CUT = "heliconnect.is_cut"
"""Set in the scope of a request whose body was cut at the bound."""
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
_FOREIGN = frozenset({"cross-site", "same-site"})


class Guard:
    """Around an ASGI app. hosts are names it may be called by besides those of the loopback interface.

    With takes_addresses it may be called by any IP address too: a name can be made to point here, an address cannot.
    """

    def __init__(
        self, app: Any, hosts: list[str], max_body_bytes: int = MAX_BODY_BYTES, *, takes_addresses: bool = False
    ) -> None:
        self._app = app
        self._takes_addresses = takes_addresses
        self._hosts = _LOOPBACK | {host.lower() for host in hosts}
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        problem = self._problem(scope["method"], headers)
        if problem is not None:
            await _refuse(send, *problem)
            return
        await self._app(scope, self._bounded(scope, receive), send)

    def _problem(self, method: str, headers: dict[bytes, str]) -> tuple[int, str] | None:
        name = _name(headers.get(b"host", ""))
        if not self._is_ours(name):
            return 403, f"this server is not called {name[:100]!r}: use http://127.0.0.1"
        origin = headers.get(b"origin", "")
        is_own = _name(origin.partition("://")[2]) == name
        if origin == "null":  # a form of a page without referrer says so; the browser itself tells where it came from
            is_own = headers.get(b"sec-fetch-site") == "same-origin"
        if origin and method not in {"GET", "HEAD"} and not is_own:
            return 403, "another site may not use this server"
        if headers.get(b"sec-fetch-site") in _FOREIGN:
            is_link = method in {"GET", "HEAD"} and headers.get(b"sec-fetch-mode") == "navigate"
            if not is_link:
                return 403, "another site may not use this server"
        length = headers.get(b"content-length", "0")
        if not length.isdigit() or int(length) > self._max_body_bytes:
            return 413, f"a body may have {self._max_body_bytes} bytes"
        return None

    def _is_ours(self, name: str) -> bool:
        return name in self._hosts or (self._takes_addresses and _is_address(name))

    def _bounded(self, scope: Scope, receive: Receive) -> Receive:
        """`receive`, ending the body at the bound, and saying so in the scope.

        What is cut there is no JSON any more and is refused as such; other bodies may still look whole.
        """
        left = self._max_body_bytes

        async def bounded() -> MutableMapping[str, Any]:
            nonlocal left
            message = await receive()
            if message["type"] == "http.request":
                left -= len(message.get("body", b""))
                if left < 0:
                    scope[IS_CUT] = True
                    return {"type": "http.request", "body": b"", "more_body": False}
            return message

        return bounded


def _name(authority: str) -> str:
    """A host name without its port, in lower case."""
    host = authority.lower()
    return host if host.endswith("]") else host.rpartition(":")[0] or host


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


async def _refuse(send: Send, status: int, words: str) -> None:
    body = json.dumps({"data": None, "error": words}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
