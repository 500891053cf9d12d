"""Records in the shape of Helicone's REST API, into ours: `rows.request_row` the other way round.

What a record says is taken as it stands, and nothing is made up for what it does not say. Only its flavour, its
previews and whether it was a stream are read from its bodies where they are not named, as Helicone's own are.
Source: HeliconeRequest in valhalla/jawn/src/packages/llm-mapper/types.ts of Helicone/helicone
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

import orjson

from heliconnect.exchange import Capture, Cost, End, Exchange, Timing, Usage
from heliconnect.protocol import header_text, property_name, redact_url
from heliconnect.recorder import finish
from heliconnect.server.redaction import Redaction
from heliconnect.server.rest.rows import provider_name

__all__ = ["MalformedRecordError", "read_record", "records_in"]

Record = Mapping[str, Any]
_SESSION = {
    "helicone-session-id": "session_id",
    "helicone-session-name": "session_name",
    "helicone-session-path": "session_path",
}
# Ours -> Helicone's name of a count.
_COUNTS = {
    "input_tokens": "prompt_tokens",
    "cache_read_tokens": "prompt_cache_read_tokens",
    "cache_write_tokens": "prompt_cache_write_tokens",
    "input_audio_tokens": "prompt_audio_tokens",
    "output_tokens": "completion_tokens",
    "reasoning_tokens": "reasoning_tokens",
    "output_audio_tokens": "completion_audio_tokens",
}
_ENDS = {-3: End.CANCELLED, -1: End.TIMEOUT}
_NO_TIME = "the imported record does not say how long the call took"
_NO_BODIES = "the imported record has its bodies elsewhere (signed_body_url)"
_MAX_ID = 200


class MalformedRecordError(ValueError):
    """What is no record; the message names the field."""


def records_in(line: bytes) -> list[Any]:
    """What one line of JSON holds: a record, a list of them, or an answer of the API with its envelope.

    Raises MalformedRecordError for what is no JSON.
    """
    try:
        found = orjson.loads(line)
    except ValueError as error:
        raise MalformedRecordError(f"expected a JSON object: {error}") from error
    if isinstance(found, Mapping) and isinstance(found.get("data"), list) and "request_id" not in found:
        found = found["data"]
    return found if isinstance(found, list) else [found]


def read_record(record: Any, redaction: Redaction | None = None) -> Exchange:
    """The exchange of one record, parsed JSON, without what the rules of `redaction` name.

    Raises MalformedRecordError for what is none.
    """
    if not isinstance(record, Mapping):
        raise MalformedRecordError(f"expected a JSON object, got {type(record).__name__}")
    read = _read_bodies(record, redaction)
    counts: dict[str, Any] = {ours: _count(record, theirs) for ours, theirs in _COUNTS.items()}
    usage = Usage(**counts)
    session, properties = _properties(record)
    caller: dict[str, Any] = {"user_id": _text(record, "request_user_id", "user_id"), **session}
    if redaction is not None:  # these came as headers
        caller = {name: value and redaction.value(value) for name, value in caller.items()}
        properties = {name: redaction.value(value) for name, value in properties.items()}
    return replace(
        read,
        **caller,
        properties=properties,
        status=_status(record),
        is_stream=_flag(record, "is_stream", read.is_stream),
        flavor=_said(record, "flavor", read.flavor),
        model=_text(record, "model", "model_override", "response_model", "request_model"),
        request_model=_text(record, "request_model"),
        response_model=_text(record, "response_model"),
        usage=None if usage == Usage() else usage,
        cost=_cost(record),
        request_preview=_preview(record, "request_preview", read.request_preview, redaction),
        response_preview=_preview(record, "response_preview", read.response_preview, redaction),
        cache_reference_id=_reference(record),
        error=_text(record, "error"),
        feedback=record.get("feedback_rating") if isinstance(record.get("feedback_rating"), bool) else None,
        scores={str(name): float(score) for name, score in _mapping(record, "scores").items() if _is_number(score)},
    )


def _read_bodies(record: Record, redaction: Redaction | None) -> Exchange:
    """What bodies, times and URL tell, as if the call had just been captured."""
    sent, got = _body(record, "request"), _body(record, "response")
    timing, warnings = _timing(record), [str(one) for one in record.get("warnings") or () if isinstance(one, str)]
    if timing is None:
        warnings.append(_NO_TIME)
    if not sent and not got and record.get("signed_body_url"):
        warnings.append(_NO_BODIES)
    started_at = _moment(record, "request_created_at")
    if started_at is None:
        raise MalformedRecordError("request_created_at: expected an ISO 8601 time, got nothing")
    latency_ms, first_byte_ms = timing or (0.0, None)
    capture = Capture(
        request_id=_id(record),
        started_at=started_at,
        method=_text(record, "method") or "POST",  # as Helicone's loggers say; its records do not
        target_url=redact_url(_text(record, "target_url", "request_path") or ""),
        provider=_provider(_text(record, "provider")),
        request_headers=(),
        request_body=sent,
        request_size_bytes=_size(record, "request_size_bytes", len(sent)),
        end=_end(record),
        latency_ms=latency_ms,
        response_body=got,
        response_size_bytes=_size(record, "response_size_bytes", len(got)),
        first_byte_ms=first_byte_ms,
    )
    made = finish(capture if redaction is None else redaction.apply(capture))
    return replace(
        made, timing=Timing(started_at, latency_ms, first_byte_ms), end=capture.end, warnings=tuple(warnings)
    )


def _id(record: Record) -> str:
    found = _text(record, "request_id")
    if found is None or len(found) > _MAX_ID:
        raise MalformedRecordError(f"request_id: expected text of at most {_MAX_ID} characters, got {found!r:.50}")
    return found


def _text(record: Record, *names: str) -> str | None:
    """The first of these that is text and not empty."""
    return next((value for name in names if isinstance(value := record.get(name), str) and value), None)


def _said(record: Record, name: str, otherwise: str | None) -> str | None:
    """A field that ours always name; null there is known to be nothing."""
    return _text(record, name) if name in record else otherwise


def _preview(record: Record, name: str, read: str | None, redaction: Redaction | None) -> str | None:
    """The preview that is told, else the one that was read; the latter where rules have changed the bodies."""
    return _said(record, name, read) if redaction is None else read


def _flag(record: Record, name: str, otherwise: bool) -> bool:
    value = record.get(name)
    return value if isinstance(value, bool) else otherwise


def _mapping(record: Record, name: str) -> Mapping[str, Any]:
    value = record.get(name)
    return value if isinstance(value, Mapping) else {}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(record: Record, name: str) -> Decimal | None:
    """A number, or text that is one, as ClickHouse writes large ones; None for another, and for a negative one."""
    value = record.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() and number >= 0 else None


def _count(record: Record, name: str) -> int | None:
    number = _number(record, name)
    return None if number is None else int(number)


def _size(record: Record, name: str, otherwise: int) -> int:
    number = _number(record, name)
    return otherwise if number is None else int(number)


def _status(record: Record) -> int | None:
    for name in ("response_status", "status"):
        value = record.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    return None


def _end(record: Record) -> End:
    try:
        return End(record.get("ended") or "")
    except ValueError:
        return _ENDS.get(_status(record) or 0, End.DONE)


def _moment(record: Record, name: str) -> datetime | None:
    text = _text(record, name)
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise MalformedRecordError(f"{name}: expected an ISO 8601 time, got {text[:50]!r}") from error


def _timing(record: Record) -> tuple[float, float | None] | None:
    """How long the call took, and until its first byte, in milliseconds; None where neither time nor length is told."""
    latency, first = _number(record, "delay_ms"), _number(record, "time_to_first_token")
    start, end = (_moment(record, name) for name in ("request_created_at", "response_created_at"))
    if latency is None and start is not None and end is not None and end >= start:
        latency = Decimal((end - start).total_seconds()) * 1000
    return None if latency is None else (float(latency), None if first is None else float(first))


def _reference(record: Record) -> str | None:
    """The record whose answer was given again; Helicone writes an id of zeros where there is none."""
    found = _text(record, "cache_reference_id")
    return None if found is None or not found.strip("0-") else found


def _provider(name: str | None) -> str | None:
    return None if name is None or name.upper() == "CUSTOM" else provider_name(name)


def _properties(record: Record) -> tuple[dict[str, Any], dict[str, str]]:
    """What Helicone keeps as properties of a session, and the others, their names as ours."""
    session: dict[str, Any] = dict.fromkeys(_SESSION.values())
    properties: dict[str, str] = {}
    for name, value in (_mapping(record, "request_properties") or _mapping(record, "properties")).items():
        text, lower = header_text(value), name.lower()
        if text is None:
            continue
        if lower in _SESSION:
            session[_SESSION[lower]] = text or None
        else:
            known = name if lower.startswith("helicone-") else property_name(name)
            if known:
                properties[known] = text
    return session, properties


def _cost(record: Record) -> Cost | None:
    """The cost that is told. In Helicone's own records 0 is what it writes where it knows no price, but for a hit of
    its cache."""
    amount = _number(record, "cost")
    amount = _number(record, "costUSD") if amount is None else amount
    is_theirs = "cost_source" not in record
    if amount is None or (amount == 0 and is_theirs and _reference(record) is None):
        return None
    return Cost(amount, source="helicone" if is_theirs else _text(record, "cost_source") or "")


def _body(record: Record, side: str) -> bytes:
    """A body as the bytes it was."""
    value = record.get(f"{side}_body")
    if value is None:
        return b""
    if not isinstance(value, str):
        return orjson.dumps(value)
    if _flag(record, f"{side}_is_base64", False):
        try:
            return base64.b64decode(value, validate=True)
        except ValueError as error:
            raise MalformedRecordError(f"{side}_body: expected base64, as {side}_is_base64 says") from error
    return value.encode()
