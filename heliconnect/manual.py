"""Logging by hand what no HTTP library of ours carries: native clients, websockets, tools, vector searches, any step.

    with hc.log(provider="mistral", request={"model": ..., "messages": ...}) as entry:
        entry.respond(native_client.chat(...))

    @hc.logged(kind="tool")
    def weather(city): ...

An entry carries the call context of its moment like any routed call, and goes to the same gateway in the background.
Nothing here waits or raises, but for a wrong keyword. The format is Helicone's manual logger's.
Source: https://docs.helicone.ai/getting-started/integration-method/custom
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
import logging
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Literal, TypeVar, cast

from heliconnect.callcontext import CallContext, current, note_request
from heliconnect.outbox import Entry
from heliconnect.protocol import REQUEST_ID, context_headers
from heliconnect.routing import log_url
from heliconnect.sender import get_sender
from heliconnect.settings import Settings, get_settings, is_disabled

__all__ = ["LogEntry", "log", "log_data", "log_tool", "log_vector_search", "logged", "submit"]

_log = logging.getLogger("heliconnect")
_NO_PATH = "custom-model-nopath"
_MAX_CHUNKS = 20_000
_KEPT_WHEN_OMITTED = frozenset(
    {"model", "modelVersion", "object", "type", "stream", "usage", "usageMetadata", "_type", "toolName", "name"}
)
FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


class LogEntry:
    """One call or step under way: a `with` block, synchronous or asynchronous, that is logged when it ends.

    An error that leaves the block is logged as such and goes on. request_id names the record. Attributes may be read,
    not set.
    """

    def __init__(self, provider: str | None, request: object, url: str | None) -> None:
        self.request_id = str(uuid.uuid4())
        self._provider = provider
        self._request = request
        self._url = url or _NO_PATH
        self._context = current()
        self._began = time.time()
        self._first: float | None = None
        self._answer: object = None
        self._chunks: list[object] = []
        self._status: int | None = None
        self._headers: Mapping[str, str] = {}
        self._is_over = False

    def respond(self, answer: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        """The answer: JSON values, text, or an SDK's object; status is HTTP's."""
        self._note_first()
        self._answer, self._status, self._headers = answer, status, dict(headers or {})

    def chunk(self, piece: object) -> None:
        """One piece of a streamed answer, as the provider's API has it."""
        self._note_first()
        if len(self._chunks) < _MAX_CHUNKS:
            self._chunks.append(piece)

    def fail(self, error: BaseException | str, *, status: int | None = None) -> None:
        """The call failed. status is taken from the error where it has one, else 500."""
        found = status or getattr(error, "status_code", None)
        self._status = found if isinstance(found, int) else 500
        kind = type(error).__name__ if isinstance(error, BaseException) else "error"
        self._answer = {"error": {"type": kind, "message": str(error)}}

    def end(self) -> None:
        """Log it, once; leaving the `with` block does so."""
        if self._is_over:
            return
        self._is_over = True
        try:
            self._submit()
        except Exception as error:  # noqa: BLE001 - logging may fail, what it logs may not
            _log.warning("a log entry could not be made: %s", type(error).__name__)

    def __enter__(self) -> LogEntry:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if error is not None:
            self.fail(error, status=None if isinstance(error, Exception) else -3)
        self.end()

    async def __aenter__(self) -> LogEntry:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, tb)

    def _note_first(self) -> None:
        if self._first is None:
            self._first = time.time()

    def _submit(self) -> None:
        answer: dict[str, Any] = {"status": self._status or 200, "headers": dict(self._headers), "json": self._answer}
        if self._chunks:
            answer["json"] = {"streamed_data": self._chunks}
        elif isinstance(self._answer, str):
            answer |= {"json": {}, "textBody": self._answer}
        note_request(self.request_id)
        times = (self._began, self._first if self._chunks else None, time.time())
        submit(self._provider, self._url, self._request, answer, times, self._context, self.request_id)


def log(*, provider: str | None = None, request: object = None, url: str | None = None) -> LogEntry:
    """Log an LLM call by hand: `with log(provider="openai", request={...}) as entry: entry.respond(...)`.

    provider and url tell whose API it is, request is its JSON; `model` in it names the model.
    """
    return LogEntry(provider, request, url)


def log_tool(name: str, input: object = None) -> LogEntry:  # noqa: A002 - Helicone's word
    """Log the use of a tool: `with log_tool("weather", {"city": "Lisbon"}) as entry: ...`."""
    return LogEntry(None, {"_type": "tool", "toolName": name, "input": input}, None)


def log_vector_search(
    text: str | None = None,
    *,
    vector: Sequence[float] | None = None,
    top_k: int | None = None,
    filter: object = None,  # noqa: A002 - Helicone's word
    database: str | None = None,
    operation: Literal["search", "insert", "delete", "update"] = "search",
) -> LogEntry:
    """Log an operation of a vector database."""
    said = {"text": text, "vector": vector, "topK": top_k, "filter": filter, "databaseName": database}
    known = {name: value for name, value in said.items() if value is not None}
    return LogEntry(None, {"_type": "vector_db", "operation": operation, **known}, None)


def log_data(name: str, meta: Mapping[str, object] | None = None) -> LogEntry:
    """Log any other step of a session."""
    return LogEntry(None, {"_type": "data", "name": name, "meta": dict(meta or {})}, None)


def logged(
    *, kind: Literal["llm", "tool", "data"] = "tool", provider: str | None = None, name: str | None = None
) -> Callable[[FunctionT], FunctionT]:
    """Decorate a function so that each of its calls is logged, its arguments as the request, its result as the answer.

    For functions and generators, synchronous and asynchronous. kind "llm" takes the arguments as the request's JSON.
    """

    def decorate(function: FunctionT) -> FunctionT:
        label = name or function.__name__
        signature = inspect.signature(function)

        def entry(args: Any, kwargs: Any) -> LogEntry:
            given = _bound(signature, args, kwargs)
            if kind == "llm":
                return log(provider=provider, request=given)
            return log_tool(label, given) if kind == "tool" else log_data(label, given)

        return cast("FunctionT", functools.update_wrapper(_wrapper(function, entry), function))

    return decorate


def _wrapper(function: Any, entry: Callable[[Any, Any], LogEntry]) -> Any:
    def plain(*args: Any, **kwargs: Any) -> Any:
        with entry(args, kwargs) as one:
            result = function(*args, **kwargs)
            one.respond(result)
            return result

    async def coroutine(*args: Any, **kwargs: Any) -> Any:
        with entry(args, kwargs) as one:
            result = await function(*args, **kwargs)
            one.respond(result)
            return result

    def generator(*args: Any, **kwargs: Any) -> Iterator[Any]:
        with entry(args, kwargs) as one:
            for piece in function(*args, **kwargs):
                one.chunk(piece)
                yield piece

    async def async_generator(*args: Any, **kwargs: Any) -> Any:
        with entry(args, kwargs) as one:
            async for piece in function(*args, **kwargs):
                one.chunk(piece)
                yield piece

    if inspect.isasyncgenfunction(function):
        return async_generator
    if inspect.isgeneratorfunction(function):
        return generator
    return coroutine if inspect.iscoroutinefunction(function) else plain


def _bound(signature: inspect.Signature, args: Any, kwargs: Any) -> dict[str, Any]:
    try:
        found = dict(signature.bind(*args, **kwargs).arguments)
    except TypeError:
        return {}  # the call itself will say what is wrong with it
    for name in ("self", "cls"):
        found.pop(name, None)
    return found


def submit(
    provider: str | None,
    url: str,
    request: object,
    answer: Mapping[str, Any],
    times: tuple[float, float | None, float],
    context: CallContext,
    request_id: str,
    *,
    settings: Settings | None = None,
    source: str = "log",
) -> None:
    """Hand one log to the sender. answer is Helicone's `providerResponse`; times are begin, first byte and end, in
    seconds since 1970. Raises what a value's own methods raise.
    """
    used = get_settings() if settings is None else settings
    if used.disabled or is_disabled():
        return
    begin, first, end = times
    carried, _ = context_headers(context)
    answer = dict(answer)
    if context.omit_request:
        request = _reduced(request)
    if context.omit_response:
        answer |= {"json": _reduced(answer.get("json")), "textBody": None}
    body = {
        "providerRequest": {"url": url, "json": request, "meta": {}},
        "providerResponse": answer,
        "timing": {
            "startTime": _moment(begin),
            "endTime": _moment(end),
            **({} if first is None else {"timeToFirstToken": round((first - begin) * 1000, 3)}),
        },
        "provider": provider,
    }
    body["providerRequest"]["meta"] = {**dict(carried), REQUEST_ID: request_id}  # type: ignore[index]  # made above
    headers = {"Content-Type": "application/json", "X-Heliconnect-Source": source, REQUEST_ID: request_id}
    text = json.dumps(body, ensure_ascii=False, default=_plain).encode("utf-8", "replace")
    get_sender().submit(Entry(log_url(provider, used), tuple(headers.items()), text), used.api_key)


def _reduced(value: object) -> object:
    """What is left of a body that must not be kept: models and counts."""
    if not isinstance(value, Mapping):
        return {}
    return {name: inner for name, inner in value.items() if name in _KEPT_WHEN_OMITTED}


def _moment(seconds: float) -> dict[str, int]:
    whole = int(seconds)
    return {"seconds": whole, "milliseconds": round((seconds - whole) * 1000)}


def _plain(value: Any) -> Any:
    """JSON for what is none: SDK objects by their own dump, dataclasses by their fields, all else as text."""
    for method in ("model_dump", "to_dict", "dict"):
        dump = getattr(value, method, None)
        if callable(dump) and not isinstance(value, type):
            return dump(mode="json") if method == "model_dump" else dump()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, bytes | bytearray):
        return f"[{len(value)} bytes]"
    return list(value) if isinstance(value, set | frozenset | tuple) else str(value)
