"""Reading, written once for every engine in SQLAlchemy Core."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, cast, exists, func, literal, not_, or_, select, tuple_
from sqlalchemy.sql.sqltypes import Float, Text

from heliconnect.store.filters import OPERATORS, All, Filter, FilterError, Leaf, Value
from heliconnect.store.filters import Any as AnyOf
from heliconnect.store.tables import bodies, facets, micros, notes, properties, requests, session_users, sessions

__all__ = [
    "SORTS",
    "clause",
    "compared",
    "count_of",
    "facet_values",
    "instant",
    "page_of",
    "session_conditions",
    "sessions_of",
    "users_of",
]

MAX_DEPTH = 32
MAX_LEAVES = 200
MAX_TEXT = 10_000
_r = requests.c
_cost = cast(_r.cost_nano, Float) / 1e9
_ended_us = _r.started_us + cast(_r.latency_ms * 1000, Float)
# The columns of a filter -> what they stand for.
_COLUMNS: dict[str, ColumnElement[Any]] = {
    **{
        name: requests.c[name]
        for name in (
            *("request_id", "user_id", "model", "request_model", "response_model", "provider", "status", "latency_ms"),
            *("first_byte_ms", "session_id", "session_name", "session_path", "target_url", "flavor", "total_tokens"),
            *("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens", "ended"),
            *("request_preview", "response_preview"),
        )
    },
    "started_at": _r.started_us,
    "ended_at": _ended_us,
    "cost_usd": _cost,
}
_ORDERS = frozenset({"gt", "gte", "lt", "lte"})
_TIMES = frozenset({"started_at", "ended_at"})
SORTS: dict[str, ColumnElement[Any]] = {
    "key": _r.key,
    "started_at": _r.started_us,
    "latency_ms": _r.latency_ms,
    "cost_usd": _r.cost_nano,
    "total_tokens": _r.total_tokens,
    "input_tokens": _r.input_tokens,
    "output_tokens": _r.output_tokens,
    "user_id": _r.user_id,
    "model": _r.model,
    "first_byte_ms": _r.first_byte_ms,
}


def clause(where: Filter) -> ColumnElement[bool]:
    """A filter as SQL. Raises FilterError for a column, an operator or a value that does not fit, or for too many."""
    if _leaves(where) > MAX_LEAVES:
        raise FilterError(f"a filter may have {MAX_LEAVES} comparisons")
    return _clause(where)


def _leaves(where: Filter, depth: int = 0) -> int:
    if depth > MAX_DEPTH:
        raise FilterError(f"a filter may be nested {MAX_DEPTH} deep")
    return 1 if isinstance(where, Leaf) else sum(_leaves(one, depth + 1) for one in where.of)


def _clause(where: Filter) -> ColumnElement[bool]:
    match where:
        case All(of):
            return and_(literal(True), *map(_clause, of))
        case AnyOf(of):
            return or_(literal(False), *map(_clause, of))
        case Leaf():
            return _leaf(where)


def _leaf(leaf: Leaf) -> ColumnElement[bool]:
    if leaf.operator not in OPERATORS:
        raise FilterError(f"unknown operator {leaf.operator!r}: expected one of {', '.join(sorted(OPERATORS))}")
    if isinstance(leaf.value, str) and (len(leaf.value) > MAX_TEXT or "\0" in leaf.value):
        raise FilterError(f"expected text of at most {MAX_TEXT} characters without NUL")
    if leaf.column == "property":
        return _property(leaf)
    if leaf.column in {"score", "feedback"}:
        return _noted(leaf)
    if leaf.column == "text":
        pattern = f"%{_escaped(str(leaf.value))}%"
        return or_(*(_COLUMNS[name].ilike(pattern, escape="\\") for name in ("request_preview", "response_preview")))
    if leaf.column in {"request_body", "response_body"}:
        text = func.unpacked(bodies.c[leaf.column.removesuffix("_body")])
        return exists(select(1).where(bodies.c.key == _r.key, compared(text, leaf.operator, leaf.value)))
    column = _COLUMNS.get(leaf.column)
    if column is None:
        known = ", ".join(sorted({*_COLUMNS, "property", "text", "request_body", "response_body"}))
        raise FilterError(f"unknown column {leaf.column!r}: expected one of {known}")
    value = instant(leaf.value) if leaf.column in _TIMES else leaf.value
    return compared(column, leaf.operator, value)


def _property(leaf: Leaf) -> ColumnElement[bool]:
    """A property's value, by its name in lower case. "not" holds for calls that lack the property, too."""
    named = select(1).where(properties.c.key == _r.key, properties.c.name == leaf.name.lower())
    if leaf.operator == "equals":  # from the property's side: a rare value is found without a walk over all calls
        p = properties.c
        return _r.key.in_(select(p.key).where(p.name == leaf.name.lower(), p.value == str(leaf.value)))
    if leaf.operator == "is-unknown":
        return not_(exists(named))
    if leaf.operator in {"not-equals", "not-contains"}:
        return not_(exists(named.where(compared(properties.c.value, leaf.operator.removeprefix("not-"), leaf.value))))
    return exists(named.where(compared(properties.c.value, leaf.operator, leaf.value)))


def _noted(leaf: Leaf) -> ColumnElement[bool]:
    """A score by its name, as a number, or the feedback, true or false."""
    n = notes.c
    noted = select(1).where(n.subject == _r.request_id, n.kind == leaf.column, n.name == leaf.name)
    if leaf.operator == "is-unknown":
        return not_(exists(noted)) if leaf.value else exists(noted)
    if leaf.column == "feedback":
        is_good = str(leaf.value).lower() in {"true", "1"}
        return exists(noted.where(compared(n.value, leaf.operator, "true" if is_good else "false")))
    return exists(noted.where(compared(cast(n.value, Float), leaf.operator, leaf.value)))


def compared(column: ColumnElement[Any], operator: str, value: Value) -> ColumnElement[bool]:
    """A comparison. Raises FilterError for an operator that does not exist, or does not fit the value."""
    known = _COMPARISONS.get(operator)
    if known is None:
        raise FilterError(f"unknown operator {operator!r}: expected one of {', '.join(sorted(OPERATORS))}")
    if isinstance(value, bool) and operator in _ORDERS:
        raise FilterError(f"expected text or a number for {operator}, got a boolean")
    return known(column, value)


def _text(column: ColumnElement[Any]) -> ColumnElement[Any]:
    return column if isinstance(column.type, Text) else cast(column, Text)


def _contains(column: ColumnElement[Any], value: Value) -> ColumnElement[bool]:
    return _text(column).ilike(f"%{_escaped(str(value))}%", escape="\\")


_COMPARISONS: dict[str, Callable[[ColumnElement[Any], Value], ColumnElement[bool]]] = {
    "equals": lambda column, value: column == value,
    "not-equals": lambda column, value: or_(column != value, column.is_(None)),
    "gt": lambda column, value: column > value,
    "gte": lambda column, value: column >= value,
    "lt": lambda column, value: column < value,
    "lte": lambda column, value: column <= value,
    "like": lambda column, value: _text(column).like(str(value)),
    "ilike": lambda column, value: _text(column).ilike(str(value)),
    "contains": _contains,
    "not-contains": lambda column, value: or_(not_(_contains(column, value)), column.is_(None)),
    "is-unknown": lambda column, value: column.is_(None) if value else column.is_not(None),
}


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def instant(value: Value) -> int:
    """A time as microseconds: ISO 8601 text, UTC where it names no zone, or milliseconds since 1970 as a number."""
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return round(value * 1000)
        found = datetime.fromisoformat(str(value))
        return micros(found if found.tzinfo is not None else found.replace(tzinfo=UTC))
    except (ValueError, OverflowError) as error:
        raise FilterError(f"expected an ISO 8601 time such as 2026-03-01T12:00:00Z, got {value!r}") from error


def page_of(
    where: Filter | None, before: int | None, after: int | None, sort: str, *, newest_first: bool
) -> Select[Any]:
    """One page of `requests`; the caller adds limit and offset. Raises FilterError."""
    column = SORTS.get(sort)
    if column is None:
        raise FilterError(f"unknown sort {sort!r}: expected one of {', '.join(SORTS)}")
    query = select(requests)
    if where is not None:
        query = query.where(clause(where))
    if before is not None:
        query = query.where(_r.key < before)
    if after is not None:
        query = query.where(_r.key > after)
    order = (column.desc().nulls_last(), _r.key.desc()) if newest_first else (column.asc().nulls_last(), _r.key.asc())
    return query.order_by(*(order[1:] if sort == "key" else order))


def count_of(where: Filter | None, cap: int | None) -> Select[Any]:
    """How many rows match, counted up to `cap`."""
    found = select(_r.key)
    if where is not None:
        found = found.where(clause(where))
    if cap is not None:
        found = found.limit(cap)
    return select(func.count()).select_from(found.subquery())


def sessions_of(
    search: str, name: str | None, where: Filter | None, start: datetime | None, end: datetime | None
) -> Select[Any]:
    """Sessions, the one used last first. Raises FilterError."""
    s = sessions.c
    conditions = session_conditions(search, name, where, start, end)
    return select(sessions).where(*conditions).order_by(s.last_us.desc(), s.session_id)


def session_conditions(
    search: str, name: str | None, where: Filter | None, start: datetime | None, end: datetime | None
) -> list[ColumnElement[bool]]:
    """Which sessions are meant. Raises FilterError."""
    s = sessions.c
    found: list[ColumnElement[bool]] = []
    if search:
        found.append(or_(_contains(s.session_id, search), _contains(s.session_name, search)))
    if name is not None:
        found.append(s.session_name == name)
    if where is not None:
        # Not correlated: SQLite would go through the calls of a model once for each session.
        matching = select(_r.session_id, func.coalesce(_r.session_name, "")).where(clause(where))
        found.append(tuple_(s.session_id, s.session_name).in_(matching))
    if start is not None:
        found.append(s.last_us >= micros(start))
    if end is not None:
        found.append(s.first_us <= micros(end))
    return found


def users_of(session_id: str, session_name: str) -> Select[Any]:
    """The users of a session, at most 20."""
    u = session_users.c
    return (
        select(u.user_id)
        .where(u.session_id == session_id, u.session_name == session_name)
        .order_by(u.user_id)
        .limit(20)
    )


def facet_values(kind: str, name: str, prefix: str) -> Select[Any]:
    """The values of a facet, the most frequent first."""
    f = facets.c
    query = select(f.value, f.count).where(f.kind == kind, f.name == name)
    if prefix:
        query = query.where(f.value.ilike(f"{_escaped(prefix)}%", escape="\\"))
    return query.order_by(f.count.desc(), f.value)
