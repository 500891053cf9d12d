"""Spans as exporters send them in OTLP's usual form, protobuf. Needs the extra `otlp`.

Source: https://github.com/open-telemetry/opentelemetry-proto
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

from heliconnect.errors import MissingExtraError
from heliconnect.server.otlp.spans import Event, MalformedSpanError, MalformedTracesError, Read, Span, made

try:
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as service
    from opentelemetry.proto.common.v1 import common_pb2 as common
    from opentelemetry.proto.trace.v1 import trace_pb2 as trace
except ImportError as exc:
    raise MissingExtraError("OTLP as protobuf", "otlp") from exc

__all__ = ["answer", "from_protobuf"]

_MAX_DEPTH = 24


def from_protobuf(raw: bytes) -> Read:
    """The spans of an export request. Raises MalformedTracesError for what is none."""
    request = service.ExportTraceServiceRequest()
    try:
        request.ParseFromString(raw)
    except DecodeError as error:
        raise MalformedTracesError("the body must be an ExportTraceServiceRequest") from error
    read = Read()
    for group in request.resource_spans:
        resource = _attributes(group.resource.attributes)
        for scope in group.scope_spans:
            for span in scope.spans:
                try:
                    read.spans.append(_span(span, resource))
                except MalformedSpanError as error:
                    read.refused.append(str(error))
    return read


def answer(refused: int, reason: str) -> bytes:
    """The answer to an export request: how many spans were refused and why; nothing where all were taken."""
    made_of = service.ExportTraceServiceResponse()
    if refused:
        made_of.partial_success.rejected_spans = refused
        made_of.partial_success.error_message = reason
    encoded: bytes = made_of.SerializeToString()
    return encoded


def _span(span: trace.Span, resource: dict[str, Any]) -> Span:
    return made(
        (span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()),
        span.name,
        (span.start_time_unix_nano, span.end_time_unix_nano),
        _attributes(span.attributes),
        (Event(one.name, one.time_unix_nano, _attributes(one.attributes)) for one in span.events),
        resource,
        (span.status.code == trace.Status.STATUS_CODE_ERROR, span.status.message),
    )


def _attributes(pairs: Iterable[common.KeyValue], depth: int = 0) -> dict[str, Any]:
    return {pair.key: _value(pair.value, depth) for pair in pairs}


def _value(value: common.AnyValue, depth: int) -> Any:
    """The plain value; None for an empty one, and for what is nested too deep."""
    kind = value.WhichOneof("value")
    if kind is None or depth > _MAX_DEPTH:
        return None
    if kind == "array_value":
        return [_value(one, depth + 1) for one in value.array_value.values]
    if kind == "kvlist_value":
        return _attributes(value.kvlist_value.values, depth + 1)
    if kind == "bytes_value":
        return base64.b64encode(value.bytes_value).decode()
    return getattr(value, kind)
