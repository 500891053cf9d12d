"""The routes of the REST API. All are plain `def`: waiting for the store happens in FastAPI's worker threads."""

from __future__ import annotations

from typing import Annotated, Any

from heliconnect.errors import MissingExtraError
from heliconnect.server.rest.filters import read_filter
from heliconnect.server.rest.rows import request_row
from heliconnect.server.rest.spans import Body
from heliconnect.store import Store
from heliconnect.store.filters import FilterError

try:
    from fastapi import APIRouter, Depends, HTTPException, Request
    from pydantic import Field
except ImportError as exc:
    raise MissingExtraError("heliconnect.server.rest", "server") from exc

__all__ = ["Body", "Envelope", "StoreOf", "enveloped", "router"]

router = APIRouter(prefix="/v1")
Envelope = dict[str, Any]
_SORTS = {
    "created_at": "started_at",
    "latency": "latency_ms",
    "total_tokens": "total_tokens",
    "prompt_tokens": "input_tokens",
    "completion_tokens": "output_tokens",
    "user_id": "user_id",
    "body_model": "model",
    "cost": "cost_usd",
    "time_to_first_token": "first_byte_ms",
}


class RequestQuery(Body):
    """The body of a request query. filter is Helicone's AST; sort has one key with "asc" or "desc"."""

    filter: Any = "all"
    offset: int = Field(0, ge=0)
    limit: int = Field(10, ge=1, le=1000)
    sort: dict[str, Any] = Field(default_factory=dict)
    includeInputs: bool = False  # noqa: N815 - Helicone's spelling


class IdsQuery(Body):
    """The body of a query by ids."""

    requestIds: list[str] = Field(max_length=1000)  # noqa: N815 - Helicone's spelling


def _store(request: Request) -> Store:
    store: Store = request.app.state.store
    return store


StoreOf = Annotated[Store, Depends(_store)]


def enveloped(data: object) -> Envelope:
    """An answer in the shape that all have."""
    return {"data": data, "error": None}


def _sort(sort: dict[str, Any]) -> tuple[str, bool]:
    if not sort:
        return "key", True
    name, direction = next(iter(sort.items()))
    if name not in _SORTS or direction not in ("asc", "desc"):  # any JSON: it may not be hashable
        known = ", ".join(_SORTS)
        raise FilterError(f'sort is one of {known} with "asc" or "desc", got {name!r}: {direction!r}')
    return _SORTS[name], direction == "desc"


@router.post("/request/query-clickhouse")
@router.post("/request/query")
def query_requests(query: RequestQuery, store: StoreOf) -> Envelope:
    """Records that match a filter, newest first, bodies included."""
    sort, newest_first = _sort(query.sort)
    rows = store.page(
        read_filter(query.filter), limit=query.limit, offset=query.offset, sort=sort, newest_first=newest_first
    )
    whole = store.with_bodies(rows)
    return enveloped([request_row(row.exchange) for row in whole])


@router.post("/request/count/query")
def count_requests(query: RequestQuery, store: StoreOf) -> Envelope:
    """How many records match a filter."""
    return enveloped(store.count(read_filter(query.filter)))


@router.post("/request/query-ids")
def query_ids(query: IdsQuery, store: StoreOf) -> Envelope:
    """The records of these ids; unknown ones are left out."""
    found = (store.get(request_id) for request_id in query.requestIds)
    return enveloped([request_row(row.exchange) for row in found if row is not None])


@router.get("/request/{request_id}")
def get_request(request_id: str, store: StoreOf, includeBody: bool = True) -> Envelope:  # noqa: N803 - Helicone's
    """One record by its id."""
    row = store.get(request_id)
    if row is None:
        raise HTTPException(404, f"no request {request_id[:64]!r} is recorded")
    return enveloped(request_row(row.exchange, with_bodies=includeBody))
