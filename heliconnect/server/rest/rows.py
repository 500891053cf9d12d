"""Records in the shape of Helicone's REST API.

Token fields are disjoint: prompt_tokens without caches and audio, completion_tokens without reasoning and audio. What
is unknown is null. Source: HeliconeRequest in valhalla/jawn/src/packages/llm-mapper/types.ts of Helicone/helicone
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import orjson

from heliconnect.exchange import Exchange, Usage
from heliconnect.store import SessionRow
from heliconnect.store.histogram import Histogram

__all__ = ["all_properties", "histogram_rows", "number", "provider_name", "request_row", "session_row", "stamp"]

# Our names of providers -> Helicone's, where they are not the same in capitals.
_PROVIDERS = {"xai": "X", "vertex": "GOOGLE"}
_NAMES = {upper: name for name, upper in _PROVIDERS.items() if upper != "GOOGLE"}
_NO_USAGE = Usage()


def provider_name(helicone: str) -> str:
    """Our name of a provider, from Helicone's ("OPENAI") or already ours."""
    return _NAMES.get(helicone, helicone.lower() if helicone.isupper() else helicone)


def _provider(name: str | None) -> str | None:
    if name is None:
        return None
    return _PROVIDERS.get(name, name.upper() if name.isidentifier() else name)


def stamp(moment: datetime) -> str:
    """A moment as Helicone writes it: UTC, milliseconds, "Z"."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def number(amount: Decimal | None) -> float | None:
    """An amount as JSON has it."""
    return None if amount is None else float(amount)


def _writes(usage: Usage) -> int | None:
    if usage.cache_write_tokens is None and usage.cache_write_1h_tokens is None:
        return None
    return (usage.cache_write_tokens or 0) + (usage.cache_write_1h_tokens or 0)


def all_properties(exchange: Exchange) -> dict[str, str]:
    """The properties, and the session's three under Helicone's names for them."""
    named = {
        "Helicone-Session-Id": exchange.session_id,
        "Helicone-Session-Name": exchange.session_name,
        "Helicone-Session-Path": exchange.session_path,
    }
    return {**exchange.properties, **{name: value for name, value in named.items() if value}}


def request_row(exchange: Exchange, *, with_bodies: bool = True) -> dict[str, Any]:
    """One record as Helicone's clients expect it."""
    usage = exchange.usage or _NO_USAGE
    started = exchange.timing.started_at
    cost = None if exchange.cost is None else number(exchange.cost.total_usd)
    properties = all_properties(exchange)
    return {
        "request_id": exchange.request_id,
        "response_id": exchange.request_id,
        "request_created_at": stamp(started),
        "response_created_at": stamp(started + timedelta(milliseconds=exchange.timing.latency_ms)),
        "request_path": exchange.target_url,
        "request_body": _body(exchange.request_body) if with_bodies else None,
        "response_body": _body(exchange.response_body) if with_bodies else None,
        "request_preview": exchange.request_preview,
        "response_preview": exchange.response_preview,
        "request_user_id": exchange.user_id,
        "helicone_user": None,
        "user_id": exchange.user_id,
        "request_properties": properties,
        "properties": properties,
        "request_model": exchange.request_model,
        "response_model": exchange.response_model,
        "model_override": None,
        "model": exchange.model,
        "provider": _provider(exchange.provider),
        "target_url": exchange.target_url,
        "response_status": exchange.status,
        "status": exchange.status,
        "ended": str(exchange.end),
        "error": exchange.error,
        "warnings": list(exchange.warnings),
        "method": exchange.method,
        "flavor": exchange.flavor,
        "is_stream": exchange.is_stream,
        "request_is_base64": exchange.request_is_base64,
        "response_is_base64": exchange.response_is_base64,
        "delay_ms": round(exchange.timing.latency_ms),
        "time_to_first_token": _rounded(exchange.timing.first_byte_ms),
        "prompt_tokens": usage.input_tokens,
        "prompt_cache_read_tokens": usage.cache_read_tokens,
        "prompt_cache_write_tokens": _writes(usage),
        "prompt_audio_tokens": usage.input_audio_tokens,
        "completion_tokens": usage.output_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
        "completion_audio_tokens": usage.output_audio_tokens,
        "total_tokens": usage.total,
        "cost": cost,
        "costUSD": cost,
        "cost_source": None if exchange.cost is None else exchange.cost.source,
        "scores": exchange.scores,
        "feedback_rating": exchange.feedback,
        "asset_ids": [],
        "asset_urls": {},
        "cache_enabled": properties.get("Helicone-Cache-Enabled") == "true",
        "cache_reference_id": exchange.cache_reference_id,
        "storage_location": "clickhouse",
        **_sizes(exchange),
    }


def _sizes(exchange: Exchange) -> dict[str, int]:
    sent, got = exchange.request_size_bytes, exchange.response_size_bytes
    return {"request_size_bytes": sent, "response_size_bytes": got, "size_bytes": sent + got}


def _rounded(value: float | None) -> int | None:
    return None if value is None else round(value)


def _body(text: str | None) -> Any:
    """JSON as it is, other text as text."""
    if text is None or text[:1] not in {"{", "["}:
        return text
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def session_row(row: SessionRow) -> dict[str, Any]:
    """A session as Helicone lists it."""
    tokens = [count for count in (row.input_tokens, row.output_tokens) if count is not None]
    return {
        "created_at": stamp(row.started_at),
        "latest_request_created_at": stamp(row.ended_at),
        "session_id": row.session_id,
        "session_name": row.session_name or "",
        "avg_latency": row.latency_sum_ms / row.requests,
        "total_cost": number(row.cost_usd),
        "total_requests": row.requests,
        "prompt_tokens": row.input_tokens,
        "completion_tokens": row.output_tokens,
        "total_tokens": sum(tokens) if tokens else None,
        "user_ids": list(row.users),
    }


def histogram_rows(found: Histogram) -> list[dict[str, Any]]:
    """Bins as Helicone writes them: their bounds are text."""
    return [{"range_start": str(one.start), "range_end": str(one.end), "value": one.count} for one in found.bins]
