"""The filters of the requests page: URL <-> `Query` -> the store's filter. Pure.

Everything a reader chose is in the URL, so that every view is a link: `?q=`, `model`, `status` (ok, errors, or a code),
`user`, `session`, `property=key=value` (several), `range` (15m, 1h, 24h, 7d, 30d), `since` and `until` (ISO
8601). What cannot be read is ignored, and not shown as a filter.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from heliconnect.exchange import End
from heliconnect.store.filters import All, Any, Filter, Leaf, both

__all__ = ["RANGES", "Chip", "Query"]

RANGES = {
    "15m": ("Last 15 minutes", timedelta(minutes=15)),
    "1h": ("Last hour", timedelta(hours=1)),
    "24h": ("Last 24 hours", timedelta(hours=24)),
    "7d": ("Last 7 days", timedelta(days=7)),
    "30d": ("Last 30 days", timedelta(days=30)),
}
MAX_VALUE = 500
MAX_PROPERTIES = 8
_FAILED = tuple(str(end) for end in (End.CUT, End.TIMEOUT, End.UNREACHABLE))
_ERRORS = Any(
    (
        *(Leaf("ended", "equals", end) for end in _FAILED),
        All(
            (
                Leaf("ended", "equals", str(End.DONE)),
                Any((Leaf("status", "is-unknown", True), Leaf("status", "gte", 400))),
            )
        ),
    )
)
_OK = All((Leaf("ended", "equals", str(End.DONE)), Leaf("status", "lt", 400)))
_STATUS_NAMES = {"ok": "ok", "errors": "errors", "-1": "timeout (-1)", "-3": "cancelled (-3)"}


@dataclass(frozen=True, slots=True)
class Chip:
    """One active filter as it is shown, and the query without it."""

    label: str
    value: str
    without: Query


@dataclass(frozen=True, slots=True)
class Query:
    """What the reader asked to see; None where any value will do."""

    text: str | None = None
    model: str | None = None
    status: str | None = None
    user: str | None = None
    session: str | None = None
    properties: tuple[tuple[str, str], ...] = ()
    range: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    @classmethod
    def read(cls, pairs: Iterable[tuple[str, str]]) -> Query:
        """The query of a URL's parameters; unknown and unreadable ones are ignored."""
        found: dict[str, str] = {}
        named: list[tuple[str, str]] = []
        for name, raw in pairs:
            value = raw.replace("\0", "").strip()[:MAX_VALUE]  # SQL ends a pattern at NUL
            key, equals, wanted = value.partition("=")
            if name == "property" and key and equals and len(named) < MAX_PROPERTIES:
                named.append((key.strip(), wanted.strip()))
            elif value:
                found[name] = value
        status = found.get("status")
        return cls(
            text=found.get("q"),
            model=found.get("model"),
            status=status if status in {"ok", "errors"} or _is_code(status) else None,
            user=found.get("user"),
            session=found.get("session"),
            properties=tuple(dict.fromkeys(named)),
            range=found["range"] if found.get("range") in RANGES else None,
            since=_moment(found.get("since")),
            until=_moment(found.get("until")),
        )

    def pairs(self) -> list[tuple[str, str]]:
        """The URL parameters that `read` turns back into this query."""
        plain = {
            "q": self.text,
            "model": self.model,
            "status": self.status,
            "user": self.user,
            "session": self.session,
            "range": self.range,
            "since": self.since and self.since.isoformat(),
            "until": self.until and self.until.isoformat(),
        }
        given = [(name, value) for name, value in plain.items() if value]
        return given + [("property", f"{name}={value}") for name, value in self.properties]

    def encoded(self, **more: str | int | None) -> str:
        """The query as a URL's query string, with more parameters behind it; "" for none."""
        extra = [(name, str(value)) for name, value in more.items() if value is not None]
        return urlencode(self.pairs() + extra)

    def chips(self) -> list[Chip]:
        """The active filters, each with the query that remains when it is taken away."""
        found: list[Chip] = []
        if self.text:
            found.append(Chip("contains", self.text, replace(self, text=None)))
        if self.model:
            found.append(Chip("model", self.model, replace(self, model=None)))
        if self.status:
            found.append(Chip("status", _STATUS_NAMES.get(self.status, self.status), replace(self, status=None)))
        if self.user:
            found.append(Chip("user", self.user, replace(self, user=None)))
        if self.session:
            found.append(Chip("session", self.session, replace(self, session=None)))
        for one in self.properties:
            rest = tuple(other for other in self.properties if other != one)
            found.append(Chip(one[0], one[1], replace(self, properties=rest)))
        if self.range:
            found.append(Chip("time", RANGES[self.range][0].lower(), replace(self, range=None)))
        if self.since:
            found.append(Chip("since", f"{self.since:%Y-%m-%d %H:%M} UTC", replace(self, since=None)))
        if self.until:
            found.append(Chip("until", f"{self.until:%Y-%m-%d %H:%M} UTC", replace(self, until=None)))
        return found

    def where(self, now: datetime) -> Filter | None:
        """The store's filter; None when every request matches."""
        plain = (("model", self.model), ("user_id", self.user), ("session_id", self.session))
        leaves: list[Filter | None] = [Leaf(column, "equals", value) for column, value in plain if value]
        if self.text:
            leaves.append(Any((Leaf("text", "contains", self.text), Leaf("request_id", "contains", self.text))))
        if self.status:
            leaves.append(_status(self.status))
        leaves += [Leaf("property", "equals", value, name) for name, value in self.properties]
        since = now - RANGES[self.range][1] if self.range else None
        for operator, moment in (("gte", since), ("gte", self.since), ("lte", self.until)):
            if moment is not None:
                leaves.append(Leaf("started_at", operator, moment.isoformat()))
        return both(*leaves)


def _status(status: str) -> Filter:
    if status in {"ok", "errors"}:
        return _OK if status == "ok" else _ERRORS
    return Leaf("status", "equals", int(status))


def _is_code(text: str | None) -> bool:
    return text is not None and len(text) <= 4 and text.isascii() and text.removeprefix("-").isdigit()


def _moment(text: str | None) -> datetime | None:
    try:
        found = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    if found is None:
        return None
    try:
        return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:
        return None
