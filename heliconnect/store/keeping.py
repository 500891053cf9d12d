"""Writing what is kept beside the records: sums are added with a batch, and taken away with the records they count.

A session's bounds and sums of what is known cannot be taken away from: they are counted anew from what is left.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Float, Integer, Table, and_, bindparam, case, cast, delete, func, or_, select
from sqlalchemy.dialects.sqlite import insert

from heliconnect.exchange import End, Exchange, Usage
from heliconnect.store import tables
from heliconnect.store.rollups import ERROR_ENDS, GRAINS_S, Sums, sums_of

__all__ = ["add_sums", "subtract_sums"]

_WHICH = ("grain_s", "bucket_s", "model", "provider")
_COUNTED = ("count", "errors", "unpriced", "cost_nano", "input_tokens", "output_tokens")
_SESSION = ("session_id", "session_name")
_r = tables.requests.c
_name = func.coalesce(_r.session_name, "")
# Rollups.is_error, for the engine.
_failed = or_(
    _r.ended.in_([str(end) for end in ERROR_ENDS]),
    and_(_r.ended != str(End.CANCELLED), or_(_r.status.is_(None), _r.status >= 400)),
)


def add_sums(connection: Connection, batch: Sequence[Exchange]) -> None:
    """Count a batch that is being stored."""
    sums = sums_of(batch)
    for table, key, counted, rows in _by_table(sums):
        _add(connection, table, key, rows, counted)
    _add_sessions(connection, sums.sessions)
    users = [dict(zip((*_SESSION, "user_id"), one, strict=True)) for one in sums.session_users]
    _insert_new(connection, tables.session_users, users)


def subtract_sums(connection: Connection, batch: Sequence[Exchange]) -> None:
    """Take away a batch whose rows were removed just now; what was ever stored of each model is remembered."""
    _remember(connection, batch)
    for table, key, counted, rows in _by_table(sums_of(batch)):
        _subtract(connection, table, key, rows, counted)
    _recount_sessions(connection, {one.session_id for one in batch if one.session_id})


def _remember(connection: Connection, batch: Sequence[Exchange]) -> None:
    table = tables.removed
    rows = [
        {**dict(zip(_WHICH, key, strict=True)), **dict(zip(_COUNTED, sums, strict=True))}
        for key, sums in sums_of(batch).rollups.items()
        if key[0] == max(GRAINS_S)
    ]
    statement = insert(table)
    new = statement.excluded
    added = {name: table.c[name] + new[name] for name in _COUNTED}
    added["bucket_s"] = func.min(table.c.bucket_s, new.bucket_s)
    values = [{name: value for name, value in row.items() if name != "grain_s"} for row in rows]
    connection.execute(statement.on_conflict_do_update(index_elements=["model", "provider"], set_=added), values)


def _by_table(sums: Sums) -> Iterator[tuple[Table, tuple[str, ...], tuple[str, ...], list[tuple[Any, ...]]]]:
    """Of each table but the sessions': the names of its key, those of its sums, and the rows of both."""
    yield tables.rollups, _WHICH, _COUNTED, [(*key, *row) for key, row in sums.rollups.items()]
    bins = [(*key, count) for key, count in sums.latencies.items()]
    yield tables.latencies, (*_WHICH, "bin"), ("count",), bins
    values = [(*key, count) for key, count in sums.facets.items()]
    yield tables.facets, ("kind", "name", "value"), ("count",), values


def _add(
    connection: Connection, table: Table, key: Sequence[str], rows: Iterable[tuple[Any, ...]], sums: Sequence[str]
) -> None:
    """Insert rows; where the key exists, add to its sums."""
    values = [dict(zip((*key, *sums), row, strict=True)) for row in rows]
    if values:
        statement = insert(table)
        added = {name: table.c[name] + statement.excluded[name] for name in sums}
        connection.execute(statement.on_conflict_do_update(index_elements=list(key), set_=added), values)


def _subtract(
    connection: Connection, table: Table, key: Sequence[str], rows: Iterable[tuple[Any, ...]], sums: Sequence[str]
) -> None:
    """Take from the sums of rows; those that count nothing any more are removed."""
    less = [(*row[: len(key)], *(-value for value in row[len(key) :])) for row in rows]
    _add(connection, table, key, less, sums)
    which = [{f"of_{name}": value for name, value in zip(key, row, strict=False)} for row in less]
    if which:
        named = (table.c[name] == bindparam(f"of_{name}") for name in key)
        connection.execute(delete(table).where(*named, table.c.count <= 0), which)


def _add_sessions(connection: Connection, rows: Mapping[tuple[str, str], Mapping[str, Any]]) -> None:
    if not rows:
        return
    table, statement = tables.sessions, insert(tables.sessions)
    new = statement.excluded
    summed = {name: table.c[name] + new[name] for name in ("requests", "errors", "unpriced", "latency_sum_ms")}
    known = {
        # A sum of what is known: NULL only while nothing is.
        name: func.coalesce(table.c[name] + new[name], table.c[name], new[name])
        for name in ("cost_nano", "input_tokens", "output_tokens")
    }
    bounds = {
        "first_us": func.min(table.c.first_us, new.first_us),
        "last_us": func.max(table.c.last_us, new.last_us),
    }
    values = [{**dict(zip(_SESSION, key, strict=True)), **row} for key, row in rows.items()]
    connection.execute(
        statement.on_conflict_do_update(index_elements=list(_SESSION), set_=summed | known | bounds), values
    )


def _insert_new(connection: Connection, table: Table, values: Sequence[Mapping[str, Any]]) -> None:
    if values:
        connection.execute(insert(table).on_conflict_do_nothing(), values)


def _recount_sessions(connection: Connection, ids: Iterable[str]) -> None:
    chosen = sorted(ids)
    if not chosen:
        return
    for table in (tables.sessions, tables.session_users):
        connection.execute(delete(table).where(table.c.session_id.in_(chosen)))
    left = connection.execute(_sessions_of(chosen)).fetchall()
    _add_sessions(connection, {(row.session_id, row.session_name): _session_row(row) for row in left})
    users = select(_r.session_id, _name.label("session_name"), _r.user_id).distinct()
    users = users.where(_r.session_id.in_(chosen), _r.user_id.is_not(None), _r.user_id != "")
    _insert_new(connection, tables.session_users, [dict(row._mapping) for row in connection.execute(users)])


def _sessions_of(chosen: Sequence[str]) -> Any:
    """The sums over all calls of these sessions."""
    return (
        select(
            _r.session_id,
            _name.label("session_name"),
            func.min(_r.started_us).label("first_us"),
            func.max(_r.started_us + cast(func.round(cast(_r.latency_ms * 1000, Float)), Integer)).label("last_us"),
            func.count().label("requests"),
            func.sum(case((_failed, 1), else_=0)).label("errors"),
            func.sum(case((_r.cost_nano.is_(None), 1), else_=0)).label("unpriced"),
            func.sum(_r.cost_nano).label("cost_nano"),
            func.sum(_r.latency_ms).label("latency_sum_ms"),
            *(func.sum(_r[name]).label(name) for name in tables.COUNTS),
        )
        .where(_r.session_id.in_(chosen))
        .group_by(_r.session_id, _name)
    )


def _session_row(row: Any) -> dict[str, Any]:
    usage = Usage(**{name: getattr(row, name) for name in tables.COUNTS})
    summed = ("first_us", "last_us", "requests", "errors", "unpriced", "cost_nano", "latency_sum_ms")
    return {
        **{name: getattr(row, name) for name in summed},
        "input_tokens": usage.total_input,
        "output_tokens": usage.total_output,
    }
