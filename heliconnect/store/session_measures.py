"""What is counted and summed over many sessions; read from the table that is kept on insert."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, cast, func, select
from sqlalchemy.sql.sqltypes import Float

from heliconnect.store import tables
from heliconnect.store.filters import Filter, FilterError
from heliconnect.store.histogram import Histogram, histogram_of
from heliconnect.store.queries import compared, session_conditions

__all__ = ["SESSION_VALUES", "SessionChoice", "SessionMeasures", "SessionName", "SessionTotals"]

_s = tables.sessions.c
SESSION_VALUES: dict[str, ColumnElement[Any]] = {
    "requests": cast(_s.requests, Float),
    "duration_s": cast(_s.last_us - _s.first_us, Float) / 1e6,
    "cost_usd": cast(_s.cost_nano, Float) / 1e9,
}


@dataclass(frozen=True, slots=True)
class SessionChoice:
    """Which sessions are meant, as in `Store.sessions`; name_contains is part of their name, in any case."""

    search: str = ""
    name: str | None = None
    name_contains: str = ""
    where: Filter | None = None
    start: datetime | None = None
    end: datetime | None = None


@dataclass(frozen=True, slots=True)
class SessionTotals:
    """Sums over sessions. cost_usd is the sum of what is known, priced the number of sessions where it is."""

    sessions: int
    requests: int
    cost_usd: Decimal | None
    priced: int
    latency_sum_ms: float


@dataclass(frozen=True, slots=True)
class SessionName:
    """The sessions of one name, which is "" for those without."""

    name: str
    first_at: datetime
    last_at: datetime
    sessions: int
    average_latency_ms: float


class SessionMeasures:
    """Answers questions about sessions. read gives the rows of a query, and raises as the store's methods do."""

    def __init__(self, read: Callable[[Any], Sequence[Any]]) -> None:
        self._read = read

    def totals(self, choice: SessionChoice) -> SessionTotals:
        """Sums over the sessions that are meant. Raises FilterError."""
        query = select(
            func.count(),
            func.coalesce(func.sum(_s.requests), 0),
            func.sum(_s.cost_nano),
            func.count(_s.cost_nano),
            func.coalesce(func.sum(_s.latency_sum_ms), 0.0),
        ).select_from(tables.sessions)
        (row,) = self._read(query.where(*_conditions(choice)))
        cost = Decimal(0) if row[0] == 0 else tables.dollars(row[2])
        return SessionTotals(row[0], row[1], cost, row[3], row[4])

    def names(self, choice: SessionChoice, limit: int = 50) -> list[SessionName]:
        """The names of sessions, the one used last first. Raises FilterError."""
        query = (
            select(
                _s.session_name,
                func.min(_s.first_us),
                func.max(_s.last_us),
                func.count(_s.session_id.distinct()),
                func.sum(_s.latency_sum_ms) / func.sum(_s.requests),
            )
            .where(*_conditions(choice))
            .group_by(_s.session_name)
            .order_by(func.max(_s.last_us).desc(), _s.session_name)
            .limit(limit)
        )
        return [
            SessionName(row[0], tables.moment(row[1]), tables.moment(row[2]), row[3], row[4])
            for row in self._read(query)
        ]

    def histogram(self, value: str, choice: SessionChoice, quantile: float, *, is_two_sided: bool = False) -> Histogram:
        """How one of SESSION_VALUES is spread over the sessions where it is known.

        Sessions above the quantile are left out of the bins, and below its counterpart too where it is two-sided.
        Raises FilterError.
        """
        column = SESSION_VALUES.get(value)
        if column is None:
            raise FilterError(f"unknown value {value!r}: expected one of {', '.join(SESSION_VALUES)}")
        values = select(column.label("value")).where(column.is_not(None), *_conditions(choice))
        return histogram_of(values, quantile, self._read, is_two_sided=is_two_sided)


def _conditions(choice: SessionChoice) -> list[ColumnElement[bool]]:
    found = session_conditions(choice.search, choice.name, choice.where, choice.start, choice.end)
    if choice.name_contains:
        found.append(compared(_s.session_name, "contains", choice.name_contains))
    return found
