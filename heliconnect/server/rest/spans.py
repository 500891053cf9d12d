"""Spans of time as Helicone's clients write them: ISO 8601 text, Unix seconds or Unix milliseconds."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from heliconnect.errors import MissingExtraError
from heliconnect.store.filters import Filter, FilterError, Leaf, both
from heliconnect.store.grid import Grid

try:
    from pydantic import BaseModel, ConfigDict, Field
except ImportError as exc:
    raise MissingExtraError("heliconnect.server.rest", "server") from exc

__all__ = ["Body", "ChartBody", "IsoSpan", "MillisecondSpan", "SecondSpan", "iso_moment", "unix_moment", "within"]


class Body(BaseModel):
    """A request's body. Fields that are unknown here are ignored."""

    model_config = ConfigDict(extra="ignore")


class IsoSpan(Body):
    """From `start` to `end`, both included; ISO 8601 text or milliseconds since 1970."""

    start: str | float
    end: str | float


class MillisecondSpan(Body):
    """A span of time, in milliseconds since 1970."""

    startTimeUnixMs: float | None = None  # noqa: N815 - Helicone's spelling
    endTimeUnixMs: float | None = None  # noqa: N815 - as above


class SecondSpan(Body):
    """A span of time, in seconds since 1970."""

    startTimeUnixSeconds: float | None = None  # noqa: N815 - Helicone's spelling
    endTimeUnixSeconds: float | None = None  # noqa: N815 - as above


class ChartBody(Body):
    """The body of a chart. timeZoneDifference is how far the reader's clock is behind UTC, in minutes."""

    filter: Any = "all"
    timeFilter: IsoSpan  # noqa: N815 - Helicone's spelling
    dbIncrement: str = "hour"  # noqa: N815 - as above
    timeZoneDifference: float = Field(0, ge=-1440, le=1440)  # noqa: N815 - as above

    def grid(self) -> Grid:
        """The chart's spans. Raises FilterError."""
        start, end = iso_moment(self.timeFilter.start), iso_moment(self.timeFilter.end)
        return Grid.over(start, end, self.dbIncrement, self.timeZoneDifference)


def iso_moment(value: str | float) -> datetime:
    """A moment from ISO 8601 text, UTC where it names no zone, or from milliseconds. Raises FilterError."""
    if not isinstance(value, str):
        return _moment(value / 1000, value)
    try:
        found = datetime.fromisoformat(value)
        return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise FilterError(f"expected an ISO 8601 time such as 2026-03-01T12:00:00Z, got {value[:64]!r}") from error


def unix_moment(seconds: float | None) -> datetime | None:
    """A moment from seconds since 1970; None for None. Raises FilterError."""
    return None if seconds is None else _moment(seconds, seconds)


def _moment(seconds: float, value: float) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise FilterError(f"expected a time since 1970, got {value!r}") from error


def within(start: datetime | None, end: datetime | None) -> Filter | None:
    """The calls that began in a span, its ends included; None for a span without ends."""
    first = None if start is None else Leaf("started_at", "gte", start.isoformat())
    return both(first, None if end is None else Leaf("started_at", "lte", end.isoformat()))
