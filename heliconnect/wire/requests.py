"""The shell around requests: what is sent through a `Session` may be routed.

The work is done around the session's adapter, the one next to the connection: redirects, hooks, cookies and the
checking of the status all happen above, with the provider's URL. `Session.get_adapter` is wrapped to put it there.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from heliconnect.errors import MissingExtraError
from heliconnect.protocol import PREFIX
from heliconnect.wire.attempt import Attempt, end_run, leaving, plan
from heliconnect.wire.direct import DirectRecord, begin
from heliconnect.wire.switch import switch
from heliconnect.wrapping import Point, unwrap, wrap

try:
    import requests
    from requests.utils import rewind_body, should_bypass_proxies
    from urllib3.exceptions import NewConnectionError
    from urllib3.util import Timeout
except ImportError as exc:
    raise MissingExtraError("heliconnect.wire.requests", "requests") from exc

__all__ = ["is_client", "patch", "patch_client", "points", "unpatch"]

# Reasons of OpenSSL's that only a handshake can have: nothing of a request was sent.
_HANDSHAKE = frozenset({"CERTIFICATE_VERIFY_FAILED", "WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"})


def is_client(value: Any) -> bool:
    """Whether `value` is one of requests' sessions."""
    return isinstance(value, requests.Session)


def patch() -> None:
    """Wrap all of requests' sessions, those that exist already too. Does nothing the second time."""
    for cls, name in points():
        wrap(cls, name, _get_adapter)


def points() -> tuple[Point, ...]:
    """What `patch` wraps."""
    return ((requests.Session, "get_adapter"),)


def _get_adapter(original: Any) -> Any:
    def get_adapter(self: requests.Session, url: str) -> Any:
        return _routing(self, original(self, url))

    return get_adapter


def unpatch() -> None:
    """Undo `patch`, unless another tool has wrapped the sessions since."""
    for cls, name in points():
        unwrap(cls, name)


def patch_client(session: Any) -> None:
    """Wrap this session alone: its class becomes a subclass of what it was, of the same name."""
    if not hasattr(session, "_heliconnect_base"):
        cls: Any = type(session)
        session.__class__ = _wrapped(cls)


@cache
def _wrapped(cls: Any) -> Any:
    def get_adapter(self: Any, url: str) -> Any:
        return _routing(self, cls.get_adapter(self, url))

    names = {"get_adapter": get_adapter, "_heliconnect_base": cls}
    return type(cls.__name__, (cls,), {**names, "__module__": cls.__module__, "__qualname__": cls.__qualname__})


def _routing(session: requests.Session, adapter: Any) -> Any:
    if not switch.may_route(session) or isinstance(adapter, _Adapter):
        return adapter
    return _Adapter(session, adapter)


class _Adapter(requests.adapters.BaseAdapter):
    """Stands before one of a session's adapters: sends to the gateway, or straight to the provider."""

    def __init__(self, session: requests.Session, adapter: Any) -> None:
        self._session = session
        self._adapter = adapter

    def __getattr__(self, name: str) -> Any:
        return getattr(self._adapter, name)

    def close(self) -> None:
        self._adapter.close()

    def send(self, request: requests.PreparedRequest, *arguments: Any, **options: Any) -> requests.Response:
        attempt = plan(self._session, request.method or "", request.url or "", _raw(request.headers), request.body)
        if attempt is None:
            return self._send(request, *arguments, **options)
        try:
            return self._attempted(attempt, request, arguments, options)
        except BaseException as error:
            if not isinstance(error, Exception):
                end_run()
            if getattr(error, "request", None) is not None:
                error.request = request  # type: ignore[attr-defined]  # requests' errors have it
            raise

    def _attempted(
        self, attempt: Attempt, request: requests.PreparedRequest, arguments: Any, options: dict[str, Any]
    ) -> requests.Response:
        if not attempt.may_begin():
            return self._direct(attempt, request, arguments, options)
        try:
            routed = _routed(request, attempt)
            adapter = self._session.get_adapter(attempt.outgoing.url)
            inner = adapter._adapter if isinstance(adapter, _Adapter) else adapter
            with leaving(attempt.outgoing.url):
                response: requests.Response = inner.send(routed, *arguments, **self._bounded(routed, attempt, options))
        except requests.RequestException as error:
            if not _is_unsent(error) or not attempt.may_go_direct(error):
                raise
            return self._direct(attempt, request, arguments, options)
        if attempt.must_go_direct(response.status_code, response.headers, is_repeatable=_is_repeatable(request)):
            response.close()
            if isinstance(request._body_position, int):
                rewind_body(request)
            return self._direct(attempt, request, arguments, options)
        response.request, response.url = request, request.url or ""
        return response

    def _direct(
        self, attempt: Attempt, request: requests.PreparedRequest, arguments: Any, options: dict[str, Any]
    ) -> requests.Response:
        direct = request.copy()
        for name in [name for name in direct.headers if name.lower().startswith(attempt.direct_prefix)]:
            del direct.headers[name]
        record = begin(attempt, request.url or "", request.body, str(request.headers.get("Content-Type", "")))
        try:
            with leaving(request.url or ""):
                response = self._send(direct, *arguments, **options)
        except BaseException:
            if record is not None:
                record.failed()
            raise
        response.request = request
        if record is not None:
            record.answered(response.status_code, response.headers.items())
            response.raw = _Raw(response.raw, record)
        return response

    def _send(self, request: requests.PreparedRequest, *arguments: Any, **options: Any) -> requests.Response:
        response: requests.Response = self._adapter.send(request, *arguments, **options)
        return response

    def _bounded(self, routed: requests.PreparedRequest, attempt: Attempt, options: dict[str, Any]) -> dict[str, Any]:
        """The options of the sending as they fit the gateway: its own connect timeout and proxies, no certificate."""
        proxies: Mapping[str, str] = options.get("proxies") or {}
        is_bypassed = attempt.is_on_this_machine
        if not is_bypassed and self._session.trust_env:
            is_bypassed = should_bypass_proxies(routed.url or "", no_proxy=proxies.get("no_proxy"))
        timeout = _timeout(options.get("timeout"), attempt.connect_timeout_s)
        return {**options, "proxies": {} if is_bypassed else proxies, "timeout": timeout, "cert": None}


class _Raw:
    """An answer's body as urllib3 has it, telling a record what is read from it."""

    def __init__(self, raw: Any, record: DirectRecord) -> None:
        self._raw = raw
        self._record = record

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)

    def __iter__(self) -> Iterator[bytes]:
        return self.stream()

    def stream(self, amt: int | None = 2**16, decode_content: bool | None = None) -> Iterator[bytes]:
        """As urllib3's."""
        for piece in self._raw.stream(amt, decode_content=decode_content):
            self._record.feed(piece)
            yield piece
        self._record.finish(is_decoded=decode_content is not False)

    def read(self, amt: int | None = None, *arguments: Any, **options: Any) -> bytes:
        """As urllib3's."""
        piece: bytes = self._raw.read(amt, *arguments, **options)
        self._record.feed(piece)
        if not piece or amt is None:
            self._record.finish(is_decoded=options.get("decode_content") is not False)
        return piece

    def close(self) -> None:
        """As urllib3's."""
        self._raw.close()
        self._record.finish(is_whole=False, is_decoded=True)

    def release_conn(self) -> None:
        """As urllib3's; requests calls it when a response is closed, read or not."""
        self._raw.release_conn()
        self._record.finish(is_whole=False, is_decoded=True)


def _timeout(given: Any, bound_s: float) -> Any:
    if isinstance(given, Timeout):
        connect, read = given.connect_timeout, given.read_timeout
        known = connect if isinstance(connect, int | float) else None
        return Timeout(total=given.total, connect=bound_s if known is None else min(known, bound_s), read=read)
    connect, read = given if isinstance(given, tuple) else (given, given)
    return (bound_s if connect is None else min(connect, bound_s), read)


def _raw(headers: Mapping[str, Any]) -> Iterator[tuple[bytes, bytes]]:
    for name, value in headers.items():
        yield _bytes(name), _bytes(value)


def _bytes(text: Any) -> bytes:
    return text if isinstance(text, bytes) else str(text).encode("utf-8", "surrogateescape")


def _routed(request: requests.PreparedRequest, attempt: Attempt) -> requests.PreparedRequest:
    routed = request.copy()
    routed.url = attempt.outgoing.url
    for name in [name for name in routed.headers if name.lower().startswith(PREFIX)]:
        del routed.headers[name]
    for name, value in attempt.outgoing.set_headers:
        routed.headers[name] = value.encode()  # bytes go out as they are, text as Latin-1
    return routed


def _is_unsent(error: requests.RequestException) -> bool:
    """Whether no connection was made, so that nothing of the request can have left."""
    if isinstance(error, requests.ConnectTimeout | requests.exceptions.ProxyError):
        return True
    below: Any = error.args[0] if error.args else None
    reason: Any = getattr(below, "reason", None)
    cause = reason.args[0] if isinstance(reason, Exception) and reason.args else getattr(below, "__cause__", None)
    return isinstance(reason, NewConnectionError) or _is_of_a_handshake(cause)


def _is_of_a_handshake(error: object) -> bool:
    if isinstance(error, ssl.SSLError):
        return error.reason in _HANDSHAKE
    return isinstance(error, TimeoutError) and "handshake" in str(error)


def _is_repeatable(request: requests.PreparedRequest) -> bool:
    return request.body is None or isinstance(request.body, str | bytes) or isinstance(request._body_position, int)
