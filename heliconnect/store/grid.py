"""Spans of time, one behind the other, that charts are made of. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

from heliconnect.store.filters import FilterError
from heliconnect.store.tables import micros, moment

__all__ = ["INCREMENTS", "MAX_SPANS", "Grid"]

MAX_SPANS = 25_000
_WIDTHS_S = {"min": 60, "hour": 3_600, "day": 86_400, "week": 7 * 86_400}
INCREMENTS = (*_WIDTHS_S, "month", "year")
_MONDAY_S = -3 * 86_400  # 1970 began on a Thursday
_MAX_MONTHS = 1_200
_YEARS = range(1970, 3001)
_SECOND = 1_000_000


@dataclass(frozen=True, slots=True)
class Grid:
    """The spans of a time: span n begins at edges_us[n] and ends before edges_us[n + 1], in microseconds since 1970.

    width_us is the width of all spans; None for months and years, which differ.
    """

    edges_us: tuple[int, ...]
    width_us: int | None

    @classmethod
    def over(cls, start: datetime, end: datetime, increment: str, offset_min: float = 0) -> Grid:
        """The spans that hold all moments from `start` to `end`.

        increment is one of INCREMENTS; weeks begin on Monday. offset_min is how far the reader's clock is behind UTC,
        in minutes, as in JavaScript: days begin at its midnight. Raises FilterError for what makes no grid.
        """
        if increment not in INCREMENTS:
            raise FilterError(f"expected an increment of {', '.join(INCREMENTS)}, got {increment!r}")
        if not -1440 <= offset_min <= 1440:
            raise FilterError(f"a time zone differs from UTC by at most 1440 minutes, got {offset_min}")
        if start.year not in _YEARS or end.year not in _YEARS:
            raise FilterError(f"expected times between {_YEARS[0]} and {_YEARS[-1]}")
        if end < start:
            raise FilterError("expected a time that ends after it starts")
        shift = round(offset_min * 60) * _SECOND
        first, last = micros(start) - shift, micros(end) - shift
        width = _WIDTHS_S.get(increment)
        if width is None:
            edges = _months(first, last, 12 if increment == "year" else 1)
            return cls(tuple(edge + shift for edge in edges), None)
        edges = _even(first, last, width * _SECOND, _MONDAY_S * _SECOND if increment == "week" else 0)
        return cls(tuple(edge + shift for edge in edges), width * _SECOND)

    @property
    def starts(self) -> list[datetime]:
        """When each span begins."""
        return [moment(edge) for edge, _ in pairwise(self.edges_us)]


def _even(first: int, last: int, width: int, origin: int) -> list[int]:
    begin = first - (first - origin) % width
    count = (last - begin) // width + 1
    if count > MAX_SPANS:
        raise FilterError(f"a chart may have {MAX_SPANS} spans, this one would have {count}: choose a longer increment")
    return [begin + width * n for n in range(count + 1)]


def _months(first: int, last: int, step: int) -> list[int]:
    begin, end = moment(first), moment(last)
    month = (begin.year * 12 + begin.month - 1) // step * step
    months = range(month, end.year * 12 + end.month, step)
    if len(months) > _MAX_MONTHS:
        raise FilterError(f"a chart may have {_MAX_MONTHS} months or years: choose a shorter time")
    return [_month(n) for n in (*months, months[-1] + step)]


def _month(months: int) -> int:
    return micros(datetime(months // 12, months % 12 + 1, 1, tzinfo=UTC))
