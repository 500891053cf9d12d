"""Calls that did not pass through the proxy: logged by hand, or sent straight to their provider while it was away.

They come as Helicone's manual logger sends them and go the way of all records, through the spool. A request id that is
known already is not recorded again: a sender that was cut off sends once more.
Source of the format: https://docs.helicone.ai/getting-started/integration-method/custom
"""

from __future__ import annotations

import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from heliconnect.errors import MissingExtraError
from heliconnect.exchange import Capture, End
from heliconnect.protocol import AUTH, OMIT_REQUEST, OMIT_RESPONSE, PREFIX, REQUEST_ID, key_hash, redact, redact_url
from heliconnect.routing import provider_of
from heliconnect.server.dataplane.omit import reduced
from heliconnect.server.redaction import Redaction
from heliconnect.spool import SpoolWriter

try:
    import orjson
    from fastapi import APIRouter, Request
    from fastapi.responses import JSONResponse, PlainTextResponse, Response
    from starlette.concurrency import run_in_threadpool
except ImportError as exc:
    raise MissingExtraError("heliconnect.server", "server") from exc

__all__ = ["Ingest", "MalformedLogError", "capture_of", "router"]

SOURCE = "x-heliconnect-source"
"""The request header that says how a record came: "log", or "direct" for a call that the gateway missed."""
_KINDS = {"oai": "openai", "anthropic": "anthropic", "googleapis": "google"}
_ENDS = {-3: End.CANCELLED, -1: End.TIMEOUT}
_MISSING = ("the log names no times: when the call was, and how long it took, is not known",)
_MAX_KNOWN = 20_000
_MARKS = frozenset({"_type", "toolName"})
Json = Mapping[str, Any]


class MalformedLogError(ValueError):
    """A log that says too little to be a record; the message names the field."""


class Ingest:
    """Takes logs into a spool of its own. is_stored says whether a request id stands in the store already.

    redaction holds the rules for what is taken out of them first.
    """

    def __init__(
        self, spool: SpoolWriter, is_stored: Callable[[str], bool], redaction: Redaction | None = None
    ) -> None:
        self._spool = spool
        self._redaction = redaction
        self._is_stored = is_stored
        self._lock = threading.Lock()
        self._known: OrderedDict[str, None] = OrderedDict()

    def take(self, capture: Capture) -> bool:
        """Keep one capture; False when it could not be kept."""
        with self._lock:
            if capture.request_id in self._known or self._is_stored(capture.request_id):
                return True
            kept = capture if self._redaction is None else self._redaction.apply(capture)
            if not self._spool.append(kept):
                return False
            self._known[capture.request_id] = None
            if len(self._known) > _MAX_KNOWN:
                self._known.popitem(last=False)
        return True


def router(ingest: Ingest) -> APIRouter:
    """The endpoints of Helicone's manual loggers, the worker's and those of its API."""
    made = APIRouter(include_in_schema=False)

    async def log(request: Request) -> Response:
        kind = request.path_params.get("kind", "custom")
        try:
            capture = capture_of(kind, request.headers.raw, await request.body())
        except MalformedLogError as error:
            return JSONResponse({"error": str(error)}, 400)
        if not await run_in_threadpool(ingest.take, capture):
            return JSONResponse({"error": "the spool takes nothing now: send it again later"}, 503)
        return PlainTextResponse("ok", headers={"helicone-id": capture.request_id})

    for path in ("/{kind}/v1/log", "/v1/trace/{kind}/v1/log", "/v1/trace/{kind}/log"):
        made.add_api_route(path, log, methods=["POST"])
    return made


def capture_of(kind: str, headers: Iterable[tuple[bytes, bytes]], raw: bytes) -> Capture:
    """The capture of one log. kind is the path's first part: "custom", "oai", "anthropic" or "googleapis".

    Raises MalformedLogError for what is no log.
    """
    if kind != "custom" and kind not in _KINDS:
        raise MalformedLogError(f"logs go to /custom, /oai, /anthropic or /googleapis, got /{kind[:20]}")
    try:
        body = orjson.loads(raw)
    except ValueError as error:
        raise MalformedLogError("the body must be JSON") from error
    sent, got = _object(body, "providerRequest"), _object(body, "providerResponse")
    url, status = sent.get("url"), got.get("status")
    if not isinstance(url, str) or not (status is None or type(status) is int):
        raise MalformedLogError("providerRequest.url must be text, and providerResponse.status a number")
    said = _said(sent.get("meta"), headers)
    request, answer, answer_type = _bodies(sent, got, said)
    started_at, latency_ms, first_ms = _times(body.get("timing"))
    answered = [(str(k).lower(), str(v)) for k, v in _mapping(got.get("headers")).items() if _is_kept(str(k))]
    source = said.pop(SOURCE, "log")
    auth = said.pop(AUTH.lower(), "") or said.pop("authorization", "")
    cost = got.get("cost")
    return Capture(
        request_id=_request_id(said.get(REQUEST_ID.lower())),
        started_at=started_at,
        method="POST",
        target_url=redact_url(url),
        provider=_KINDS.get(kind) or _provider(body.get("provider"), url),
        request_headers=redact((*said.items(), ("content-type", "application/json"), (SOURCE, source))),
        request_body=request,
        request_size_bytes=len(request),
        end=_ENDS.get(status or 0, End.DONE),
        latency_ms=latency_ms,
        status=status,
        response_headers=redact((*answered, ("content-type", answer_type))),
        response_body=answer,
        response_size_bytes=len(answer),
        first_byte_ms=first_ms,
        key_hash=key_hash(auth),
        warnings=_MISSING if not _mapping(body.get("timing")) else (),
        told_cost=str(cost) if isinstance(cost, int | float) and not isinstance(cost, bool) else None,
    )


def _object(body: object, name: str) -> Json:
    found = body.get(name) if isinstance(body, Mapping) else None
    if not isinstance(found, Mapping):
        raise MalformedLogError(f"{name} must be an object")
    return found


def _mapping(value: object) -> Json:
    return value if isinstance(value, Mapping) else {}


def _said(meta: object, headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """What the log says of its call: Helicone's names only; HTTP headers win over `meta`."""
    said = {str(name).lower(): str(value) for name, value in _mapping(meta).items() if value is not None}
    for raw_name, raw_value in headers:
        said[raw_name.decode("latin-1").lower()] = raw_value.decode("utf-8", "replace")
    return {name: value for name, value in said.items() if name.startswith(PREFIX) or name in {SOURCE, "authorization"}}


def _is_kept(name: str) -> bool:
    return name.lower() not in {"content-type", "content-encoding", "content-length", "transfer-encoding"}


def _bodies(sent: Json, got: Json, said: Mapping[str, str]) -> tuple[bytes, bytes, str]:
    request = orjson.dumps(sent.get("json"))
    text = got.get("textBody")
    streamed = _mapping(got.get("json")).get("streamed_data")
    kind = "application/json"
    if isinstance(streamed, list):
        events = (one if isinstance(one, str) else orjson.dumps(one).decode() for one in streamed)
        answer = "".join(event if event.startswith("data:") else f"data: {event}\n\n" for event in events).encode()
        kind = "text/event-stream"
    elif isinstance(text, str) and text:
        answer = text.encode("utf-8", "replace")
        kind = "text/event-stream" if text.lstrip().startswith(("data:", "event:")) else _kind_of(answer)
    else:
        answer = b"" if got.get("json") is None else orjson.dumps(_without_unknown(got["json"]))
    if said.get(OMIT_REQUEST.lower(), "").lower() == "true":
        request = reduced(request, "application/json", "")
    if said.get(OMIT_RESPONSE.lower(), "").lower() == "true":
        answer = reduced(answer, kind, "")
    return request, answer, kind


def _without_unknown(answer: Any) -> Any:
    """The Python logger of Helicone fills these two in where it knows nothing: "unknown" says nothing."""
    if not isinstance(answer, Mapping):
        return answer
    return {name: value for name, value in answer.items() if name not in _MARKS or value != "unknown"}


def _kind_of(answer: bytes) -> str:
    return "application/json" if answer.lstrip()[:1] in {b"{", b"["} else "text/plain"


def _times(timing: object) -> tuple[datetime, float, float | None]:
    """When it began, how long it took and until the first token, in milliseconds."""
    found = _mapping(timing)
    now = datetime.now(UTC).timestamp()
    start, end = _seconds(found.get("startTime"), now), _seconds(found.get("endTime"), now)
    first = found.get("timeToFirstToken")
    first_ms = float(first) if isinstance(first, int | float) and not isinstance(first, bool) and first >= 0 else None
    return datetime.fromtimestamp(start, UTC), round(max(end - start, 0.0) * 1000, 3), first_ms


def _seconds(time: object, otherwise: float) -> float:
    found = _mapping(time)
    try:
        seconds = float(found["seconds"]) + float(found.get("milliseconds") or 0) / 1000
        datetime.fromtimestamp(seconds, UTC)
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        return otherwise
    return seconds


def _request_id(given: str | None) -> str:
    try:
        return str(uuid.UUID(given or ""))
    except ValueError:
        return str(uuid.uuid4())


def _provider(given: object, url: str) -> str | None:
    found = provider_of(urlsplit(url).hostname or "") if "://" in url else None
    if found is not None:
        return found.name
    return given.lower()[:100] if isinstance(given, str) and given and given.lower() != "custom" else None
