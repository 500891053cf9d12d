"""The shell around lm15's transports, which DSPy sends with, from a copy of lm15 that it brings: they may be routed.

Both are classes with one way in, `stream(request)`; the asynchronous one gives what is awaited or entered for the
answer. Its redirects are answers like others, so nothing happens above that this shell would have to hide.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import AsyncIterator, Generator, Iterator
from dataclasses import dataclass, replace
from functools import cache, update_wrapper
from typing import Any
from urllib.request import getproxies

from heliconnect.protocol import PREFIX
from heliconnect.wire.attempt import Attempt, end_run, leaving, plan
from heliconnect.wire.direct import DirectRecord, begin
from heliconnect.wire.switch import switch
from heliconnect.wrapping import Point, unwrap, wrap

__all__ = ["is_client", "patch", "patch_client", "points", "unpatch"]

_MODULES = ("lm15.transports", "dspy._vendor.lm15.transports")


def is_client(value: Any) -> bool:
    """Whether `value` is one of lm15's transports."""
    return any(isinstance(value, cls) for cls, _ in _twins())


def patch() -> None:
    """Wrap lm15's transports, those that exist already too. Does nothing the second time."""
    for cls, twin in _twins():
        wrap(cls, "stream", twin)


def points() -> list[Point]:
    """What `patch` wraps."""
    return [(cls, "stream") for cls, _ in _twins()]


def unpatch() -> None:
    """Undo `patch`, unless another tool has wrapped the transports since."""
    for cls, name in points():
        unwrap(cls, name)


def patch_client(transport: Any) -> None:
    """Wrap this transport alone: its class becomes a subclass of what it was, of the same name."""
    if not hasattr(transport, "_heliconnect_base"):
        cls: Any = type(transport)
        transport.__class__ = _wrapped(cls)


@cache
def _wrapped(cls: Any) -> Any:
    twin = next(twin for base, twin in _twins() if issubclass(cls, base))
    names = {"stream": update_wrapper(twin(cls.stream), cls.stream), "_heliconnect_base": cls}
    return type(cls.__name__, (cls,), {**names, "__module__": cls.__module__, "__qualname__": cls.__qualname__})


def _twins() -> Iterator[tuple[Any, Any]]:
    for name in _MODULES:
        module = sys.modules.get(name)
        if module is not None:
            yield module.StdlibTransport, _stream
            yield module.StdlibAsyncTransport, _stream_async


@dataclass(frozen=True, slots=True)
class _Step:
    """What to send next, and by which transport; `close` is an answer that is not used."""

    request: Any
    transport: Any
    close: Any = None


_Flow = Generator[_Step, Any, Any]


def _flow(attempt: Attempt, transport: Any, request: Any) -> _Flow:
    """The sending as a dialogue: yields what to send, is sent its answer or thrown its error, returns the answer."""
    unused = None
    if attempt.may_begin():
        bound_s = min(request.connect_timeout or transport._connect_timeout, attempt.connect_timeout_s)
        headers = _routed_headers(request.headers, attempt)
        routed = replace(request, url=attempt.outgoing.url, headers=headers, connect_timeout=bound_s)
        try:
            response = yield _Step(routed, _unproxied(transport) if attempt.is_on_this_machine else transport)
        except Exception as error:
            if not _is_unsent(error) or not attempt.may_go_direct(error):
                raise
        else:
            told = {name.lower(): value for name, value in response.headers}
            if not attempt.must_go_direct(response.status, told, is_repeatable=True):
                return response
            unused = response
    return (yield from _direct(attempt, transport, request, unused))


def _direct(attempt: Attempt, transport: Any, request: Any, unused: Any) -> _Flow:
    kept = [(name, value) for name, value in request.headers if not name.lower().startswith(attempt.direct_prefix)]
    kind = next((value for name, value in kept if name.lower() == "content-type"), "")
    record = begin(attempt, request.url, request.body, kind)
    try:
        response = yield _Step(replace(request, headers=kept), transport, close=unused)
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


def _keep(record: DirectRecord, response: Any) -> None:
    """Record an answer as it passes; how its connection is released tells whether it was read to its end."""
    chunks, release = response._chunks, response._release

    def released(was_whole: bool) -> Any:
        record.finish(is_whole=was_whole, is_decoded=True)
        return release(was_whole)

    record.answered(response.status, response.headers)
    response._release = released
    response._chunks = _tee_async(chunks, record) if hasattr(chunks, "__aiter__") else _tee(chunks, record)


def _tee(chunks: Iterator[bytes], record: DirectRecord) -> Iterator[bytes]:
    for piece in chunks:
        record.feed(piece)
        yield piece
    record.finish(is_decoded=True)


async def _tee_async(chunks: AsyncIterator[bytes], record: DirectRecord) -> AsyncIterator[bytes]:
    async for piece in chunks:
        record.feed(piece)
        yield piece
    record.finish(is_decoded=True)


def _routed_headers(headers: list[tuple[str, str]], attempt: Attempt) -> list[tuple[str, str]]:
    """lm15 sends text as Latin-1: UTF-8 values are given to it byte for byte."""
    replaced = {"host", *(name.lower() for name, _ in attempt.outgoing.set_headers)}
    kept = [(n, v) for n, v in headers if n.lower() not in replaced and not n.lower().startswith(PREFIX)]
    return [*kept, *((name, value.encode().decode("latin-1")) for name, value in attempt.outgoing.set_headers)]


_unproxied_twins: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()


def _unproxied(transport: Any) -> Any:
    """A transport like this one that uses no proxy; the same one where it has none."""
    if transport._proxy is None and not (transport._trust_env and getproxies()):
        return transport
    twin = _unproxied_twins.get(transport)
    if twin is None or twin._closed:
        twin = transport.copy()
        twin._proxy, twin._trust_env = None, False
        _unproxied_twins[transport] = twin
    return twin


def _is_unsent(error: Exception) -> bool:
    """Whether no connection was made; either copy of lm15 has an error of this name for that."""
    return any(cls.__name__ == "ConnectError" for cls in type(error).__mro__)


def _planned(transport: Any, request: Any) -> Attempt | None:
    if not switch.may_route(transport):
        return None
    raw = [(name.encode("latin-1", "replace"), value.encode("latin-1", "replace")) for name, value in request.headers]
    return plan(transport, request.method, request.url, raw, request.body)


def _next(steps: _Flow, response: Any, error: BaseException | None) -> tuple[_Step | None, Any]:
    """The step after this one, or None and the answer. Raises what the caller is to see."""
    try:
        return (steps.throw(error) if error is not None else steps.send(response)), None
    except StopIteration as done:
        return None, done.value
    except Exception:
        raise
    except BaseException:
        end_run()
        raise


def _stream(original: Any) -> Any:
    def stream(self: Any, request: Any) -> Any:
        attempt = _planned(self, request)
        if attempt is None:
            return original(self, request)
        steps = _flow(attempt, self, request)
        response: Any = None
        error: BaseException | None = None
        while True:
            step, answer = _next(steps, response, error)
            if step is None:
                return answer
            if step.close is not None:
                step.close.close()
            try:
                with leaving(step.request.url):
                    response, error = original(step.transport, step.request), None
            except BaseException as raised:  # noqa: BLE001 - handed to the flow, which raises it again
                response, error = None, raised

    return stream


def _stream_async(original: Any) -> Any:
    async def sent(transport: Any, request: Any) -> Any:
        attempt = _planned(transport, request)
        if attempt is None:
            return await original(transport, request)
        steps = _flow(attempt, transport, request)
        response: Any = None
        error: BaseException | None = None
        while True:
            step, answer = _next(steps, response, error)
            if step is None:
                return answer
            if step.close is not None:
                await step.close.aclose()
            try:
                with leaving(step.request.url):
                    response, error = await original(step.transport, step.request), None
            except BaseException as raised:  # noqa: BLE001 - handed to the flow, which raises it again
                response, error = None, raised

    def stream(self: Any, request: Any) -> Any:
        return _Awaited(sent(self, request)) if switch.may_route(self) else original(self, request)

    return stream


class _Awaited:
    """What lm15's asynchronous `stream` gives: awaited, it is the answer; entered, the answer that is closed after."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def __await__(self) -> Any:
        return self._answer.__await__()

    async def __aenter__(self) -> Any:
        self._answer = await self._answer
        return self._answer

    async def __aexit__(self, *error: object) -> None:
        await self._answer.aclose()
