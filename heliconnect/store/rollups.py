"""What is counted while a batch is stored, so that pages never scan: rollups, latencies, facets, sessions. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from heliconnect.exchange import End, Exchange
from heliconnect.store.tables import micros, nano

__all__ = ["ERROR_ENDS", "GRAINS_S", "Sums", "is_error", "latency_bin", "sums_of"]

GRAINS_S = (60, 3_600)
"""Rollups are kept by the minute and by the hour."""
BINS_PER_OCTAVE = 8
ERROR_ENDS = (End.CUT, End.TIMEOUT, End.UNREACHABLE)


def latency_bin(latency_ms: float) -> int:
    """The bin of a latency: 8 to an octave, from 0.1 ms on; bin b holds latencies from 0.1 * 2**(b / 8) ms on."""
    return max(0, math.floor(math.log2(max(latency_ms, 0.1) / 0.1) * BINS_PER_OCTAVE))


def is_error(exchange: Exchange) -> bool:
    """Whether a call failed: an error status, no answer, or half of one. A reader who left is no error."""
    if exchange.end in ERROR_ENDS:
        return True
    return exchange.end is not End.CANCELLED and (exchange.status is None or exchange.status >= 400)


@dataclass(slots=True)
class Sums:
    """What a batch adds to each table that is kept on insert, by primary key."""

    rollups: dict[tuple[Any, ...], list[int]] = field(default_factory=dict)
    latencies: Counter[tuple[Any, ...]] = field(default_factory=Counter)
    facets: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    sessions: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    session_users: set[tuple[str, str, str]] = field(default_factory=set)


def sums_of(batch: Sequence[Exchange]) -> Sums:
    """Count a batch."""
    sums = Sums()
    for exchange in batch:
        _roll_up(sums, exchange)
        _facet(sums, exchange)
        if exchange.session_id:
            _session(sums, exchange, exchange.session_id)
    return sums


def _known(exchange: Exchange) -> tuple[int | None, int | None, int | None]:
    cost = None if exchange.cost is None else nano(exchange.cost.total_usd)
    usage = exchange.usage
    return cost, None if usage is None else usage.total_input, None if usage is None else usage.total_output


def _roll_up(sums: Sums, exchange: Exchange) -> None:
    cost, given, made = _known(exchange)
    added = (1, int(is_error(exchange)), int(cost is None), cost or 0, given or 0, made or 0)
    second = micros(exchange.timing.started_at) // 1_000_000
    which = (exchange.model or "", exchange.provider or "")
    for grain in GRAINS_S:
        key = (grain, second - second % grain, *which)
        row = sums.rollups.setdefault(key, [0] * 6)
        for index, value in enumerate(added):
            row[index] += value
        sums.latencies[(*key, latency_bin(exchange.timing.latency_ms))] += 1


def _facet(sums: Sums, exchange: Exchange) -> None:
    for kind, value in (("model", exchange.model), ("user", exchange.user_id), ("provider", exchange.provider)):
        if value:
            sums.facets[(kind, "", value)] += 1
    for name, value in exchange.properties.items():
        sums.facets[("property-name", "", name)] += 1
        sums.facets[("property", name, value)] += 1


def _session(sums: Sums, exchange: Exchange, session_id: str) -> None:
    cost, given, made = _known(exchange)
    start = micros(exchange.timing.started_at)
    end = start + round(exchange.timing.latency_ms * 1000)
    key = (session_id, exchange.session_name or "")
    row = sums.sessions.setdefault(
        key,
        {
            "first_us": start,
            "last_us": end,
            "requests": 0,
            "errors": 0,
            "unpriced": 0,
            "cost_nano": None,
            "input_tokens": None,
            "output_tokens": None,
            "latency_sum_ms": 0.0,
        },
    )
    row["first_us"], row["last_us"] = min(row["first_us"], start), max(row["last_us"], end)
    row["requests"] += 1
    row["errors"] += int(is_error(exchange))
    row["unpriced"] += int(cost is None)
    row["latency_sum_ms"] += exchange.timing.latency_ms
    for name, value in (("cost_nano", cost), ("input_tokens", given), ("output_tokens", made)):
        if value is not None:
            row[name] = (row[name] or 0) + value
    if exchange.user_id:
        sums.session_users.add((*key, exchange.user_id))
