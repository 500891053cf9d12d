"""The list of sessions, and the page of one: its requests as a tree with times."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from heliconnect.exchange import Exchange
from heliconnect.server.dashboard import format as form
from heliconnect.server.dashboard.query import Query
from heliconnect.server.dashboard.requests import key_of
from heliconnect.server.dashboard.site import site_of
from heliconnect.server.dashboard.tree import Step, grow
from heliconnect.store import Row

__all__ = ["session_page", "sessions_page"]

PAGE_ROWS = 60
MAX_STEPS = 1_000
TICKS = 5


def sessions_page(request: Request) -> Response:
    """All sessions, the one used last first. `?q=` searches ids and names, `?from=` is the first row."""
    site = site_of(request)
    search = request.query_params.get("q", "").strip()[:200]
    start = min(key_of(request, "from") or 0, 1_000_000)
    found = site.store.sessions(search=search, limit=PAGE_ROWS + 1, offset=start)
    return site.page(
        request,
        "sessions.html",
        sessions=found[:PAGE_ROWS],
        search=search,
        is_first_run=not found and not search and not start and site.store.last_key() == 0,
        newer=max(0, start - PAGE_ROWS) if start else None,
        older=start + PAGE_ROWS if len(found) > PAGE_ROWS else None,
    )


def session_page(request: Request, session_id: str) -> Response:
    """One session, as a tree. `?name=` narrows an id that was used with several names."""
    site = site_of(request)
    name = request.query_params.get("name")
    rows = site.store.session(session_id, name, limit=MAX_STEPS + 1)
    if not rows:
        raise HTTPException(404, "There is no session with this id.")
    is_whole = len(rows) <= MAX_STEPS
    exchanges = {str(row.key): row.exchange for row in rows[:MAX_STEPS]}
    return site.page(
        request,
        "session.html",
        session_id=session_id,
        tree=grow([_step(row) for row in rows[:MAX_STEPS]]),
        exchanges=exchanges,
        is_whole=is_whole,
        facts=_facts(list(exchanges.values())),
        table=Query(session=session_id).encoded(),
        query=Query(session=session_id),
    )


def _step(row: Row) -> Step:
    one = row.exchange
    return Step(
        request_id=str(row.key),
        path=one.session_path,
        started_at=one.timing.started_at,
        latency_ms=one.timing.latency_ms,
        first_byte_ms=one.timing.first_byte_ms,
        cost_usd=one.cost.total_usd if one.cost is not None else None,
    )


@dataclass(frozen=True, slots=True)
class _Facts:
    names: tuple[str, ...]
    users: tuple[str, ...]
    duration_ms: float
    cost_usd: Decimal | None
    unpriced: int
    tokens: int | None
    errors: int
    ticks: tuple[str, ...]


def _facts(exchanges: list[Exchange]) -> _Facts:
    begin = min(one.timing.started_at for one in exchanges)
    duration_ms = max(
        (one.timing.started_at - begin).total_seconds() * 1000 + one.timing.latency_ms for one in exchanges
    )
    costs = [one.cost.total_usd for one in exchanges if one.cost is not None]
    totals = [one.usage.total for one in exchanges if one.usage is not None and one.usage.total is not None]
    return _Facts(
        names=tuple(dict.fromkeys(one.session_name for one in exchanges if one.session_name)),
        users=tuple(dict.fromkeys(one.user_id for one in exchanges if one.user_id)),
        duration_ms=duration_ms,
        cost_usd=sum(costs, Decimal(0)) if costs else None,
        unpriced=len(exchanges) - len(costs),
        tokens=sum(totals) if totals else None,
        errors=sum(form.outcome(one.status, one.end) == "bad" for one in exchanges),
        ticks=tuple(form.duration(duration_ms * at / TICKS) if at else "0" for at in range(TICKS + 1)),
    )
