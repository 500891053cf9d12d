"""What is counted, summed and averaged over many exchanges, written once for every engine in SQLAlchemy Core.

Sums and averages are of what is known: None where there are calls and of none of them it is known. Input and output
tokens are totals, caches, audio and reasoning included, so that both together are all tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, cast, func, literal, or_, select, union_all
from sqlalchemy.sql.sqltypes import BigInteger, Float

from heliconnect.exchange import End
from heliconnect.store import tables
from heliconnect.store.filters import All, Filter, FilterError, Leaf
from heliconnect.store.filters import Any as AnyOf
from heliconnect.store.grid import Grid
from heliconnect.store.histogram import Histogram, histogram_of
from heliconnect.store.queries import clause, compared, instant
from heliconnect.store.session_measures import SessionMeasures

__all__ = ["KEYS", "MEASURES", "QUANTILES", "Group", "Measures", "Question", "of_no_calls"]

MAX_GROUPS = 100_000
QUANTILES = (0.75, 0.9, 0.95, 0.99)
_r = tables.requests.c
# Aliases, so that the tables of the same name inside of a filter stay the filter's own.
_named = tables.properties.alias("named")
_noted = tables.notes.alias("noted")
_DAY_US = 86_400_000_000
_ERRORS = (str(End.CUT), str(End.TIMEOUT), str(End.UNREACHABLE))
_IS_ERROR = or_(
    _r.ended.in_(_ERRORS),
    and_(_r.ended.not_in((*_ERRORS, str(End.CANCELLED))), or_(_r.status.is_(None), _r.status >= 400)),
)


def _sum_of(*columns: ColumnElement[Any]) -> ColumnElement[Any]:
    """The sum of what is known of one call, NULL where nothing is."""
    known = or_(*(column.is_not(None) for column in columns))
    first, *others = (func.coalesce(column, 0) for column in columns)
    total: ColumnElement[Any] = first
    for other in others:
        total = total + other
    return case((known, total))


_INPUT = _sum_of(
    _r.input_tokens, _r.cache_read_tokens, _r.cache_write_tokens, _r.cache_write_1h_tokens, _r.input_audio_tokens
)
_OUTPUT = _sum_of(_r.output_tokens, _r.reasoning_tokens, _r.output_audio_tokens)
_VALUES: dict[str, ColumnElement[Any]] = {
    "latency_ms": _r.latency_ms,
    "first_byte_ms": _r.first_byte_ms,
    "input_tokens": _INPUT,
    "output_tokens": _OUTPUT,
    "total_tokens": _r.total_tokens,
}
_SUMS: dict[str, ColumnElement[Any]] = {
    "cost_usd": _r.cost_nano,
    "input_tokens": _INPUT,
    "output_tokens": _OUTPUT,
    "total_tokens": _r.total_tokens,
    "plain_input_tokens": _r.input_tokens,
    "plain_output_tokens": _r.output_tokens,
    "reasoning_tokens": _r.reasoning_tokens,
    "cache_read_tokens": _r.cache_read_tokens,
    "cache_write_tokens": _sum_of(_r.cache_write_tokens, _r.cache_write_1h_tokens),
}
_COUNTS: dict[str, ColumnElement[Any]] = {
    "requests": func.count(),
    "errors": func.coalesce(func.sum(case((_IS_ERROR, 1), else_=0)), 0),
    "rate_limited": func.coalesce(func.sum(case((_r.status == 429, 1), else_=0)), 0),
    "users": func.count(_r.user_id.distinct()),
}
_OTHERS: dict[str, ColumnElement[Any]] = {
    **{f"average_{name}": func.avg(value) for name, value in _VALUES.items()},
    "first_at": func.min(_r.started_us),
    "last_at": func.max(_r.started_us),
}
MEASURES = (*_COUNTS, *_SUMS, *_OTHERS, "days", "requests_per_day")
KEYS = ("user_id", "model", "provider", "status", "session_id", "session_name", "session_path", "property", "time")


@dataclass(frozen=True, slots=True)
class Question:
    """What to measure, and over which calls.

    of are names of MEASURES, by of KEYS: one group for each of their values. "time" needs a grid and gives the number
    of its span; "property" needs the property's name, and calls that lack it are left out. having filters groups by
    their measures. sort is a measure or a key. Without a limit all groups are given. Days begin at midnight of a clock
    that is offset_min behind UTC.
    """

    of: tuple[str, ...]
    by: tuple[str, ...] = ()
    where: Filter | None = None
    having: Filter | None = None
    grid: Grid | None = None
    property: str = ""
    sort: str = "requests"
    descending: bool = True
    limit: int | None = None
    offset: int = 0
    offset_min: float = 0


@dataclass(frozen=True, slots=True)
class Group:
    """The measures of one group, by name. by are the values of its keys, in the question's order."""

    by: tuple[Any, ...]
    of: dict[str, Any]


class Measures:
    """Answers questions. read gives the rows of a query, and raises as the store's methods do."""

    def __init__(self, read: Callable[[Any], Sequence[Any]]) -> None:
        self._read = read
        self.sessions = SessionMeasures(read)

    def groups(self, question: Question) -> list[Group]:
        """One group for each value of the keys, the largest first; without keys one group, of calls or of none.

        Raises FilterError for a question that makes no sense.
        """
        names = dict.fromkeys(("requests", *question.of))
        query, keys, measures = _grouped(question, tuple(names))
        order = {**measures, **keys}.get(question.sort)
        if order is None:
            raise FilterError(f"unknown sort {question.sort!r}: expected one of {', '.join((*measures, *keys))}")
        directed = order.desc() if question.descending else order.asc()
        limit = MAX_GROUPS + 1 if question.limit is None else question.limit
        rows = self._read(query.order_by(directed.nulls_last(), *keys.values()).limit(limit).offset(question.offset))
        if question.limit is None and len(rows) > MAX_GROUPS:
            raise FilterError(f"there are more than {MAX_GROUPS} groups: narrow the filter, or choose longer spans")
        width = len(keys)
        return [Group(tuple(row[:width]), _measured(dict(zip(names, row[width:], strict=True)))) for row in rows]

    def count(self, question: Question) -> int:
        """How many groups there are, whatever the question's limit."""
        query, _, _ = _grouped(question, ("requests",))
        return int(self._read(select(func.count()).select_from(query.subquery()))[0][0])

    def quantiles(self, value: str, where: Filter | None, grid: Grid) -> dict[int, tuple[float, ...]]:
        """The QUANTILES of a value by the span of the grid, for spans where it is known: values that occur.

        Raises FilterError for a value that is not one of latency_ms, first_byte_ms, input_, output_, total_tokens.
        """
        column = _VALUES.get(value)
        if column is None:
            raise FilterError(f"unknown metric {value!r}: expected one of {', '.join(_VALUES)}")
        span = _span_of(grid)
        one = select(span.label("span"), column.label("value")).where(column.is_not(None), *_conditions(where, grid))
        c = one.subquery().c
        ranked = select(
            c.span,
            c.value,
            func.row_number().over(partition_by=c.span, order_by=c.value).label("rank"),
            func.count().over(partition_by=c.span).label("count"),
        ).subquery()
        picked = [func.min(case((ranked.c.rank >= ranked.c.count * q, ranked.c.value))) for q in QUANTILES]
        found = self._read(select(ranked.c.span, *picked).group_by(ranked.c.span))
        return {row[0]: tuple(row[1:]) for row in found}

    def histogram(self, measure: str, question: Question, quantile: float, *, is_two_sided: bool = False) -> Histogram:
        """How a measure is spread over the groups of a question where it is known; see `histogram_of`."""
        query, _, measures = _grouped(question, (measure,))
        value = cast(measures[measure], Float) / (1e9 if measure == "cost_usd" else 1.0)
        named = query.with_only_columns(value.label("value")).subquery()
        values = select(named.c.value).where(named.c.value.is_not(None))
        return histogram_of(values, quantile, self._read, is_two_sided=is_two_sided)

    def scores(self, where: Filter | None, grid: Grid) -> list[tuple[int, str, float]]:
        """The average of each score by the span of the grid: the span, the score's name, the average."""
        span, n = _span_of(grid).label("span"), _noted.c
        query = (
            select(span, n.name, func.avg(cast(n.value, Float)))
            .select_from(tables.requests.join(_noted, and_(n.subject == _r.request_id, n.kind == "score")))
            .where(*_conditions(where, grid))
            .group_by(span, n.name)
            .order_by(span, n.name)
        )
        return [(row[0], row[1], row[2]) for row in self._read(query)]

    def property_values(self, name: str, contains: str, limit: int) -> list[str]:
        """Values of a property that contain a text, in any case, the most frequent first."""
        f = tables.facets.c
        found = compared(f.value, "contains", contains)
        query = select(f.value).where(f.kind == "property", f.name == name, found).order_by(f.count.desc(), f.value)
        return [row[0] for row in self._read(query.limit(limit))]

    def by_provider_and_model(self) -> list[Group]:
        """All calls ever stored by provider and model, in the order of their first occurrence; read from rollups.

        Those whose records were removed since are counted as well.

        Counts "requests", "errors", "unpriced" and sums "cost_usd", "input_tokens", "output_tokens", where what is
        unknown counts as nothing.
        """
        names = ("count", "errors", "unpriced", "cost_nano", "input_tokens", "output_tokens")
        chosen = ("provider", "model", "bucket_s", *names)
        stored = select(*(tables.rollups.c[name] for name in chosen)).where(tables.rollups.c.grain_s == 3_600)
        u = union_all(stored, select(*(tables.removed.c[name] for name in chosen))).subquery().c
        query = (
            select(u.provider, u.model, *(func.sum(u[name]) for name in names))
            .group_by(u.provider, u.model)
            .order_by(func.min(u.bucket_s), u.provider, u.model)
        )
        return [
            Group(
                (row[0] or None, row[1] or None),
                {
                    "requests": row[2],
                    "errors": row[3],
                    "unpriced": row[4],
                    "cost_usd": tables.dollars(row[5]),
                    "input_tokens": row[6],
                    "output_tokens": row[7],
                },
            )
            for row in self._read(query)
        ]


def _grouped(
    question: Question, names: tuple[str, ...]
) -> tuple[Select[Any], dict[str, ColumnElement[Any]], dict[str, ColumnElement[Any]]]:
    """The query, its keys and its measures, without order and limit."""
    keys = {name: _key(name, question) for name in question.by}
    known = _measures(question.offset_min)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise FilterError(f"unknown measure {unknown[0]!r}: expected one of {', '.join(known)}")
    measures = {name: known[name] for name in names}
    query = select(*keys.values(), *measures.values()).where(*_conditions(question.where, question.grid))
    if "property" in question.by:
        is_it = and_(_named.c.key == _r.key, _named.c.name == question.property.lower())
        query = query.select_from(tables.requests.join(_named, is_it))
    else:
        query = query.select_from(tables.requests)
    query = query.group_by(*keys.values())
    if question.having is not None:
        query = query.having(_having(question.having, known))
    return query, keys, measures


def _key(name: str, question: Question) -> ColumnElement[Any]:
    if name not in KEYS:
        raise FilterError(f"unknown key {name!r}: expected one of {', '.join(KEYS)}")
    if name == "time":
        if question.grid is None:
            raise FilterError("expected a grid for the key time")
        return _span_of(question.grid)
    return _named.c.value if name == "property" else _r[name]


def _measures(offset_min: float) -> dict[str, ColumnElement[Any]]:
    days = func.count(((_r.started_us - round(offset_min * 60_000_000)) // _DAY_US).distinct())
    sums = {name: func.sum(column) for name, column in _SUMS.items()}
    return {**_COUNTS, **sums, **_OTHERS, "days": days, "requests_per_day": cast(func.count(), Float) / days}


def _conditions(where: Filter | None, grid: Grid | None) -> list[ColumnElement[bool]]:
    found = [] if where is None else [clause(where)]
    if grid is not None:
        found += [_r.started_us >= grid.edges_us[0], _r.started_us < grid.edges_us[-1]]
    return found


def _span_of(grid: Grid) -> ColumnElement[Any]:
    """The number of the span that a call began in."""
    if grid.width_us is not None:
        return cast((_r.started_us - grid.edges_us[0]) // grid.width_us, BigInteger)
    newest_first = range(len(grid.edges_us) - 2, -1, -1)
    return case(*((_r.started_us >= grid.edges_us[n], n) for n in newest_first))


def _having(where: Filter, measures: dict[str, ColumnElement[Any]]) -> ColumnElement[bool]:
    match where:
        case All(of):
            return and_(literal(True), *(_having(one, measures) for one in of))
        case AnyOf(of):
            return or_(literal(False), *(_having(one, measures) for one in of))
        case Leaf(column, operator, value):
            found = measures.get(column)
            if found is None:
                raise FilterError(f"unknown measure {column!r}: expected one of {', '.join(measures)}")
            if column == "cost_usd":
                found = cast(found, Float) / 1e9
            return compared(found, operator, instant(value) if column.endswith("_at") else value)


def of_no_calls(name: str) -> Any:
    """A measure over no calls: 0 for what is counted or summed, None for an average or a moment."""
    if name == "cost_usd":
        return Decimal(0)
    return 0 if name in {*_COUNTS, *_SUMS, "days"} else None


def _measured(row: dict[str, Any]) -> dict[str, Any]:
    """The measures as they are told: money in dollars, moments as moments."""
    if row["requests"] == 0:
        return {name: of_no_calls(name) for name in row}
    for name, value in row.items():
        if name == "cost_usd":
            row[name] = tables.dollars(value)
        elif name in {"first_at", "last_at"} and value is not None:
            row[name] = tables.moment(value)
    return row
