"""The routes about sessions: lists, sums, names, and how they are spread."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from heliconnect.errors import MissingExtraError
from heliconnect.server.rest.filters import read_filter
from heliconnect.server.rest.routes import Envelope, StoreOf, enveloped
from heliconnect.server.rest.rows import histogram_rows, number, session_row, stamp
from heliconnect.server.rest.spans import Body, MillisecondSpan, unix_moment
from heliconnect.store.session_measures import SessionChoice

try:
    from fastapi import APIRouter
    from pydantic import Field
except ImportError as exc:
    raise MissingExtraError("heliconnect.server.rest", "server") from exc

__all__ = ["QUANTILE_OF", "PSize", "sessions_router"]

sessions_router = APIRouter(prefix="/v1/session")
PSize = Literal["p50", "p75", "p95", "p99", "p99.9"]
QUANTILE_OF: dict[PSize, float] = {"p50": 0.5, "p75": 0.75, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}


class SessionQuery(Body):
    """The body of a session query."""

    search: str = ""
    timeFilter: MillisecondSpan = Field(default_factory=MillisecondSpan)  # noqa: N815 - Helicone's spelling
    nameEquals: str | None = None  # noqa: N815 - as above
    filter: Any = "all"
    offset: int = Field(0, ge=0)
    limit: int = Field(50, ge=1, le=1000)


class SessionNames(Body):
    """The body of a query of names, or of how sessions are spread."""

    nameContains: str = ""  # noqa: N815 - Helicone's spelling
    timeFilter: MillisecondSpan = Field(default_factory=MillisecondSpan)  # noqa: N815 - as above
    filter: Any = "all"
    pSize: PSize = "p75"  # noqa: N815 - as above
    useInterquartile: bool = False  # noqa: N815 - as above


def _listed(query: SessionQuery) -> SessionChoice:
    start, end = _ends(query.timeFilter)
    return SessionChoice(
        search=query.search, name=query.nameEquals, where=read_filter(query.filter), start=start, end=end
    )


def _named(query: SessionNames) -> SessionChoice:
    start, end = _ends(query.timeFilter)
    return SessionChoice(name_contains=query.nameContains, where=read_filter(query.filter), start=start, end=end)


def _ends(span: MillisecondSpan) -> tuple[datetime | None, datetime | None]:
    start, end = span.startTimeUnixMs, span.endTimeUnixMs
    return unix_moment(None if start is None else start / 1000), unix_moment(None if end is None else end / 1000)


@sessions_router.post("/query")
def query_sessions(query: SessionQuery, store: StoreOf) -> Envelope:
    """Sessions, the one used last first."""
    chosen = _listed(query)
    rows = store.sessions(
        search=chosen.search,
        name=chosen.name,
        where=chosen.where,
        start=chosen.start,
        end=chosen.end,
        limit=query.limit,
        offset=query.offset,
    )
    return enveloped([session_row(row) for row in rows])


@sessions_router.post("/count")
def count_sessions(query: SessionQuery, store: StoreOf) -> Envelope:
    """How many sessions there are, what they cost, and their averages; avg_cost is of those whose cost is known."""
    found = store.measures.sessions.totals(_listed(query))
    return enveloped(
        {
            "count": found.sessions,
            "total_cost": number(found.cost_usd),
            "avg_cost": number(found.cost_usd / found.priced) if found.cost_usd is not None and found.priced else None,
            "avg_latency": found.latency_sum_ms / found.requests if found.requests else None,
            "avg_requests": found.requests / found.sessions if found.sessions else None,
        }
    )


@sessions_router.post("/name/query")
def query_names(query: SessionNames, store: StoreOf) -> Envelope:
    """The names of sessions, the one used last first, at most 50."""
    return enveloped(
        [
            {
                "name": one.name,
                "created_at": stamp(one.first_at),
                "first_used": stamp(one.first_at),
                "last_used": stamp(one.last_at),
                "session_count": one.sessions,
                "avg_latency": one.average_latency_ms,
            }
            for one in store.measures.sessions.names(_named(query))
        ]
    )


@sessions_router.post("/metrics/query")
def query_metrics(query: SessionNames, store: StoreOf) -> Envelope:
    """How the calls, the duration in seconds and the cost of sessions are spread, and their averages."""
    chosen, quantile = _named(query), QUANTILE_OF[query.pSize]
    data: dict[str, Any] = {"average": {}}
    for name, value in (
        ("session_count", "requests"),
        ("session_duration", "duration_s"),
        ("session_cost", "cost_usd"),
    ):
        found = store.measures.sessions.histogram(value, chosen, quantile, is_two_sided=query.useInterquartile)
        data[name] = histogram_rows(found)
        data["average"][name] = [{"average": found.average}]
    return enveloped(data)
