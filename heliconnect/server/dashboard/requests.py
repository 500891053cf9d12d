"""The requests table: the page, its further rows, and what is new since it was drawn."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import Response

from heliconnect.server.dashboard.query import RANGES, Query
from heliconnect.server.dashboard.site import site_of
from heliconnect.store import Row, Store
from heliconnect.store.filters import Filter

__all__ = ["Choices", "key_of", "requests_page", "requests_rows", "requests_tail"]

PAGE_ROWS = 60
TAIL_ROWS = 100
COUNT_CAP = 10_000
_CHOICES_S = 5.0


@dataclass(frozen=True, slots=True)
class _Offer:
    models: tuple[tuple[str, str], ...]
    users: tuple[tuple[str, str], ...]
    properties: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(slots=True)
class Choices:
    """What the filter menus offer: the most frequent values, read again every few seconds."""

    _offer: _Offer = field(default_factory=lambda: _Offer((), (), ()))
    _read_at: float = float("-inf")
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self, store: Store) -> _Offer:
        """The values; at most _CHOICES_S old."""
        with self._lock:
            if time.monotonic() - self._read_at > _CHOICES_S:
                names = [facet.value for facet in store.facets("property-name", limit=12)]
                self._offer = _Offer(
                    tuple((facet.value, facet.value) for facet in store.facets("model", limit=60)),
                    tuple((facet.value, facet.value) for facet in store.facets("user", limit=60)),
                    tuple(
                        (name, tuple(facet.value for facet in store.facets("property", name, limit=12)))
                        for name in names
                    ),
                )
                self._read_at = time.monotonic()
            return self._offer


def requests_page(request: Request) -> Response:
    """The table: the newest, or the page that `?before=` or `?after=` a key begins."""
    site = site_of(request)
    query = Query.read(request.query_params.multi_items())
    where = query.where(site.now())
    latest = site.store.last_key()
    window = _window(site.store, where, key_of(request, "before"), key_of(request, "after"))
    count = site.store.count(where, COUNT_CAP)
    return site.page(
        request,
        "requests.html",
        query=query,
        chips=query.chips(),
        rows=window.rows,
        count=count,
        is_capped=count >= COUNT_CAP,
        is_first_run=latest == 0,
        is_top=not window.has_newer,
        newest=max(latest, window.rows[0].key if window.rows else 0),
        newer=window.rows[0].key if window.rows and window.has_newer else None,
        older=window.rows[-1].key if window.rows and window.has_older else None,
        offer=request.app.state.choices.read(site.store),
        ranges=[(name, label) for name, (label, _) in RANGES.items()],
    )


def requests_rows(request: Request) -> Response:
    """Further rows for a table that is open already, as a fragment; `x-older` holds the key to go on from."""
    site = site_of(request)
    query = Query.read(request.query_params.multi_items())
    window = _window(site.store, query.where(site.now()), key_of(request, "before"), None)
    response = site.page(request, "rows.html", query=query, rows=window.rows)
    if window.rows and window.has_older:
        response.headers["x-older"] = str(window.rows[-1].key)
    return response


def requests_tail(request: Request) -> Response:
    """What arrived after the key `?after=`, newest first, as a fragment; 204 for nothing.

    `x-newest` is the key to ask for next, `x-more` says that more is waiting.
    """
    site = site_of(request)
    query = Query.read(request.query_params.multi_items())
    after = key_of(request, "after") or 0
    latest = site.store.last_key()
    rows = (
        site.store.page(query.where(site.now()), after=after, limit=TAIL_ROWS + 1, newest_first=False)
        if latest > after
        else []
    )
    has_more = len(rows) > TAIL_ROWS
    rows = rows[:TAIL_ROWS]
    response: Response
    if rows:
        response = site.page(request, "rows.html", query=query, rows=rows[::-1])
        response.headers["x-rows"] = str(len(rows))
    else:
        response = Response(status_code=204)
    newest = rows[-1].key if has_more else max(latest, rows[-1].key if rows else 0)
    response.headers["x-newest"] = str(newest)
    if has_more:
        response.headers["x-more"] = "1"
    return response


@dataclass(frozen=True, slots=True)
class _Window:
    rows: list[Row]
    has_newer: bool
    has_older: bool


def _window(store: Store, where: Filter | None, before: int | None, after: int | None) -> _Window:
    """One page of rows, newest first, and whether there are others on either side."""
    if after is not None:
        rows = store.page(where, after=after, limit=PAGE_ROWS + 1, newest_first=False)
        has_newer = len(rows) > PAGE_ROWS
        rows = rows[:PAGE_ROWS][::-1]
        if has_newer or len(rows) == PAGE_ROWS:
            return _Window(rows, has_newer, has_older=True)
        before = None  # fewer than a page are newer: the newest page, whole
    rows = store.page(where, before=before, limit=PAGE_ROWS + 1)
    has_older = len(rows) > PAGE_ROWS
    has_newer = before is not None and bool(store.page(where, after=before - 1, limit=1))
    return _Window(rows[:PAGE_ROWS], has_newer, has_older)


def key_of(request: Request, name: str) -> int | None:
    """The key in a URL's parameter; None for none, and for what is no key."""
    text = request.query_params.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None
