"""Records in Helicone's shape: what is exported comes back the same, and what Helicone exports is understood."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings

from heliconnect.exchange import Cost, End, Exchange, Timing, Usage
from heliconnect.server.redaction import Redaction
from heliconnect.server.rest.reading import MalformedRecordError, read_record, records_in
from heliconnect.server.rest.rows import request_row
from tests.records import NOON, WHOLE
from tests.test_store import BARE, records

# What Helicone's API gives for one request: the fields of HeliconeRequest.
HELICONE: dict[str, Any] = {
    "response_id": "5f5a0a56-3c7d-4d52-a9a4-4f3f0a1b9d11",
    "response_created_at": "2026-03-01T12:00:01.250Z",
    "response_body": {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "gpt-4o-2024-08-06",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Because."}}],
    },
    "response_status": 200,
    "response_model": "gpt-4o-2024-08-06",
    "request_id": "0b8c1f0e-7f59-4f3f-9a35-7d0d5f7f8f10",
    "request_created_at": "2026-03-01T12:00:00.000Z",
    "request_body": {"model": "gpt-4o", "messages": [{"role": "user", "content": "Why?"}]},
    "request_path": "/v1/chat/completions",
    "request_user_id": "Zoë",
    "request_properties": {"Tier": "pro", "Helicone-Session-Id": "s-1", "Helicone-Session-Path": "/search"},
    "request_model": "gpt-4o",
    "model_override": None,
    "helicone_user": None,
    "provider": "OPENAI",
    "delay_ms": 1250,
    "time_to_first_token": None,
    "total_tokens": 21,
    "prompt_tokens": 10,
    "prompt_cache_write_tokens": 0,
    "prompt_cache_read_tokens": 4,
    "completion_tokens": 7,
    "reasoning_tokens": None,
    "prompt_audio_tokens": None,
    "completion_audio_tokens": None,
    "cost": 0.00012,
    "costUSD": 0.00012,
    "prompt_id": None,
    "prompt_version": None,
    "feedback_rating": True,
    "llmSchema": None,
    "country_code": "PT",
    "asset_ids": [],
    "asset_urls": {},
    "scores": {"grounded": 1},
    "properties": {"Tier": "pro"},
    "target_url": "https://api.openai.com/v1/chat/completions",
    "model": "gpt-4o-2024-08-06",
    "cache_reference_id": None,
    "cache_enabled": False,
    "storage_location": "clickhouse",
}
EXPECTED = Exchange(
    request_id=HELICONE["request_id"],
    timing=Timing(NOON, 1_250.0, None),
    method="POST",
    target_url="https://api.openai.com/v1/chat/completions",
    status=200,
    end=End.DONE,
    provider="openai",
    flavor="openai-chat",
    model="gpt-4o-2024-08-06",
    request_model="gpt-4o",
    response_model="gpt-4o-2024-08-06",
    user_id="Zoë",
    session_id="s-1",
    session_path="/search",
    properties={"tier": "pro"},
    usage=Usage(input_tokens=10, cache_read_tokens=4, cache_write_tokens=0, output_tokens=7),
    cost=Cost(Decimal("0.00012"), source="helicone"),
    request_body=orjson.dumps(HELICONE["request_body"]).decode(),
    response_body=orjson.dumps(HELICONE["response_body"]).decode(),
    request_size_bytes=len(orjson.dumps(HELICONE["request_body"])),
    response_size_bytes=len(orjson.dumps(HELICONE["response_body"])),
    request_preview="Why?",
    response_preview="Because.",
    feedback=True,
    scores={"grounded": 1.0},
)


def reread(record: object) -> Exchange:
    return read_record(orjson.loads(orjson.dumps(record)))


def test_a_record_of_helicones_is_understood() -> None:
    """Every field it has; flavour and previews are read from the bodies."""
    assert reread(HELICONE) == EXPECTED


CHANGES: list[Any] = [
    pytest.param({"cost": 0, "costUSD": 0}, {"cost": None}, id="no-price-known"),
    pytest.param(
        {"cost": 0, "costUSD": 0, "cache_reference_id": "x"},
        {"cost": Cost(Decimal(0), source="helicone"), "cache_reference_id": "x"},
        id="a-hit",
    ),
    pytest.param(
        {"cost": 0, "costUSD": 0, "cache_reference_id": "00000000-0000-0000-0000-000000000000"},
        {"cost": None},
        id="no-hit",
    ),
    pytest.param({"cost": 0, "cost_source": "logged"}, {"cost": Cost(Decimal(0), source="logged")}, id="free"),
    pytest.param({"delay_ms": "1250", "prompt_tokens": "10"}, {}, id="numbers-as-text"),
    pytest.param({"delay_ms": None}, {}, id="length-from-both-times"),
    pytest.param(
        {"delay_ms": None, "response_created_at": None},
        {
            "timing": Timing(NOON, 0.0),
            "warnings": ("the imported record does not say how long the call took",),
        },
        id="no-length",
    ),
    pytest.param({"request_created_at": "2026-03-01 12:00:00.000"}, {}, id="time-as-clickhouse-writes-it"),
    pytest.param({"request_created_at": "2026-03-01T14:00:00+02:00"}, {}, id="time-elsewhere"),
    pytest.param({"provider": "CUSTOM"}, {"provider": None}, id="custom-is-no-provider"),
    pytest.param({"response_status": -3}, {"status": -3, "end": End.CANCELLED}, id="cancelled"),
    pytest.param({"response_status": -1}, {"status": -1, "end": End.TIMEOUT}, id="timeout"),
    pytest.param({"response_status": None}, {"status": None}, id="no-status"),
    pytest.param({"request_user_id": None}, {"user_id": None}, id="no-user"),
    pytest.param({"scores": None, "feedback_rating": None}, {"scores": {}, "feedback": None}, id="not-rated"),
    pytest.param({"model_override": "mine", "model": None}, {"model": "mine"}, id="override"),
    pytest.param(
        {"prompt_tokens": -1, "completion_tokens": None, "prompt_cache_write_tokens": None}
        | {"prompt_cache_read_tokens": None},
        {"usage": None},
        id="no-tokens",
    ),
    pytest.param(
        {"target_url": "https://x.openai.azure.com/?api-key=sk-1"},
        {"target_url": "https://x.openai.azure.com/?api-key=[redacted]"},
        id="secrets-in-the-url",
    ),
]


@pytest.mark.parametrize(("changes", "expected"), CHANGES)
def test_what_helicone_writes_otherwise(changes: dict[str, Any], expected: dict[str, Any]) -> None:
    """Unknown stays unknown, whatever stands in its place."""
    assert reread({**HELICONE, **changes}) == replace(EXPECTED, **expected)


def test_bodies_that_are_elsewhere_are_said() -> None:
    """Without them flavour and sizes are what the rest tells."""
    found = reread({**HELICONE, "request_body": None, "response_body": None, "signed_body_url": "https://s3/x"})
    assert (found.request_body, found.request_preview, found.flavor) == (None, None, "openai-chat")
    assert found.warnings == ("the imported record has its bodies elsewhere (signed_body_url)",)


@given(records)
@settings(max_examples=50, deadline=None)
def test_an_exported_record_comes_back_the_same(record: Exchange) -> None:
    """Exported once more, it is the same line."""
    row = request_row(replace(record, request_model=record.model, response_model=record.model))
    assert request_row(reread(row)) == row


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(WHOLE, id="whole"),
        pytest.param(BARE, id="nothing-known"),
        pytest.param(replace(WHOLE, request_body='{"a": NaN}', response_body="[cut"), id="no-json"),
        pytest.param(replace(WHOLE, response_body="gAEC", response_is_base64=True), id="base64"),
        pytest.param(replace(WHOLE, end=End.CUT, error="broke off", feedback=False, scores={"a": 0.5}), id="cut"),
        pytest.param(replace(WHOLE, properties={"Helicone-Prompt-Id": "p"}, provider="xai"), id="names"),
        pytest.param(replace(WHOLE, cache_reference_id="x", cost=Cost(Decimal(0), source="cache")), id="cached"),
        pytest.param(replace(WHOLE, request_preview=None, response_preview=None), id="no-previews"),
    ],
)
def test_records_of_every_kind_come_back(record: Exchange) -> None:
    """The shape holds all but the parts of the cost, the headers, and fractions of milliseconds."""
    row = request_row(record)
    found = reread(row)
    assert request_row(found) == row
    timing = Timing(record.timing.started_at, round(record.timing.latency_ms), found.timing.first_byte_ms)
    cost = record.cost and Cost(record.cost.total_usd, source=record.cost.source)
    dropped = {"request_headers": (), "response_headers": (), "key_hash": None}
    bodies = {"request_body": found.request_body, "response_body": found.response_body}
    assert found == replace(record, timing=timing, cost=cost, **dropped, **bodies)


MALFORMED: list[Any] = [
    pytest.param(b"{", "JSON object", id="no-json"),
    pytest.param(b"[[]]", "got list", id="no-object"),
    pytest.param(b"{}", "request_created_at", id="no-time"),
    pytest.param(b'{"request_created_at": "2026-03-01T12:00:00Z"}', "request_id", id="no-id"),
    pytest.param(b'{"request_id": "a", "request_created_at": "yesterday"}', "ISO 8601", id="time"),
    pytest.param(b'{"request_id": "a", "request_created_at": "0001-01-01T00:00:00+14:00"}', "ISO 8601", id="early"),
    pytest.param(b"\xff", "JSON object", id="no-utf-8"),
    pytest.param(
        b'{"request_id": "a", "request_created_at": "2026-03-01T12:00:00Z"'
        b', "request_body": "***", "request_is_base64": true}',
        "expected base64",
        id="base64",
    ),
]


@pytest.mark.parametrize(("line", "words"), MALFORMED)
def test_what_is_no_record_is_said(line: bytes, words: str) -> None:
    """The message names the field."""
    with pytest.raises(MalformedRecordError, match=words):
        read_record(*records_in(line))


def test_the_least_that_is_a_record() -> None:
    """An id and a time: all else is unknown."""
    found = read_record({"request_id": "a", "request_created_at": "2026-03-01T12:00:00.5Z"})
    at = datetime(2026, 3, 1, 12, tzinfo=UTC) + timedelta(milliseconds=500)
    assert found == Exchange(
        "a",
        Timing(at, 0.0),
        "POST",
        "",
        None,
        End.DONE,
        flavor="other",
        warnings=("the imported record does not say how long the call took",),
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param(b'{"request_id": "a", "data": []}', [{"request_id": "a", "data": []}], id="record"),
        pytest.param(b"[1, 2]", [1, 2], id="list"),
        pytest.param(b'{"data": [1, 2], "error": null}', [1, 2], id="answer-of-the-api"),
        pytest.param(b"[]", [], id="empty-list"),
    ],
)
def test_a_line_may_hold_several_records(line: bytes, expected: list[Any]) -> None:
    """As the API answers, and as it is exported as one array."""
    assert records_in(line) == expected


def test_rules_take_private_text_out(tmp_path: Path) -> None:
    """Out of bodies, of the previews that stood in the record, and of what came as headers."""
    rules = tmp_path / "rules.toml"
    rules.write_text("[[rule]]\nregex = 'Why'\nreplace = '[word]'\n")
    said = {"request_preview": "Why?", "response_preview": "Because.", "request_user_id": "Why me"}
    record = {**HELICONE, **said, "request_properties": {"mood": "Why", "Helicone-Session-Id": "Why"}}
    found = read_record(record, Redaction.from_file(rules))
    assert (found.request_preview, found.response_preview) == ("[word]?", "Because.")
    assert "Why" not in str(found.request_body)
    assert (found.user_id, found.session_id, found.properties) == ("[word] me", "[word]", {"mood": "[word]"})
