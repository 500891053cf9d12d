"""The routes about users: what each of them asked, used and cost. Calls without a user are left out.

first_active and last_active are UTC; days are those of the reader's clock.
"""

from __future__ import annotations

from typing import Any

from heliconnect.errors import MissingExtraError
from heliconnect.server.rest.filters import read_user_filter
from heliconnect.server.rest.metrics import plain
from heliconnect.server.rest.routes import Envelope, StoreOf, enveloped
from heliconnect.server.rest.rows import histogram_rows, stamp
from heliconnect.server.rest.sessions import QUANTILE_OF, PSize
from heliconnect.server.rest.spans import Body, SecondSpan, unix_moment, within
from heliconnect.store.filters import Any as AnyOf
from heliconnect.store.filters import Filter, FilterError, Leaf, both
from heliconnect.store.measures import Group, Question

try:
    from fastapi import APIRouter
    from pydantic import Field
except ImportError as exc:
    raise MissingExtraError("heliconnect.server.rest", "server") from exc

__all__ = ["users_router"]

users_router = APIRouter(prefix="/v1/user")
_KNOWN = Leaf("user_id", "is-unknown", False)
# Columns of Helicone's answer -> what they measure.
_COLUMNS = {
    "active_for": "days",
    "first_active": "first_at",
    "last_active": "last_at",
    "total_requests": "requests",
    "average_requests_per_day_active": "requests_per_day",
    "average_tokens_per_request": "average_total_tokens",
    "total_completion_tokens": "output_tokens",
    "total_prompt_tokens": "input_tokens",
    "cost": "cost_usd",
    "rate_limited_count": "rate_limited",
}
_SORTS = {**_COLUMNS, "user_id": "user_id", "id": "user_id"}


class UserMetrics(Body):
    """The body of a query of users. sort has one key with "asc" or "desc"."""

    filter: Any = "all"
    offset: int = Field(0, ge=0)
    limit: int = Field(100, ge=1, le=1000)
    timeFilter: SecondSpan = Field(default_factory=SecondSpan)  # noqa: N815 - Helicone's spelling
    timeZoneDifferenceMinutes: float = Field(0, ge=-1440, le=1440)  # noqa: N815 - as above
    sort: dict[str, Any] = Field(default_factory=dict)


class UserSpread(Body):
    """The body of a query of how users are spread."""

    filter: Any = "all"
    pSize: PSize = "p75"  # noqa: N815 - Helicone's spelling
    useInterquartile: bool = False  # noqa: N815 - as above


class Users(Body):
    """The body of a query of some users."""

    userIds: list[str] | None = Field(None, max_length=150)  # noqa: N815 - Helicone's spelling
    timeFilter: SecondSpan = Field(default_factory=SecondSpan)  # noqa: N815 - as above


@users_router.post("/metrics/query")
def query_metrics(body: UserMetrics, store: StoreOf) -> Envelope:
    """Users with their measures, the one active last first."""
    where, having = read_user_filter(body.filter)
    sort, descending = _sort(body.sort)
    question = Question(
        of=tuple(_COLUMNS.values()),
        by=("user_id",),
        where=both(_KNOWN, _within(body.timeFilter), where),
        having=having,
        sort=sort,
        descending=descending,
        limit=body.limit,
        offset=body.offset,
        offset_min=body.timeZoneDifferenceMinutes,
    )
    users = [_user(group) for group in store.measures.groups(question)]
    count, has_users = store.measures.count(question), bool(store.facets("user", limit=1))
    return enveloped({"users": users, "count": count, "hasUsers": has_users})


@users_router.post("/metrics-overview/query")
def query_overview(body: UserSpread, store: StoreOf) -> Envelope:
    """How the calls and the cost of users are spread."""
    where, having = read_user_filter(body.filter)
    question = Question(of=(), by=("user_id",), where=both(_KNOWN, where), having=having)
    data = {}
    for name, measure in (("request_count", "requests"), ("user_cost", "cost_usd")):
        quantile, two_sided = QUANTILE_OF[body.pSize], body.useInterquartile
        data[name] = histogram_rows(store.measures.histogram(measure, question, quantile, is_two_sided=two_sided))
    return enveloped(data)


@users_router.post("/query")
def query_users(body: Users, store: StoreOf) -> Envelope:
    """What users used and cost in a time, the one with the most calls first, at most 100; of all without userIds."""
    wanted: Filter | None = None
    if body.userIds:
        wanted = AnyOf(tuple(Leaf("user_id", "equals", user) for user in body.userIds))
    where = both(_KNOWN, wanted, _within(body.timeFilter))
    question = Question(of=("input_tokens", "output_tokens", "cost_usd"), by=("user_id",), where=where, limit=100)
    return enveloped(
        [
            {
                "user_id": group.by[0],
                "count": group.of["requests"],
                "prompt_tokens": group.of["input_tokens"],
                "completion_tokens": group.of["output_tokens"],
                "cost": plain(group.of["cost_usd"]),
            }
            for group in store.measures.groups(question)
        ]
    )


def _user(group: Group) -> dict[str, Any]:
    row = {"id": group.by[0], "user_id": group.by[0]}
    for column, measure in _COLUMNS.items():
        value = group.of[measure]
        row[column] = stamp(value) if measure in {"first_at", "last_at"} else plain(value)
    return row


def _within(span: SecondSpan) -> Filter | None:
    return within(unix_moment(span.startTimeUnixSeconds), unix_moment(span.endTimeUnixSeconds))


def _sort(sort: dict[str, Any]) -> tuple[str, bool]:
    if not sort:
        return "last_at", True
    name, direction = next(iter(sort.items()))
    if name not in _SORTS or direction not in ("asc", "desc"):  # any JSON: it may not be hashable
        raise FilterError(f'sort is one of {", ".join(_SORTS)} with "asc" or "desc", got {name!r}: {direction!r}')
    return _SORTS[name], direction == "desc"
