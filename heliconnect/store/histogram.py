"""How values are spread: bins, counted by the engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, case, cast, func, select
from sqlalchemy.sql.sqltypes import Integer

__all__ = ["Bin", "Histogram", "histogram_of"]

BINS = 10


@dataclass(frozen=True, slots=True)
class Bin:
    """How many values lie from `start` on and below `end`; the last bin includes its end."""

    start: float
    end: float
    count: int


@dataclass(frozen=True, slots=True)
class Histogram:
    """How a value is spread: at most ten bins of one width, and the average over all values, None for none."""

    bins: tuple[Bin, ...]
    average: float | None


def histogram_of(
    values: Select[Any], quantile: float, read: Callable[[Any], Sequence[Any]], *, is_two_sided: bool
) -> Histogram:
    """How the values of a query with one column, "value", are spread; unknown ones are left out of it.

    Values above the quantile are left out of the bins, and below its counterpart too where it is two-sided.
    """
    v = values.subquery().c
    ranked = select(
        v.value, func.row_number().over(order_by=v.value).label("rank"), func.count().over().label("count")
    ).subquery()
    reached = ranked.c.rank
    upper = func.min(case((reached >= ranked.c.count * quantile, ranked.c.value)))
    lower = func.min(case((reached >= ranked.c.count * (1 - quantile), ranked.c.value)))
    ((least, low, high, average),) = read(select(func.min(ranked.c.value), lower, upper, func.avg(ranked.c.value)))
    if high is None:
        return Histogram((), None)
    begin = low if is_two_sided else least
    begin, high = min(begin, high), max(begin, high)
    width = (high - begin) / BINS
    inside = select(v.value).where(v.value >= begin, v.value <= high).subquery().c.value
    if width <= 0:
        ((count,),) = read(select(func.count(inside)))
        return Histogram((Bin(begin, high, count),), average)
    number = case((inside >= high, BINS - 1), else_=cast((inside - begin) / width, Integer)).label("bin")
    found = {row[0]: row[1] for row in read(select(number, func.count()).group_by(number))}
    bins = (Bin(begin + n * width, begin + (n + 1) * width, found.get(n, 0)) for n in range(BINS))
    return Histogram(tuple(bins), average)
