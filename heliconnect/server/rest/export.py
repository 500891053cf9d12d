"""Records as a stream, as lines of JSON or as CSV: oldest first, those that are stored when it begins.

Only a few records are in memory at a time, however many match. An export that cannot be read to its end is cut, so that
its reader can tell. Text that a spreadsheet would take for a formula gets an apostrophe before it in CSV.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

import orjson

from heliconnect.errors import MissingExtraError
from heliconnect.server.rest.filters import read_filter
from heliconnect.server.rest.routes import StoreOf
from heliconnect.server.rest.rows import request_row
from heliconnect.server.rest.spans import Body
from heliconnect.store import Row, Store
from heliconnect.store.filters import Filter, FilterError

try:
    from fastapi import APIRouter, Query
    from fastapi.responses import StreamingResponse
except ImportError as exc:
    raise MissingExtraError("heliconnect.server.rest", "server") from exc

__all__ = ["export_router", "lines_of"]

export_router = APIRouter(prefix="/v1/request/export")
Format = Literal["jsonl", "csv"]
_PAGE = 200
_WINDOW = 10_000
_MAX_BYTES = 4 << 20
_TYPES: dict[Format, str] = {"jsonl": "application/x-ndjson", "csv": "text/csv; charset=utf-8"}
# https://owasp.org/www-community/attacks/CSV_Injection
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_COLUMNS = (
    *("request_id", "request_created_at", "response_created_at", "status", "ended", "error", "provider", "model"),
    *("request_model", "response_model", "target_url", "user_id", "properties", "delay_ms", "time_to_first_token"),
    *("prompt_tokens", "prompt_cache_read_tokens", "prompt_cache_write_tokens", "prompt_audio_tokens"),
    *("completion_tokens", "reasoning_tokens", "completion_audio_tokens", "total_tokens", "cost", "cost_source"),
    *("feedback_rating", "scores", "warnings", "is_stream", "size_bytes", "request_body", "response_body"),
)


class Export(Body):
    """What to export. filter is Helicone's AST."""

    format: Format = "jsonl"
    filter: Any = "all"
    includeBody: bool = True  # noqa: N815 - Helicone's spelling


@export_router.get("")
def export(
    store: StoreOf,
    format: Format = "jsonl",  # noqa: A002 - the parameter's name
    filter: Annotated[str, Query(description="Helicone's filter AST, as JSON")] = '"all"',  # noqa: A002 - as above
    includeBody: bool = True,  # noqa: N803 - Helicone's spelling
) -> StreamingResponse:
    """All records that match a filter."""
    try:
        node = orjson.loads(filter)
    except orjson.JSONDecodeError as error:
        raise FilterError("filter must be JSON, such as {} or a filter of /v1/request/query-clickhouse") from error
    return _stream(store, Export(format=format, filter=node, includeBody=includeBody))


@export_router.post("")
def export_posted(body: Export, store: StoreOf) -> StreamingResponse:
    """The same, with the filter in the body."""
    return _stream(store, body)


def _stream(store: Store, wanted: Export) -> StreamingResponse:
    where, last = read_filter(wanted.filter), store.last_key()
    store.page(where, after=last, limit=1)  # a filter that makes no sense is refused before anything is sent
    rows = _rows(store, _pages(store, where, last), with_bodies=wanted.includeBody)
    made = _lines(rows) if wanted.format == "jsonl" else _csv(rows)
    name = f'attachment; filename="requests.{wanted.format}"'
    return StreamingResponse(made, media_type=_TYPES[wanted.format], headers={"content-disposition": name})


def lines_of(store: Store, where: Filter | None) -> Iterator[bytes]:
    """All records that match and are stored now, bodies included, as lines of JSON, some at a time.

    Raises FilterError for a filter that makes no sense.
    """
    return _lines(_rows(store, _pages(store, where, store.last_key()), with_bodies=True))


def _pages(store: Store, where: Filter | None, last: int) -> Iterator[list[Row]]:
    """The records that match, up to the key `last`. Each query looks at so few keys that it is soon done."""
    after = 0
    while after < last:
        before = min(after + _WINDOW, last) + 1
        page = store.page(where, after=after, before=before, limit=_PAGE, newest_first=False)
        after = page[-1].key if len(page) == _PAGE else before - 1
        if page:
            yield page


def _rows(store: Store, pages: Iterable[list[Row]], *, with_bodies: bool) -> Iterator[list[dict[str, Any]]]:
    """The records in Helicone's shape, a few at a time."""
    for page in pages:
        for part in _parts(page) if with_bodies else (page,):
            whole = store.with_bodies(part) if with_bodies else part
            yield [request_row(row.exchange, with_bodies=with_bodies) for row in whole]


def _parts(page: list[Row]) -> Iterator[list[Row]]:
    """A page in parts whose bodies are small enough together; a large record stands alone."""
    part: list[Row] = []
    size = 0
    for row in page:
        added = row.exchange.request_size_bytes + row.exchange.response_size_bytes
        if part and size + added > _MAX_BYTES:
            yield part
            part, size = [], 0
        part.append(row)
        size += added
    yield part


def _lines(rows: Iterable[list[dict[str, Any]]]) -> Iterator[bytes]:
    for part in rows:
        yield "".join(f"{_json(row)}\n" for row in part).encode()


def _csv(rows: Iterable[list[dict[str, Any]]]) -> Iterator[bytes]:
    yield _written([dict(zip(_COLUMNS, _COLUMNS, strict=True))])
    for part in rows:
        yield _written(part)


def _written(rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([_cell(row[name]) for name in _COLUMNS] for row in rows)
    return text.getvalue().encode("utf-8", "replace")


def _cell(value: Any) -> str | int | float | None:
    """A value as a cell: empty for unknown, JSON for what has parts."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        value = _json(value)
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    found: str | int | float | None = value
    return found


def _json(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # half a surrogate pair, or nested too deeply for orjson
        return json.dumps(value, separators=(",", ":"))
