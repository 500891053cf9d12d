"""The sending of one request through httpx or httpx2, which share their shape: everything but the sending itself.

The thinking is one generator, `flow`; the wrappers of `Client.send` and `AsyncClient.send` only drive it, and differ by
`await` alone.
"""

from __future__ import annotations

from collections.abc import Generator, MutableMapping
from dataclasses import dataclass
from functools import partial, update_wrapper
from typing import Any, Protocol

from heliconnect.callcontext import active_run, current, note_request
from heliconnect.failover import Verdict, judge
from heliconnect.outgoing import Outgoing, direct_headers, prepare
from heliconnect.protocol import UNSENT
from heliconnect.settings import Settings
from heliconnect.wire.switch import switch

__all__ = ["HttpModule", "end_run", "wrap"]

_REDIRECTS = "heliconnect_redirects"
_MAX_REDIRECTS = 20


class HttpModule(Protocol):
    """What httpx and httpx2 have in common, as far as it is used here."""

    Request: Any
    ByteStream: Any
    Client: Any
    AsyncClient: Any
    ConnectError: type[Exception]
    ConnectTimeout: type[Exception]
    ProxyError: type[Exception]
    RequestError: type[Exception]


class Plan:
    """How one request is sent: `routed` to the gateway, or `direct` to its provider if that cannot be done.

    original is the request the caller made; responses and errors are given back with it.
    """

    def __init__(self, module: HttpModule, request: Any, outgoing: Outgoing, settings: Settings) -> None:
        self.module = module
        self._outgoing = outgoing
        self._settings = settings
        self.original = request
        self.routed = _copy(
            module, request, outgoing.url, outgoing.apply(request.headers.raw), _bounded(request, settings)
        )

    @property
    def is_open(self) -> bool:
        """Whether the gateway may be tried now."""
        return switch.breaker.allows(self._outgoing.gateway, self._settings.cooldown_ms)

    def begin(self) -> None:
        """The request is about to leave for the gateway."""
        note_request(self._outgoing.request_id)

    def direct(self) -> Any:
        """The request as it goes straight to its provider: nothing of Helicone in it."""
        raw = direct_headers(self.original.headers.raw)
        return _copy(self.module, self.original, self.original.url, raw, dict(self.original.extensions))

    def may_go_direct(self, error: Exception) -> bool:
        """No connection was made, so nothing was sent: note that, and say whether to go direct."""
        error.request = self.original  # type: ignore[attr-defined]  # both libraries' RequestError has it
        if not self._settings.failover:
            return False
        switch.breaker.failed(self._outgoing.gateway, type(error).__name__, self._settings.cooldown_ms)
        return True

    def must_go_direct(self, response: Any) -> bool:
        """Whether this answer means that the request has to be sent again, straight to its provider."""
        headers = response.headers
        verdict = judge(self._settings.gateway, headers.keys(), headers.get(UNSENT))
        gateway = self._outgoing.gateway
        if verdict is Verdict.FOREIGN:
            switch.breaker.failed(gateway, "what answers there is no gateway", self._settings.cooldown_ms)
        else:
            switch.breaker.answered(gateway)
        is_repeatable = isinstance(self.original.stream, self.module.ByteStream)
        return verdict is not Verdict.PASSED_ON and self._settings.failover and is_repeatable

    def give_back(self, response: Any) -> Any:
        """The response as the caller expects it: an answer to the request it made."""
        response.request = self.original
        return response

    def redirected(self, client: Any, response: Any, follow: object) -> Any | None:
        """The request that follows a redirect, if the caller's client would follow it; it is routed anew."""
        wants = follow if isinstance(follow, bool) else client.follow_redirects
        build = getattr(client, "_build_redirect_request", None)
        if not wants or build is None or not response.has_redirect_location:
            return None
        count = int(self.original.extensions.get(_REDIRECTS, 0)) + 1
        if count > _MAX_REDIRECTS:
            return None
        request = build(self.original, response)
        if request.url.host != self.original.url.host:
            for name in [name for name in request.headers if name.startswith("helicone-")]:
                del request.headers[name]
        request.extensions = {**request.extensions, _REDIRECTS: count}
        return request


def _copy(module: HttpModule, request: Any, url: Any, raw: Any, extensions: MutableMapping[str, Any]) -> Any:
    copied = module.Request(request.method, url, headers=raw, stream=request.stream, extensions=extensions)
    if hasattr(request, "_content"):
        copied._content = request._content
    return copied


def _bounded(request: Any, settings: Settings) -> dict[str, Any]:
    """The request's extensions, with a connect timeout that a dead gateway cannot stretch."""
    extensions = {name: value for name, value in request.extensions.items() if name != "sni_hostname"}
    timeout = dict(extensions.get("timeout") or {})
    bound = settings.connect_timeout_ms / 1000
    known = timeout.get("connect")
    timeout["connect"] = bound if known is None else min(known, bound)
    extensions["timeout"] = timeout
    return extensions


def plan(module: HttpModule, client: Any, request: Any) -> Plan | None:
    """How `request` is sent; None when it is left alone. Never raises."""
    try:
        raw = request.headers.raw
        settings = switch.settings_for(client, raw)
        if settings is None:
            return None
        outgoing = prepare(request.method, str(request.url), raw, current(), settings)
        return None if outgoing is None else Plan(module, request, outgoing, settings)
    except Exception as error:  # noqa: BLE001 - no mistake of ours may fail the call
        switch.report(error)
        return None


def end_run() -> None:
    """The call was cancelled: no callback will tell, so its framework run ends here."""
    run = active_run()
    if run is not None:
        run.active = False


@dataclass(frozen=True, slots=True)
class Step:
    """What to do next: close an answer that is not used, then send a request; `is_new` for one to be planned anew."""

    request: Any
    options: dict[str, Any]
    close: Any = None
    is_new: bool = False


Flow = Generator[Step, Any, Any]


def flow(planned: Plan, client: Any, options: dict[str, Any]) -> Flow:
    """The sending as a dialogue: yields what to send, is sent its response or thrown its error, returns the result."""
    module = planned.module
    if not planned.is_open:
        return planned.give_back((yield Step(planned.direct(), options)))
    planned.begin()
    try:
        response = yield Step(planned.routed, {**options, "follow_redirects": False})
    except (module.ConnectError, module.ConnectTimeout, module.ProxyError) as error:
        if not planned.may_go_direct(error):
            raise
        return planned.give_back((yield Step(planned.direct(), options)))
    except module.RequestError as error:
        error.request = planned.original  # type: ignore[attr-defined]  # both libraries' RequestError has it
        raise
    except BaseException as error:
        if not isinstance(error, Exception):
            end_run()
        raise
    if planned.must_go_direct(response):
        return planned.give_back((yield Step(planned.direct(), options, close=response)))
    planned.give_back(response)
    following = planned.redirected(client, response, options.get("follow_redirects"))
    if following is None:
        return response
    return (yield Step(following, options, close=response, is_new=True))


class _Done(Exception):  # noqa: N818 - carries a result
    def __init__(self, result: Any) -> None:
        super().__init__()
        self.result = result


def _next(steps: Flow, response: Any, error: BaseException | None) -> Step:
    """The step after this one. Raises _Done with the result, or what the caller is to see."""
    try:
        return steps.throw(error) if error is not None else steps.send(response)
    except StopIteration as done:
        raise _Done(done.value) from None


def _send(original: Any, module: HttpModule) -> Any:
    def send(self: Any, request: Any, **options: Any) -> Any:
        planned = plan(module, self, request)
        if planned is None:
            return original(self, request, **options)
        steps = flow(planned, self, options)
        response: Any = None
        error: BaseException | None = None
        while True:
            try:
                step = _next(steps, response, error)
            except _Done as done:
                return done.result
            if step.close is not None:
                step.close.close()
            try:
                send_it = self.send if step.is_new else partial(original, self)
                response, error = send_it(step.request, **step.options), None
            except BaseException as raised:  # noqa: BLE001 - handed to the flow, which raises it again
                error = raised

    return send


def _send_async(original: Any, module: HttpModule) -> Any:
    async def send(self: Any, request: Any, **options: Any) -> Any:
        planned = plan(module, self, request)
        if planned is None:
            return await original(self, request, **options)
        steps = flow(planned, self, options)
        response: Any = None
        error: BaseException | None = None
        while True:
            try:
                step = _next(steps, response, error)
            except _Done as done:
                return done.result
            if step.close is not None:
                await step.close.aclose()
            try:
                send_it = self.send if step.is_new else partial(original, self)
                response, error = await send_it(step.request, **step.options), None
            except BaseException as raised:  # noqa: BLE001 - handed to the flow, which raises it again
                error = raised

    return send


def wrap(module: HttpModule) -> None:
    """Wrap `Client.send` and `AsyncClient.send` of httpx or httpx2, once."""
    for cls, twin in ((module.Client, _send), (module.AsyncClient, _send_async)):
        if not getattr(cls.send, "_heliconnect", False):
            wrapper: Any = update_wrapper(twin(cls.send, module), cls.send)
            wrapper._heliconnect = True
            cls.send = wrapper
