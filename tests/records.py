"""Records for tests of the store and what reads it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from heliconnect.exchange import Cost, End, Exchange, Timing, Usage

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
WHOLE = Exchange(
    request_id="00000000-0000-4000-8000-000000000000",
    timing=Timing(NOON, 1_250.5, 300.25),
    method="POST",
    target_url="https://api.openai.com/v1/chat/completions",
    status=200,
    end=End.DONE,
    provider="openai",
    flavor="openai-chat",
    is_stream=True,
    model="gpt-4o-2024-08-06",
    request_model="gpt-4o",
    response_model="gpt-4o-2024-08-06",
    user_id="Zoë",
    session_id="s-1",
    session_name="trip",
    session_path="/search",
    properties={"tier": "pro", "app": "größe"},
    usage=Usage(input_tokens=10, cache_read_tokens=4, output_tokens=5, reasoning_tokens=2),
    cost=Cost(Decimal("0.000120"), Decimal("0.00007"), Decimal("0.00005"), "genai-prices 1", NOON.date()),
    request_headers=(("content-type", "application/json"), ("x", "1"), ("x", "2")),
    response_headers=(("set-cookie", "[redacted]"),),
    request_body='{"messages": [{"role": "user", "content": "Why?"}]}',
    response_body="data: {}\n\n",
    request_size_bytes=51,
    response_size_bytes=10,
    request_preview="Why?",
    response_preview="Because.",
    key_hash="ab" * 32,
    warnings=("late",),
)


def a_record(number: int = 0, **changes: Any) -> Exchange:
    """A whole record: `number` sets its id and its time, in seconds after noon."""
    made = replace(
        WHOLE,
        request_id=str(UUID(int=number)),
        timing=replace(WHOLE.timing, started_at=NOON + timedelta(seconds=number)),
    )
    return replace(made, **changes)
