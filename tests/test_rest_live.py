"""Records and sessions over a running server: whole rows, the same by every way to them."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import httpx

from tests.conftest import Running
from tests.logged import Call, ask, log_calls

NOON = datetime(2025, 8, 6, 12, tzinfo=UTC)


def test_a_record_is_the_same_by_every_way_to_it(live: Running) -> None:
    """Each field of a call that was logged with a price, by query, by id and by ids; and it is counted once."""
    user = f"whole-{uuid.uuid4().hex[:8]}"
    session = {"Helicone-Session-Id": f"s {user}", "Helicone-Session-Name": "trip", "Helicone-Session-Path": "/a"}
    call = Call(
        NOON, user, "dear", first_token_ms=100, cost=0.25, headers={"Helicone-Property-Tier": "gold", **session}
    )
    (request_id,) = log_calls(live, [call])
    row = httpx.get(f"{live.url}/v1/request/{request_id}").json()["data"]
    where = {"filter": {"request_response_rmt": {"user_id": {"equals": user}}}}
    assert ask(live, "/v1/request/query-clickhouse", where) == [row]
    assert ask(live, "/v1/request/query", where) == [row]
    assert ask(live, "/v1/request/query-ids", {"requestIds": ["nothing", request_id]}) == [row]
    assert ask(live, "/v1/request/count/query", where) == 1
    assert row == whole_row(request_id, user)


def whole_row(request_id: str, user: str) -> dict[str, Any]:
    request = {"model": "dear", "messages": [{"role": "user", "content": "Why?"}]}
    answer = {
        "model": "dear",
        "choices": [{"message": {"content": "Because."}}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5},
    }
    properties = {
        "tier": "gold",
        "Helicone-Session-Id": f"s {user}",
        "Helicone-Session-Name": "trip",
        "Helicone-Session-Path": "/a",
    }
    url = "https://api.openai.com/v1/chat/completions"
    unknown = (
        *("helicone_user", "model_override", "error", "prompt_cache_read_tokens", "prompt_cache_write_tokens"),
        *("prompt_audio_tokens", "reasoning_tokens", "completion_audio_tokens", "feedback_rating"),
        "cache_reference_id",
    )
    return {
        **dict.fromkeys(unknown),
        "request_id": request_id,
        "response_id": request_id,
        "request_created_at": "2025-08-06T12:00:00.000Z",
        "response_created_at": "2025-08-06T12:00:01.000Z",
        "request_path": url,
        "target_url": url,
        "request_body": request,
        "response_body": answer,
        "request_preview": "Why?",
        "response_preview": "Because.",
        "request_user_id": user,
        "user_id": user,
        "request_properties": properties,
        "properties": properties,
        "request_model": "dear",
        "response_model": "dear",
        "model": "dear",
        "provider": "OPENAI",
        "response_status": 200,
        "status": 200,
        "ended": "done",
        "warnings": [],
        "method": "POST",
        "flavor": "openai-chat",
        "is_stream": False,
        "request_is_base64": False,
        "response_is_base64": False,
        "delay_ms": 1_000,
        "time_to_first_token": 100,
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 15,
        "cost": 0.25,
        "costUSD": 0.25,
        "cost_source": "logged",
        "scores": {},
        "asset_ids": [],
        "asset_urls": {},
        "cache_enabled": False,
        "storage_location": "clickhouse",
        "request_size_bytes": 62,
        "response_size_bytes": 114,
        "size_bytes": 176,
    }


def test_a_session_is_the_sum_of_its_calls(live: Running) -> None:
    """Each field; what is known of one call only counts, what is known of none is null."""
    user = f"whole-{uuid.uuid4().hex[:8]}"
    session = {"Helicone-Session-Id": f"s {user}", "Helicone-Session-Name": "trip"}
    log_calls(live, [Call(NOON, user, cost=0.25, headers=session), Call(NOON, user, tokens=None, headers=session)])
    expected = {
        "created_at": "2025-08-06T12:00:00.000Z",
        "latest_request_created_at": "2025-08-06T12:00:01.000Z",
        "session_id": f"s {user}",
        "session_name": "trip",
        "avg_latency": 1_000.0,
        "total_cost": 0.25,
        "total_requests": 2,
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 15,
        "user_ids": [user],
    }
    body = {"search": user, "timeFilter": {}, "timezoneDifference": 0, "filter": "all"}
    assert ask(live, "/v1/session/query", body) == [expected]
    assert ask(live, "/v1/session/query", {**body, "offset": 1}) == []
