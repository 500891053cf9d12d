"""The shell around aiohttp: what is sent through a `ClientSession` may be routed.

google-genai's and LiteLLM's asynchronous calls end here. `ClientSession._request` is the one place that sees sessions
made before the patch; the last it does is read the answer's head.
"""

from __future__ import annotations

import contextlib
from typing import Any

from heliconnect.callcontext import current, note_request
from heliconnect.errors import MissingExtraError
from heliconnect.failover import Verdict, judge
from heliconnect.outgoing import Outgoing, prepare
from heliconnect.protocol import PREFIX, UNSENT
from heliconnect.settings import Settings
from heliconnect.wire.sending import end_run
from heliconnect.wire.switch import switch

try:
    import aiohttp
    from multidict import CIMultiDict
    from yarl import URL
except ImportError as exc:
    raise MissingExtraError("heliconnect.wire.aiohttp", "aiohttp") from exc

__all__ = ["is_client", "patch"]

_BODILESS = frozenset({"GET", "HEAD", "OPTIONS"})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
Options = dict[str, Any]


def is_client(value: Any) -> bool:
    """Whether `value` is one of aiohttp's sessions."""
    return isinstance(value, aiohttp.ClientSession)


def patch() -> None:
    """Wrap aiohttp's sessions, those that exist already too. Does nothing the second time."""
    original = aiohttp.ClientSession._request
    if getattr(original, "_heliconnect", False):
        return

    async def _request(self: aiohttp.ClientSession, method: str, str_or_url: Any, **options: Any) -> Any:
        planned = _plan(self, method, str_or_url, options)
        if planned is None:
            return await original(self, method, str_or_url, **options)
        outgoing, settings, url = planned
        if not switch.breaker.allows(outgoing.gateway, settings.cooldown_ms):
            return await original(self, method, str_or_url, **_direct(options))
        note_request(outgoing.request_id)
        try:
            response = await original(
                self, method, URL(outgoing.url, encoded=True), **_routed(self, options, outgoing, settings)
            )
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            if not settings.failover:
                raise
            switch.breaker.failed(outgoing.gateway, type(error).__name__, settings.cooldown_ms)
            return await original(self, method, str_or_url, **_direct(options))
        except BaseException as error:
            if not isinstance(error, Exception):
                end_run()
            raise
        if _must_go_direct(response, options, outgoing, settings):
            response.release()
            return await original(self, method, str_or_url, **_direct(options))
        _give_back(response, url, method, options)
        location = response.headers.get("Location")
        follows = options.get("allow_redirects", True) and method.upper() in _BODILESS
        if follows and response.status in _REDIRECTS and location is not None:
            response.release()
            return await self._request(method, url.join(URL(location)), **options)
        return response

    _request._heliconnect = True  # type: ignore[attr-defined]  # marks the wrapper
    aiohttp.ClientSession._request = _request  # type: ignore[method-assign]  # the wrapper takes what the original takes


def _plan(session: Any, method: str, str_or_url: Any, options: Options) -> tuple[Outgoing, Settings, URL] | None:
    try:
        raw = _raw_headers(session, options)
        settings = switch.settings_for(session, raw)
        if settings is None:
            return None
        url: URL = session._build_url(str_or_url)
        outgoing = prepare(method, str(url), raw, current(), settings)
    except Exception as error:  # noqa: BLE001 - no mistake of ours may fail the call
        switch.report(error)
        return None
    return None if outgoing is None else (outgoing, settings, url)


def _raw_headers(session: Any, options: Options) -> list[tuple[bytes, bytes]]:
    """The headers a request would carry, its own behind the session's: the last of a name counts."""
    pairs = [*session.headers.items(), *_items(options.get("headers"))]
    return [(str(name).encode(), str(value).encode("utf-8", "surrogateescape")) for name, value in pairs]


def _items(headers: Any) -> Any:
    if headers is None:
        return ()
    return headers.items() if hasattr(headers, "items") else headers


def _routed(session: Any, options: Options, outgoing: Outgoing, settings: Settings) -> Options:
    headers: CIMultiDict[str] = CIMultiDict(_items(options.get("headers")))
    for name in [name for name in headers if name.lower().startswith(PREFIX) or name.lower() == "host"]:
        headers.popall(name, None)
    for name, value in outgoing.set_headers:
        if name != "Host":  # aiohttp derives it from the URL
            headers[name] = value
    timeout = options.get("timeout")
    given = timeout if isinstance(timeout, aiohttp.ClientTimeout) else session.timeout
    bound = settings.connect_timeout_ms / 1000
    connect = bound if given.sock_connect is None else min(given.sock_connect, bound)
    bounded = aiohttp.ClientTimeout(
        total=given.total, connect=given.connect, sock_read=given.sock_read, sock_connect=connect
    )
    return {**options, "headers": headers, "allow_redirects": False, "timeout": bounded, "server_hostname": None}


def _direct(options: Options) -> Options:
    headers: CIMultiDict[str] = CIMultiDict(_items(options.get("headers")))
    for name in [name for name in headers if name.lower().startswith(PREFIX)]:
        headers.popall(name, None)
    return {**options, "headers": headers}


def _must_go_direct(response: Any, options: Options, outgoing: Outgoing, settings: Settings) -> bool:
    names = {name.lower() for name in response.headers}
    verdict = judge(settings.gateway, names, response.headers.get(UNSENT))
    if verdict is Verdict.FOREIGN:
        switch.breaker.failed(outgoing.gateway, "what answers there is no gateway", settings.cooldown_ms)
    else:
        switch.breaker.answered(outgoing.gateway)
    data = options.get("data")
    is_repeatable = data is None or isinstance(data, str | bytes | bytearray | dict)
    return verdict is not Verdict.PASSED_ON and settings.failover and is_repeatable


def _give_back(response: Any, url: URL, method: str, options: Options) -> None:
    """Let the response, and the errors made from it, name the provider's URL and hold no header of ours."""
    with contextlib.suppress(AttributeError, TypeError):
        headers = CIMultiDict(_items(options.get("headers")))
        response._request_info = aiohttp.RequestInfo(url, method, headers, url)  # type: ignore[arg-type]  # not a proxy
        response._url = response._real_url = url
