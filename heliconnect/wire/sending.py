"""The sending of one request through httpx or httpx2, which share their shape: everything but the sending itself.

The thinking is one generator, `flow`; the wrappers of `Client.send` and `AsyncClient.send` only drive it, and differ by
`await` alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, MutableMapping
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache, partial, update_wrapper
from typing import Any, Protocol

from heliconnect import wrapping
from heliconnect.outgoing import direct_headers
from heliconnect.protocol import PREFIX
from heliconnect.wire.attempt import Attempt, end_run, leaving, plan
from heliconnect.wire.direct import DirectRecord, begin
from heliconnect.wire.switch import switch
from heliconnect.wire.tee import async_tee, tee

__all__ = ["HttpModule", "points", "unwrap", "wrap", "wrap_client"]

_REDIRECTS = "heliconnect_redirects"


class HttpModule(Protocol):
    """What httpx and httpx2 have in common, as far as it is used here."""

    Headers: Any
    Request: Any
    URL: Any
    ByteStream: Any
    SyncByteStream: Any
    AsyncByteStream: Any
    Client: Any
    AsyncClient: Any
    ConnectError: type[Exception]
    ConnectTimeout: type[Exception]
    ProxyError: type[Exception]
    RequestError: type[Exception]
    TooManyRedirects: Any


class Plan:
    """How one request is sent: `routed` to the gateway, or `direct` to its provider if that cannot be done.

    original is the request the caller made; responses and errors are given back with it.
    """

    def __init__(self, module: HttpModule, client: Any, request: Any, attempt: Attempt) -> None:
        self._module = module
        self._client = client
        self.attempt = attempt
        self.original = request

    @cached_property
    def routed(self) -> Any:
        """The request as it goes to the gateway."""
        request, attempt = self.original, self.attempt
        extensions = _bounded(request, attempt.connect_timeout_s)
        raw = attempt.outgoing.apply(request.headers.raw)
        return _copy(self._module, request, attempt.outgoing.url, raw, extensions)

    @cached_property
    def direct(self) -> Any:
        """The request as it goes straight to its provider: nothing of Helicone in it."""
        request = self.original
        raw = direct_headers(request.headers.raw, self.attempt.direct_prefix)
        return _copy(self._module, request, request.url, raw, dict(request.extensions))

    @property
    def is_repeatable(self) -> bool:
        """Whether the body can be sent once more."""
        return isinstance(self.original.stream, self._module.ByteStream)

    def give_back(self, response: Any) -> Any:
        """The response as the caller expects it: an answer to the request it made, and to nothing of ours."""
        asked = response.request
        if self._is_ours(asked):
            response.request = self.original
        if asked is self.__dict__.get("routed") and response.next_request is not None:
            response.next_request = self._following(response)
        return response

    def keep(self, record: DirectRecord, response: Any) -> None:
        """Record an answer: at once if it was read, else as it passes."""
        record.answered(response.status_code, response.headers.multi_items())
        if hasattr(response, "_content"):
            record.feed(response.content)
            record.finish(is_decoded=True)
        elif isinstance(response.stream, self._module.SyncByteStream):
            response.stream = tee(self._module.SyncByteStream)(response.stream, record)
        else:
            response.stream = async_tee(self._module.AsyncByteStream)(response.stream, record)

    def cleanse(self, error: Exception) -> None:
        """Let an error name the request that the caller made."""
        with contextlib.suppress(Exception):
            if self._is_ours(getattr(error, "_request", None)):
                error.request = self.original  # type: ignore[attr-defined]  # both libraries' errors have it
            response = getattr(error, "response", None)
            if response is not None:
                self.give_back(response)

    def _is_ours(self, request: Any) -> bool:
        made = (self.__dict__.get("routed"), self.__dict__.get("direct"))
        return request is not None and any(request is one for one in made)

    def redirected(self, response: Any, follow: object) -> Any | None:
        """The request that follows a redirect, if the caller's client would follow it; it is routed anew.

        Raises the library's TooManyRedirects as the client does.
        """
        wants = follow if isinstance(follow, bool) else self._client.follow_redirects
        request = response.next_request
        if not wants or request is None:
            return None
        count = int(self.original.extensions.get(_REDIRECTS, 0)) + 1
        if count > self._client.max_redirects:
            raise self._module.TooManyRedirects("Exceeded maximum allowed redirects.", request=self.original)
        request.extensions = {**request.extensions, _REDIRECTS: count}
        return request

    def _following(self, response: Any) -> Any | None:
        try:
            request = self._client._build_redirect_request(self.original, response)
        except Exception as error:  # noqa: BLE001 - a redirect that cannot be understood is given back as it is
            switch.report(error)
            return None
        if request.url.host != self.original.url.host:
            for name in [name for name in request.headers if name.startswith(PREFIX)]:
                del request.headers[name]
        return request


def _copy(module: HttpModule, request: Any, url: Any, raw: Any, extensions: MutableMapping[str, Any]) -> Any:
    """The request as it was made, its body included, but for these: a constructor would take the body apart again."""
    copied = object.__new__(module.Request)
    copied.__dict__.update(request.__dict__)
    hashable: Any = module
    copied.url = _parsed(hashable, url) if isinstance(url, str) else url
    copied.headers = module.Headers(raw)
    copied.extensions = extensions
    return copied


@lru_cache(maxsize=256)
def _parsed(module: Any, url: str) -> Any:
    return module.URL(url)


def _bounded(request: Any, bound_s: float) -> dict[str, Any]:
    """The request's extensions, with a connect timeout that a dead gateway cannot stretch."""
    extensions = {name: value for name, value in request.extensions.items() if name != "sni_hostname"}
    timeout = dict(extensions.get("timeout") or {})
    known = timeout.get("connect")
    timeout["connect"] = bound_s if known is None else min(known, bound_s)
    extensions["timeout"] = timeout
    return extensions


def planned(module: HttpModule, client: Any, request: Any) -> Plan | None:
    """How `request` is sent; None when it is left alone. Never raises."""
    try:
        if not switch.may_route(client):
            return None
        attempt = plan(
            client, request.method, str(request.url), request.headers.raw, getattr(request, "_content", None)
        )
        if attempt is None:
            return None
        if attempt.is_on_this_machine:
            _bypass_proxy(module, client, attempt.outgoing.gateway)
        return Plan(module, client, request, attempt)
    except Exception as error:  # noqa: BLE001 - no mistake of ours may fail the call
        switch.report(error)
        return None


def _bypass_proxy(module: HttpModule, client: Any, gateway: str) -> None:
    """Let the client reach this origin without the proxy it has for it, if it has one: what NO_PROXY does."""
    if not client._mounts:
        return
    transport = client._transport_for_url(module.URL(gateway))
    if type(getattr(transport, "_pool", None)).__name__.endswith("Proxy"):
        pattern = type(next(iter(client._mounts)))
        client._mounts = {pattern(gateway): None, **client._mounts}


@dataclass(frozen=True, slots=True)
class Step:
    """What to do next: close an answer that is not used, then send a request.

    is_new is one to be planned anew; others were, and leave.
    """

    request: Any
    options: dict[str, Any]
    close: Any = None
    is_new: bool = False


Flow = Generator[Step, Any, Any]


def flow(how: Plan, options: dict[str, Any], module: HttpModule) -> Flow:
    """The sending as a dialogue: yields what to send, is sent its response or thrown its error, returns the result."""
    try:
        return (yield from _flow(how, options, module))
    except Exception as error:
        how.cleanse(error)
        raise
    except GeneratorExit:
        raise
    except BaseException:
        end_run()
        raise


def _flow(how: Plan, options: dict[str, Any], module: HttpModule) -> Flow:
    if not how.attempt.may_begin():
        return (yield from _direct(how, options))
    try:
        response = yield Step(how.routed, {**options, "follow_redirects": False})
    except (module.ConnectError, module.ConnectTimeout, module.ProxyError) as error:
        if not how.attempt.may_go_direct(error):
            raise
        return (yield from _direct(how, options))
    if how.attempt.must_go_direct(response.status_code, response.headers, is_repeatable=how.is_repeatable):
        return (yield from _direct(how, options, close=response))
    how.give_back(response)
    following = how.redirected(response, options.get("follow_redirects"))
    if following is None:
        return response
    final = yield Step(following, options, close=response, is_new=True)
    final.history.insert(0, response)
    return final


def _direct(how: Plan, options: dict[str, Any], close: Any = None) -> Flow:
    """The call goes straight to its provider; what passes is recorded."""
    request = how.original
    kind = request.headers.get("content-type", "")
    record = begin(how.attempt, str(request.url), getattr(request, "_content", None), kind)
    try:
        response = yield Step(how.direct, options, close=close)
    except BaseException:
        if record is not None:
            record.failed()
        raise
    if record is not None:
        try:
            how.keep(record, response)
        except Exception as error:  # noqa: BLE001 - a record may fail, its call may not
            switch.report_record(error)
    return how.give_back(response)


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


def _leaving(step: Step) -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext() if step.is_new else leaving(str(step.request.url))


def _send(original: Any, module: HttpModule) -> Any:
    def send(self: Any, request: Any, **options: Any) -> Any:
        how = planned(module, self, request)
        if how is None:
            return original(self, request, **options)
        steps = flow(how, options, module)
        response: Any = None
        error: BaseException | None = None
        while True:
            try:
                step = _next(steps, response, error)
            except _Done as done:
                return done.result
            except module.TooManyRedirects:
                response.close()
                raise
            if step.close is not None:
                step.close.close()
            try:
                send_it = self.send if step.is_new else partial(original, self)
                with _leaving(step):
                    response, error = send_it(step.request, **step.options), None
            except BaseException as raised:  # noqa: BLE001 - handed to the flow, which raises it again
                error = raised

    return send


def _send_async(original: Any, module: HttpModule) -> Any:
    async def send(self: Any, request: Any, **options: Any) -> Any:
        how = planned(module, self, request)
        if how is None:
            return await original(self, request, **options)
        steps = flow(how, options, module)
        response: Any = None
        error: BaseException | None = None
        while True:
            try:
                step = _next(steps, response, error)
            except _Done as done:
                return done.result
            except module.TooManyRedirects:
                await response.aclose()
                raise
            if step.close is not None:
                await step.close.aclose()
            try:
                send_it = self.send if step.is_new else partial(original, self)
                with _leaving(step):
                    response, error = await send_it(step.request, **step.options), None
            except BaseException as raised:  # noqa: BLE001 - handed to the flow, which raises it again
                error = raised

    return send


def _twins(module: HttpModule) -> tuple[tuple[Any, Any], ...]:
    return ((module.Client, _send), (module.AsyncClient, _send_async))


def wrap(module: HttpModule) -> None:
    """Wrap `Client.send` and `AsyncClient.send` of httpx or httpx2, once."""
    for cls, twin in _twins(module):
        wrapping.wrap(cls, "send", partial(twin, module=module))


def unwrap(module: HttpModule) -> None:
    """Undo `wrap`, unless another tool has wrapped `send` since."""
    for cls, name in points(module):
        wrapping.unwrap(cls, name)


def points(module: HttpModule) -> tuple[wrapping.Point, ...]:
    """What `wrap` wraps."""
    return ((module.Client, "send"), (module.AsyncClient, "send"))


def wrap_client(client: Any, module: HttpModule) -> None:
    """Wrap the `send` of this client alone: its class becomes a subclass of what it was, of the same name.

    The wrapper comes right before the library's own `send`, behind one of a class of the user's.
    """
    cls: Any = type(client)
    if not hasattr(cls, "_heliconnect_base"):
        library: Any
        library, twin = _twins(module)[issubclass(cls, module.AsyncClient)]
        hashable: Any = module
        client.__class__ = _wrapped(cls, _base(hashable, library, twin))


@cache
def _base(module: Any, library: Any, twin: Any) -> Any:
    base: Any = type(library.__name__, (library,), {"_heliconnect_base": library})

    def original(self: Any, request: Any, **options: Any) -> Any:
        return super(base, self).send(request, **options)

    base.send = update_wrapper(twin(original, module), library.send)
    return base


@cache
def _wrapped(cls: Any, base: Any) -> Any:
    bases = (base,) if cls in base.__mro__ else (cls, base)
    return type(cls.__name__, bases, {"__module__": cls.__module__, "__qualname__": cls.__qualname__})
