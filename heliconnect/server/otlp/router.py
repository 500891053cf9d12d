"""The endpoints that OTLP exporters and Helicone's async loggers send traces to.

200 says that all is taken, or how many spans are refused; 400, 413 and 415 that nothing is and that sending it again
will not help, 503 that it may. Answers have the form of the request.
Source: https://opentelemetry.io/docs/specs/otlp/#otlphttp-response
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from heliconnect.bodies import decoded
from heliconnect.errors import MissingExtraError
from heliconnect.server.guard import IS_CUT
from heliconnect.server.otlp.spans import MalformedTracesError, Read, from_json
from heliconnect.server.otlp.traces import WAIT_S, Outcome, Traces

try:
    import orjson
    from fastapi import APIRouter, Request
    from fastapi.responses import Response
    from starlette.concurrency import run_in_threadpool
except ImportError as exc:
    raise MissingExtraError("heliconnect.server", "server") from exc

__all__ = ["otlp_router"]

PATHS = ("/v1/traces", "/v1/trace/log", "/v1/trace/log-python")
_JSON = "application/json"
_PROTOBUF = "application/x-protobuf"
_MAX_DECODED_BYTES = 20 << 20
_MAX_REASON = 500
_LATE_S = 0.2  # uvloop's timers go by a clock that may be some milliseconds behind


class _RefusedError(Exception):
    """An export of which nothing is taken: the status and the words it is answered with."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status = status


def otlp_router(traces: Traces) -> APIRouter:
    """The endpoints, which give what they take to `traces`."""
    made = APIRouter(include_in_schema=False)

    async def export(request: Request) -> Response:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        headers = {name.decode("latin-1"): value.decode("utf-8", "replace") for name, value in request.headers.raw}
        body = await request.body()
        if request.scope.get(IS_CUT):
            return _failure(kind, 413, "the body is too large: export fewer spans at once")
        try:
            outcome = await run_in_threadpool(_take, traces, kind, headers, body)
        except _RefusedError as refused:
            return _failure(kind, refused.status, str(refused))
        if traces.is_waiting:
            loop = asyncio.get_running_loop()
            loop.call_later(WAIT_S + _LATE_S, loop.run_in_executor, None, traces.settle)
        if not outcome.is_kept:
            return _failure(kind, 503, "the spool takes nothing now: send it again later")
        return _success(kind, outcome)

    for path in PATHS:
        made.add_api_route(path, export, methods=["POST"])
    return made


def _take(traces: Traces, kind: str, headers: Mapping[str, str], raw: bytes) -> Outcome:
    body, problem = decoded(raw, headers.get("content-encoding", ""))
    if len(body) > _MAX_DECODED_BYTES:
        raise _RefusedError(413, f"an export may have {_MAX_DECODED_BYTES} bytes: export fewer spans at once")
    if problem is not None:
        raise _RefusedError(415 if problem.startswith("unknown") else 400, f"the body is {problem}")
    try:
        read = _read(kind, body)
    except MalformedTracesError as error:
        raise _RefusedError(400, str(error)) from error
    return traces.take(read, headers)


def _read(kind: str, body: bytes) -> Read:
    if kind == _JSON:
        try:
            return from_json(orjson.loads(body))
        except ValueError as error:
            raise MalformedTracesError(str(error) if isinstance(error, MalformedTracesError) else "no JSON") from error
    if kind != _PROTOBUF:
        raise _RefusedError(415, f"traces come as {_PROTOBUF} or {_JSON}")
    try:
        # Imported here: only who sends protobuf needs the packages that read it.
        from heliconnect.server.otlp import protobuf
    except MissingExtraError as error:
        raise _RefusedError(415, f"{error}, or send {_JSON}") from error
    return protobuf.from_protobuf(body)


def _success(kind: str, outcome: Outcome) -> Response:
    refused = len(outcome.refused)
    reason = "; ".join(dict.fromkeys(outcome.refused))[:_MAX_REASON]
    if kind == _PROTOBUF:
        from heliconnect.server.otlp import protobuf  # as above; it has read the request

        return Response(protobuf.answer(refused, reason), 200, media_type=_PROTOBUF)
    partial = {"partialSuccess": {"rejectedSpans": str(refused), "errorMessage": reason}} if refused else {}
    return Response(orjson.dumps(partial), 200, media_type=_JSON)


def _failure(kind: str, status: int, words: str) -> Response:
    """A google.rpc.Status, in the form of the request: as protobuf, its field 2 is the message."""
    headers = {"retry-after": "5"} if status == 503 else None
    if kind != _PROTOBUF:
        return Response(orjson.dumps({"message": words}), status, headers, media_type=_JSON)
    text = words.encode()[:127]  # so long its length is one byte
    return Response(bytes([0x12, len(text)]) + text, status, headers, media_type=_PROTOBUF)
