"""Real exchanges of real providers: usage equals what the provider reported, and nothing is invented."""

from __future__ import annotations

import base64
import json
import os
import random
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from heliconnect.exchange import Capture, End
from heliconnect.recorder import finish
from heliconnect.routing import provider_of
from heliconnect.sse import Decoder, decode

RECORDINGS = Path(__file__).parents[2] / "shared" / "recordings" / "exchanges.jsonl"


@cache
def rows() -> list[dict[str, Any]]:
    if not RECORDINGS.exists():
        if os.environ.get("CI"):
            pytest.fail("the recorded exchanges are missing")
        pytest.skip("the recorded exchanges are not part of the project")
    return [json.loads(line) for line in RECORDINGS.read_bytes().splitlines()]


def raw(row: dict[str, Any], field: str) -> bytes:
    return base64.b64decode(row[field]) if row.get(f"{field}_base64") else row[field].encode()


def capture_of(row: dict[str, Any]) -> Capture:
    provider = provider_of(urlsplit(row["url"]).hostname or "")
    request, response = raw(row, "request_body"), raw(row, "response_body")

    def pairs(field: str) -> tuple[tuple[str, str], ...]:
        return tuple((k.lower(), v) for k, v in row[field].items() if k.lower() != "content-encoding")

    return Capture(
        request_id=row["id"],
        started_at=datetime(2026, 1, 1, tzinfo=UTC),
        method=row["method"],
        target_url=row["url"],
        provider=provider.name if provider else None,
        request_headers=pairs("request_headers"),
        request_body=request,
        request_size_bytes=len(request),
        end=End.DONE,
        latency_ms=1.0,
        status=row["status"],
        response_headers=pairs("response_headers"),
        response_body=response,
        response_size_bytes=len(response),
    )


def numbers(value: object, path: str = "") -> Iterator[tuple[str, int]]:
    """Every integer of a JSON value with its dotted path."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from numbers(inner, f"{path}.{name}")
    elif isinstance(value, list):
        for inner in value:
            yield from numbers(inner, path)
    elif isinstance(value, int | float) and not isinstance(value, bool) and value == value // 1:
        yield path, int(value)


def reported(row: dict[str, Any]) -> tuple[int, int] | None:
    """The provider's own totals, read by pattern from the text of the answer; the last report of each name counts."""
    body = raw(row, "response_body").decode("utf-8", "replace")
    blocks = [event.data.decode() for event in decode(body.encode())] if "data:" in body[:200] else [body]
    blocks = (
        body.splitlines()
        if row["response_headers"].get("content-type", "").startswith("application/stream")
        else blocks
    )
    seen: dict[str, int] = {}
    for block in blocks:
        try:
            parsed = json.loads(block)
        except ValueError:
            continue
        for path, count in numbers(parsed):
            if re.search(r"\.(usage|usageMetadata|meta)\.", path):
                seen[re.sub(r".*\.(usage|usageMetadata|meta)\.", "", path)] = count
    if "promptTokenCount" in seen:
        asked = seen["promptTokenCount"] + seen.get("toolUsePromptTokenCount", 0)
        return asked, seen.get("candidatesTokenCount", 0) + seen.get("thoughtsTokenCount", 0)
    if "prompt_tokens" in seen:
        return seen["prompt_tokens"], seen.get("completion_tokens", 0)
    if "inputTokens" in seen:
        caches = seen.get("cacheReadInputTokens", 0) + seen.get("cacheWriteInputTokens", 0)
        return seen["inputTokens"] + caches, seen.get("outputTokens", 0)
    if "input_tokens" in seen:
        caches = seen.get("cache_read_input_tokens", 0) + seen.get("cache_creation_input_tokens", 0)
        return seen["input_tokens"] + caches, seen.get("output_tokens", 0)
    if "tokens.input_tokens" in seen:
        return seen["tokens.input_tokens"], seen.get("tokens.output_tokens", 0)
    return None


def test_usage_equals_what_the_provider_reported() -> None:
    """Every exchange with a report, whatever the API: the parts sum to the provider's totals."""
    wrong = []
    judged = 0
    for row in rows():
        expected = reported(row) if row["status"] < 400 else None
        if expected is None:
            continue
        judged += 1
        usage = finish(capture_of(row)).usage
        got = (usage.total_input or 0, usage.total_output or 0) if usage else None
        if got != expected:
            wrong.append((row["id"], row["url"], expected, got))
    assert wrong == []
    assert judged > 350


def test_every_exchange_is_read_without_a_warning() -> None:
    """No real answer is beyond the recorder; failures have no usage and a message to show."""
    for row in rows():
        exchange = finish(capture_of(row))
        assert exchange.warnings == (), row["id"]
        if row["status"] >= 400:
            assert exchange.usage is None, row["id"]
            assert exchange.response_preview or not row["response_body"], row["id"]


def test_common_models_have_a_cost() -> None:
    """What OpenAI, Anthropic, Google, Groq and Mistral answered with a report can be priced, but for odd names."""
    known = [
        exchange
        for row in rows()
        if (exchange := finish(capture_of(row))).usage is not None
        and exchange.provider in {"openai", "anthropic", "google", "groq", "mistral", "deepseek", "azure", "vertex"}
    ]
    unpriced = {exchange.model for exchange in known if exchange.cost is None}
    assert len(known) > 250
    assert len(unpriced) <= 2, unpriced


def test_streams_are_the_same_however_they_are_cut() -> None:
    """Any cutting of a recorded stream into chunks gives the same events."""
    dice = random.Random(7)
    for row in rows():
        if "event-stream" not in row["response_headers"].get("content-type", ""):
            continue
        body, decoder, events, at = raw(row, "response_body"), Decoder(), [], 0
        while at < len(body):
            size = dice.randint(1, 3000)
            events += decoder.feed(body[at : at + size])
            at += size
        assert events == Decoder().feed(body), row["id"]
