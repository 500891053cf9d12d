"""The routes about properties: their names, their values, and what each value asked and cost.

A session's three properties (Helicone-Session-Id, -Name, -Path) can be asked for by name, like those of callers.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from heliconnect.errors import MissingExtraError
from heliconnect.server.rest.filters import SESSION_PROPERTIES, read_filter
from heliconnect.server.rest.metrics import plain
from heliconnect.server.rest.routes import Envelope, StoreOf, enveloped
from heliconnect.server.rest.rows import stamp
from heliconnect.server.rest.spans import Body, ChartBody, IsoSpan, iso_moment, within
from heliconnect.store import Store
from heliconnect.store.filters import Filter, Leaf, both
from heliconnect.store.measures import Group, Question

try:
    from fastapi import APIRouter
except ImportError as exc:
    raise MissingExtraError("heliconnect.server.rest", "server") from exc

__all__ = ["properties_router"]

properties_router = APIRouter(prefix="/v1/property")
_TOP = 10
_FOUND = 25
_NAMES = 10_000


class Search(Body):
    """The body of a search for values."""

    searchTerm: str = ""  # noqa: N815 - Helicone's spelling


class TopBody(Body):
    """The body of a query of the largest values."""

    timeFilter: IsoSpan | None = None  # noqa: N815 - Helicone's spelling
    filter: Any = "all"


class PropertyChart(ChartBody):
    """The body of a property's chart, which calls its filter userFilter."""

    propertyKey: str  # noqa: N815 - Helicone's spelling
    userFilter: Any = "all"  # noqa: N815 - as above


@properties_router.post("/query")
def query_names(store: StoreOf) -> Envelope:
    """The names of all properties, the most frequent first."""
    return enveloped([{"property": facet.value} for facet in store.facets("property-name", limit=_NAMES)])


@properties_router.post("/properties/over-time")
def over_time(body: PropertyChart, store: StoreOf) -> Envelope:
    """What each value asked and cost, for the spans that have any call with the property."""
    grid = body.grid()
    starts = [stamp(start) for start in grid.starts]
    span = within(iso_moment(body.timeFilter.start), iso_moment(body.timeFilter.end))
    column, known = _key(body.propertyKey)
    question = Question(
        of=("cost_usd",),
        by=("time", column),
        property=body.propertyKey,
        where=both(span, known, read_filter(body.filter), read_filter(body.userFilter)),
        grid=grid,
        sort="time",
        descending=False,
    )
    return enveloped(
        [
            {
                "created_at_trunc": starts[group.by[0]],
                "property": group.by[1],
                "total_cost": plain(group.of["cost_usd"]),
                "request_count": group.of["requests"],
            }
            for group in store.measures.groups(question)
        ]
    )


@properties_router.post("/{key}/search")
def search_values(key: str, body: Search, store: StoreOf) -> Envelope:
    """Values that contain a text, in any case, the most frequent first, at most 25."""
    column, _ = _key(key)
    if column == "property":
        return enveloped(store.measures.property_values(key.lower(), body.searchTerm, _FOUND))
    where = Leaf(column, "contains", body.searchTerm)
    found = store.measures.groups(Question(of=(), by=(column,), where=where, limit=_FOUND))
    return enveloped([group.by[0] for group in found])


@properties_router.post("/{key}/top-costs/query")
def top_costs(key: str, body: TopBody, store: StoreOf) -> Envelope:
    """The ten values that cost the most, and what all "Other" ones cost; null where no call's cost is known."""
    return enveloped([{"value": value, "cost": plain(cost)} for value, cost in _top(key, body, "cost_usd", store)])


@properties_router.post("/{key}/top-requests/query")
def top_requests(key: str, body: TopBody, store: StoreOf) -> Envelope:
    """The ten values with the most calls, and the calls of all "Other" ones."""
    return enveloped([{"value": value, "count": count} for value, count in _top(key, body, "requests", store)])


def _top(key: str, body: TopBody, measure: str, store: Store) -> list[tuple[str, Any]]:
    column, known = _key(key)
    span = (
        None if body.timeFilter is None else within(iso_moment(body.timeFilter.start), iso_moment(body.timeFilter.end))
    )
    where = both(known, span, read_filter(body.filter))
    one = Question(of=(measure,), by=(column,), property=key, where=where, sort=measure, limit=_TOP)
    top = [(str(group.by[0]), group.of[measure]) for group in store.measures.groups(one)]
    total = _total(measure, column, key, where, store)
    rest = (total or 0) - sum((value or 0 for _, value in top), Decimal(0))
    return [*top, ("Other", rest if measure == "cost_usd" else int(rest))] if rest > 0 else top


def _total(measure: str, column: str, key: str, where: Filter | None, store: Store) -> Any:
    found: list[Group] = store.measures.groups(
        Question(of=(measure,), where=both(where, Leaf("property", "like", "%", key) if column == "property" else None))
    )
    return found[0].of[measure]


def _key(name: str) -> tuple[str, Filter | None]:
    """What groups by a property: a key of the store's, and which calls have it where that key does not say so."""
    column = SESSION_PROPERTIES.get(name.lower())
    return ("property", None) if column is None else (column, Leaf(column, "is-unknown", False))
