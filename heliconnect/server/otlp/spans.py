"""Spans: one operation of a trace each, as exporters send them in OTLP's JSON.

In: a parsed export request. Out: `Span`s with plain values, and how many spans could not be read and why.
Source: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

__all__ = ["Attributes", "Event", "MalformedSpanError", "MalformedTracesError", "Read", "Span", "from_json", "made"]

Attributes = Mapping[str, Any]
"""Names and plain values: text, numbers, booleans, None, lists and dictionaries of them."""
_MAX_DEPTH = 24
_MAX_NS = 1 << 64
_ERROR = 2
_ERROR_NAME = "STATUS_CODE_ERROR"
_TRACE_ID = re.compile(r"(?!0{32})[0-9a-f]{32}")
_SPAN_ID = re.compile(r"(?!0{16})[0-9a-f]{16}")


class MalformedTracesError(ValueError):
    """A body that is no export request; the message says what was expected."""


class MalformedSpanError(ValueError):
    """A span that says too little to be kept; the message names the field."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened within a span. at_ns is its time in nanoseconds since 1970, 0 for unknown."""

    name: str
    at_ns: int
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class Span:
    """One operation. Ids are lower-case hex; resource holds the attributes of the process that made it.

    duration_ms is None where the end is not known.
    """

    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    started_at: datetime
    start_ns: int
    duration_ms: float | None
    attributes: Attributes = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    resource: Attributes = field(default_factory=dict)
    is_error: bool = False
    message: str = ""


@dataclass(slots=True)
class Read:
    """What an export request held: the spans, and a reason for each that was refused."""

    spans: list[Span] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def made(
    ids: tuple[str, str, str],
    name: str,
    times_ns: tuple[int, int],
    attributes: Attributes,
    events: Iterable[Event],
    resource: Attributes,
    status: tuple[bool, str],
) -> Span:
    """A span of its parts; ids are those of trace, span and parent. Raises MalformedSpanError."""
    trace_id, span_id, parent_id = (one.lower() for one in ids)
    start_ns, end_ns = times_ns
    if not _TRACE_ID.fullmatch(trace_id) or not _SPAN_ID.fullmatch(span_id):
        raise MalformedSpanError("a span needs a trace id of 32 and a span id of 16 hex digits, not all zero")
    if not 0 < start_ns < _MAX_NS:
        raise MalformedSpanError("a span needs its startTimeUnixNano")
    return Span(
        trace_id=trace_id,
        span_id=span_id,
        parent_id=parent_id if _SPAN_ID.fullmatch(parent_id) else None,
        name=name,
        started_at=datetime.fromtimestamp(start_ns / 1e9, UTC),
        start_ns=start_ns,
        duration_ms=round((end_ns - start_ns) / 1e6, 3) if end_ns >= start_ns else None,
        attributes=attributes,
        events=tuple(events),
        resource=resource,
        is_error=status[0],
        message=status[1],
    )


def from_json(document: object) -> Read:
    """The spans of a parsed export request. Raises MalformedTracesError for what is none."""
    if not isinstance(document, Mapping) or not isinstance(document.get("resourceSpans", []), list):
        raise MalformedTracesError('the body must be an object with a list "resourceSpans"')
    read = Read()
    for group in _objects(document.get("resourceSpans")):
        resource = _attributes(_mapping(group.get("resource")).get("attributes"))
        for scope in _objects(group.get("scopeSpans")):
            for raw in _listed(scope.get("spans")):
                try:
                    read.spans.append(_span(raw, resource))
                except MalformedSpanError as error:
                    read.refused.append(str(error))
    return read


def _span(raw: object, resource: Attributes) -> Span:
    if not isinstance(raw, Mapping):
        raise MalformedSpanError("a span must be an object")
    status = _mapping(raw.get("status"))
    return made(
        (_text(raw.get("traceId")), _text(raw.get("spanId")), _text(raw.get("parentSpanId"))),
        _text(raw.get("name")),
        (_integer(raw.get("startTimeUnixNano")) or 0, _integer(raw.get("endTimeUnixNano")) or 0),
        _attributes(raw.get("attributes")),
        (
            Event(_text(one.get("name")), _integer(one.get("timeUnixNano")) or 0, _attributes(one.get("attributes")))
            for one in _objects(raw.get("events"))
        ),
        resource,
        (status.get("code") in {_ERROR, _ERROR_NAME, str(_ERROR)}, _text(status.get("message"))),
    )


def _attributes(raw: object, depth: int = 0) -> dict[str, Any]:
    return {one["key"]: _value(one.get("value"), depth) for one in _objects(raw) if isinstance(one.get("key"), str)}


def _value(raw: object, depth: int) -> Any:
    """The plain value of an AnyValue; None for one that is none, and for what is nested too deep."""
    if not isinstance(raw, Mapping) or depth > _MAX_DEPTH:
        return None
    for kind, value in raw.items():
        match kind:
            case "stringValue" | "bytesValue":
                return _text(value)
            case "boolValue":
                return value if isinstance(value, bool) else None
            case "intValue":
                return _integer(value)
            case "doubleValue":
                return _float(value)
            case "arrayValue":
                return [_value(one, depth + 1) for one in _listed(_mapping(value).get("values"))]
            case "kvlistValue":
                return _attributes(_mapping(value).get("values"), depth + 1)
    return None


def _integer(raw: object) -> int | None:
    """A 64-bit number: JSON has it as text, some exporters as a number."""
    if isinstance(raw, bool) or not isinstance(raw, int | float | str) or len(str(raw)) > 24:
        return None
    try:
        return int(raw)
    except (ValueError, OverflowError):
        return None


def _float(raw: object) -> float | None:
    if isinstance(raw, bool) or not isinstance(raw, int | float | str):
        return None
    try:
        return float(raw)
    except (ValueError, OverflowError):
        return None


def _objects(raw: object) -> Iterator[Mapping[str, Any]]:
    return (one for one in _listed(raw) if isinstance(one, Mapping))


def _listed(raw: object) -> list[Any]:
    return raw if isinstance(raw, list) else []


def _mapping(raw: object) -> Mapping[str, Any]:
    return raw if isinstance(raw, Mapping) else {}


def _text(raw: object) -> str:
    return raw if isinstance(raw, str) else ""
