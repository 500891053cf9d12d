"""The shell around aiohttp: what is sent through a `ClientSession` may be routed.

google-genai's and LiteLLM's asynchronous calls end here. The work is done by a client middleware, the one next to the
connection: there a request is built, nothing of it is sent, and redirects, retries and the checking of the answer's
status all happen above, with the provider's URL. `ClientSession._request` is wrapped only to put it in its place.
"""

from __future__ import annotations

import contextlib
import weakref
from typing import Any

from heliconnect.errors import MissingExtraError
from heliconnect.protocol import PREFIX
from heliconnect.wire.attempt import Attempt, end_run, leaving, plan
from heliconnect.wire.direct import DirectRecord, begin
from heliconnect.wire.switch import switch
from heliconnect.wrapping import Point, unwrap, wrap

try:
    import aiohttp
    from aiohttp.helpers import get_env_proxy_for_url
    from multidict import CIMultiDict
    from yarl import URL
except ImportError as exc:
    raise MissingExtraError("heliconnect.wire.aiohttp", "aiohttp") from exc

__all__ = ["is_client", "patch", "patch_client", "points", "unpatch"]

if not hasattr(aiohttp, "ClientMiddlewareType"):  # since 3.12
    raise MissingExtraError("heliconnect.wire.aiohttp", "aiohttp")

_NOT_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.ClientHttpProxyError)


def is_client(value: Any) -> bool:
    """Whether `value` is one of aiohttp's sessions."""
    return isinstance(value, aiohttp.ClientSession)


def patch() -> None:
    """Wrap all of aiohttp's sessions, those that exist already too. Does nothing the second time."""
    for cls, name in points():
        wrap(cls, name, _wrapped_request)


def points() -> tuple[Point, ...]:
    """What `patch` wraps."""
    return ((aiohttp.ClientSession, "_request"),)


def _wrapped_request(original: Any) -> Any:
    async def _request(self: aiohttp.ClientSession, method: str, str_or_url: Any, **options: Any) -> Any:
        return await original(self, method, str_or_url, **_with_routing(self, options))

    return _request


def unpatch() -> None:
    """Undo `patch`, unless another tool has wrapped the sessions since."""
    for cls, name in points():
        unwrap(cls, name)


def patch_client(session: Any) -> None:
    """Wrap this session alone."""
    if "_request" in session.__dict__:
        return
    itself: Any = weakref.ref(session)

    def _request(method: str, str_or_url: Any, **options: Any) -> Any:
        session: Any = itself()
        original: Any = type(session)._request
        return original(session, method, str_or_url, **_with_routing(session, options))

    object.__setattr__(session, "_request", _request)  # aiohttp's own __setattr__ warns of attributes it does not know


def _with_routing(session: Any, options: dict[str, Any]) -> dict[str, Any]:
    """What `_request` is called with: the routing behind the session's or the call's own middlewares."""
    try:
        given = options.get("middlewares")
        middlewares = session._middlewares if given is None else given
        if not switch.may_route(session) or any(isinstance(one, _Routing) for one in middlewares):
            return options
        timeout = _own_timeout(session, options)
        has_proxy = options.get("proxy") is not None or getattr(session, "_default_proxy", None) is not None
        routing = _Routing(session, timeout, has_proxy=has_proxy)
    except Exception as error:  # noqa: BLE001 - no mistake of ours may fail the call
        switch.report(error)
        return options
    return {**options, "middlewares": (*middlewares, routing), "timeout": timeout}


def _own_timeout(session: Any, options: dict[str, Any]) -> aiohttp.ClientTimeout:
    """The call's timeout as an object of its own."""
    given = options.get("timeout", session.timeout)
    if not isinstance(given, aiohttp.ClientTimeout):
        is_seconds = given is None or isinstance(given, int | float)
        given = aiohttp.ClientTimeout(total=given) if is_seconds else session.timeout  # aiohttp's mark for: not given
    return aiohttp.ClientTimeout(
        total=given.total,
        connect=given.connect,
        sock_read=given.sock_read,
        sock_connect=given.sock_connect,
        ceil_threshold=given.ceil_threshold,
    )


class _Routing:
    """A client middleware for one call: sends each of its requests to the gateway, or straight to its provider."""

    def __init__(self, session: Any, timeout: aiohttp.ClientTimeout, *, has_proxy: bool) -> None:
        self._session = session
        self._timeout = timeout
        self._has_proxy = has_proxy

    async def __call__(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        attempt = self._planned(request)
        if attempt is None:
            return await handler(request)
        try:
            if not attempt.may_begin():
                return await _direct(attempt, request, handler)
            began = request.loop.time()
            try:
                response = await self._routed(attempt, request, handler)
            except _NOT_SENT as error:
                waited = self._timeout.connect is not None and request.loop.time() - began >= self._timeout.connect
                if waited or not attempt.may_go_direct(error):  # who waited for the pool waited long enough
                    raise
                return await _direct(attempt, request, handler)
            if attempt.must_go_direct(response.status, response.headers, is_repeatable=_is_repeatable(request)):
                response.close()
                await request.close()
                return await _direct(attempt, request, handler)
        except BaseException as error:
            if not isinstance(error, Exception):
                end_run()
            raise
        return response

    def _planned(self, request: aiohttp.ClientRequest) -> Attempt | None:
        if isinstance(request.ssl, aiohttp.Fingerprint):
            return None  # the provider's certificate is pinned: nobody else is to see this
        raw = [(name.encode(), value.encode("utf-8", "surrogateescape")) for name, value in request.headers.items()]
        body = getattr(request.body, "_value", None)
        return plan(self._session, request.method, str(request.url), raw, body)

    async def _routed(
        self, attempt: Attempt, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Send to the gateway; afterwards the request, the response and its errors are the provider's again."""
        before = (request.url, request.headers, request.server_hostname, request.proxy, request.proxy_auth)
        connect = self._timeout.sock_connect
        bound = attempt.connect_timeout_s
        try:
            request.url = URL(attempt.outgoing.url, encoded=True)
            request.headers = _routed_headers(request.headers, attempt)
            request.server_hostname = None
            if attempt.is_on_this_machine:
                request.proxy = request.proxy_auth = None
            elif self._session.trust_env and not self._has_proxy:
                request.proxy, request.proxy_auth = _env_proxy(request.url)
            self._bound_connect(bound if connect is None else min(bound, connect))
            with leaving(attempt.outgoing.url):
                response = await handler(request)
        except aiohttp.ClientResponseError as error:
            request.url, request.headers = before[:2]
            error.request_info = request.request_info
            raise
        finally:
            request.url, request.headers, request.server_hostname, request.proxy, request.proxy_auth = before
            self._bound_connect(connect)
        with contextlib.suppress(AttributeError):
            response._request_info = request.request_info
        return response

    def _bound_connect(self, seconds: float | None) -> None:
        object.__setattr__(self._timeout, "sock_connect", seconds)  # frozen, but this one is ours alone


async def _direct(
    attempt: Attempt, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    for name in [name for name in request.headers if name.lower().startswith(attempt.direct_prefix)]:
        request.headers.popall(name, None)
    url = str(request.url)
    kind = request.headers.get("Content-Type", "")
    record = begin(attempt, url, getattr(request.body, "_value", None), kind)
    try:
        with leaving(url):
            response = await handler(request)
    except BaseException:
        if record is not None:
            record.failed()
        raise
    if record is not None:
        try:
            _keep(record, response)
        except Exception as error:  # noqa: BLE001 - a record may fail, its call may not
            switch.report_record(error)
    return response


class _Recorded(aiohttp.StreamReader):
    """A reader of an answer's body that tells a record what arrives. It is made of one that exists: by its class."""

    __slots__ = ()

    def feed_data(self, data: bytes, *arguments: Any) -> Any:
        record = _records.get(id(self))
        if record is not None:
            record.feed(data)
        return super().feed_data(data, *arguments)

    def feed_eof(self) -> None:
        super().feed_eof()
        _finish(self, is_whole=True)

    def set_exception(self, *arguments: Any, **options: Any) -> None:
        super().set_exception(*arguments, **options)
        _finish(self, is_whole=False)


_records: dict[int, DirectRecord] = {}


def _finish(reader: Any, *, is_whole: bool) -> None:
    record = _records.pop(id(reader), None)
    if record is not None:
        record.finish(is_whole=is_whole, is_decoded=True)


def _keep(record: DirectRecord, response: aiohttp.ClientResponse) -> None:
    """Record an answer as it arrives; what has arrived with its head is in the reader's buffer already."""
    record.answered(response.status, response.headers.items())
    reader: Any = response.content
    if type(reader) is not aiohttp.StreamReader:
        record.finish(is_decoded=True)
        return
    for piece in tuple(reader._buffer):
        record.feed(piece)
    if reader.is_eof():
        record.finish(is_decoded=True)
        return
    _records[id(reader)] = record
    weakref.finalize(response, _drop, id(reader), record).atexit = False
    reader.__class__ = _Recorded


def _drop(key: int, record: DirectRecord) -> None:
    """The response is gone without an end: nobody reads it any more."""
    if _records.get(key) is record:
        del _records[key]
        record.finish(is_whole=False, is_decoded=True)


def _routed_headers(headers: CIMultiDict[str], attempt: Attempt) -> CIMultiDict[str]:
    routed = CIMultiDict(headers)
    for name in [name for name in routed if name.lower().startswith(PREFIX)]:
        routed.popall(name, None)
    for name, value in attempt.outgoing.set_headers:
        routed[name] = value
    return routed


def _env_proxy(url: URL) -> tuple[URL | None, Any]:
    try:
        return get_env_proxy_for_url(url)
    except LookupError:
        return None, None


def _is_repeatable(request: aiohttp.ClientRequest) -> bool:
    body = request.body
    return not body or isinstance(body, bytes | aiohttp.payload.BytesPayload) or not getattr(body, "consumed", True)
