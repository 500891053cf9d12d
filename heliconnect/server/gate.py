"""Who may see records and pages where others can reach the gateway: holders of a key. Pure ASGI.

Programs send the key as `Authorization: Bearer ...` (or `Helicone-Auth`); a browser is asked for it once and keeps a
signed session. Health, and the files that the login page is made of, are open.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs, quote

from heliconnect.protocol import key_hash
from heliconnect.server.keys import Keys

__all__ = ["Gate"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
_COOKIE = "heliconnect_session"
_LOGIN = "/ui/login"
_LOGOUT = "/ui/logout"
_OPEN = ("/healthcheck", _LOGIN)
_STATIC = "/ui/static/"
_MAX_FORM = 10_000


class Gate:
    """Around the control plane's app."""

    def __init__(self, app: Any, keys: Keys, now: Callable[[], float]) -> None:
        self._app = app
        self._keys = keys
        self._now = now

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path, method = scope["path"], scope["method"]
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        if method == "POST" and path in {_LOGIN, _LOGOUT}:
            await self._log_in_or_out(path, headers, receive, send)
        elif path in _OPEN or path.startswith(_STATIC) or self._may(path, headers):
            await self._app(scope, receive, send)
        elif method == "GET" and (path == "/" or path.startswith("/ui")):
            query = scope.get("query_string", b"").decode("latin-1")
            wanted = f"{path}?{query}" if query else path
            await _redirect(send, f"{_LOGIN}?next={quote(wanted, safe='')}")
        else:
            words = "a key of this gateway is needed: Authorization: Bearer sk-helicone-..."
            body = json.dumps({"data": None, "error": words}).encode()
            await _answer(send, 401, body, [(b"content-type", b"application/json"), (b"www-authenticate", b"Bearer")])

    def _may(self, path: str, headers: dict[bytes, str]) -> bool:
        hashed = _key_of(headers)
        if hashed is not None:
            return self._keys.may_write(hashed) if _is_log(path) else self._keys.may_read(hashed)
        session = _session_of(headers)
        return session is not None and self._keys.knows_session(session, self._now())

    async def _log_in_or_out(self, path: str, headers: dict[bytes, str], receive: Receive, send: Send) -> None:
        is_secure = headers.get(b"x-forwarded-proto") == "https"
        if path == _LOGOUT:
            await _redirect(send, _LOGIN, _cookie("", 0, is_secure=is_secure))
            return
        form = parse_qs((await _read(receive)).decode("utf-8", "replace"))
        wanted = form.get("next", ["/ui/"])[0]
        if not wanted.startswith("/ui") or "\\" in wanted:
            wanted = "/ui/"
        hashed = key_hash(form.get("key", [""])[0])
        if hashed is None or not self._keys.may_read(hashed):
            await _redirect(send, f"{_LOGIN}?wrong=1&next={quote(wanted, safe='')}")
            return
        session = self._keys.session(hashed, self._now())
        await _redirect(send, wanted, _cookie(session, 7 * 86_400, is_secure=is_secure))


def _is_log(path: str) -> bool:
    """Whether a path takes logs of calls."""
    return path.endswith("/v1/log") or path.startswith("/v1/trace/") or path == "/v1/traces"


def _key_of(headers: dict[bytes, str]) -> str | None:
    told = headers.get(b"authorization", "")
    if told and not told.lower().startswith("bearer "):
        told = ""
    return key_hash(told or headers.get(b"helicone-auth", ""))


def _session_of(headers: dict[bytes, str]) -> str | None:
    try:
        found = SimpleCookie(headers.get(b"cookie", "")).get(_COOKIE)
    except CookieError:
        return None
    return None if found is None else found.value


def _cookie(value: str, max_age_s: int, *, is_secure: bool) -> tuple[bytes, bytes]:
    secure = "; Secure" if is_secure else ""
    text = f"{_COOKIE}={value}; Path=/; Max-Age={max_age_s}; HttpOnly; SameSite=Strict{secure}"
    return b"set-cookie", text.encode("latin-1")


async def _read(receive: Receive) -> bytes:
    body = b""
    while len(body) < _MAX_FORM:
        message = await receive()
        body += message.get("body", b"")
        if message["type"] != "http.request" or not message.get("more_body", False):
            break
    return body


async def _redirect(send: Send, where: str, *headers: tuple[bytes, bytes]) -> None:
    await _answer(send, 303, b"", [(b"location", where.encode("latin-1", "replace")), *headers])


async def _answer(send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
    sized = [*headers, (b"content-length", b"%d" % len(body)), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": status, "headers": sized})
    await send({"type": "http.response.body", "body": body})
