"""What every engine offers: the `Store` protocol and the records it takes and gives.

Keys count up in the order of arrival: what has a larger key arrived later, so lists page and tail by key. A request id
may stand twice (a caller may send it twice, and both calls happened); `get` gives the one that arrived last.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from heliconnect.exchange import Exchange
from heliconnect.store.filters import Filter
from heliconnect.store.hql import Hql
from heliconnect.store.measures import Measures

__all__ = ["Facet", "Mark", "Note", "Row", "SessionRow", "Store"]


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a spool segment is stored: the offset behind the last stored frame, in bytes."""

    segment: str
    offset: int


@dataclass(frozen=True, slots=True)
class Row:
    """An exchange and its key. In lists its bodies and headers are left out."""

    key: int
    exchange: Exchange


@dataclass(frozen=True, slots=True)
class Facet:
    """A value that occurs, and how often."""

    value: str
    count: int


@dataclass(frozen=True, slots=True)
class Note:
    """Something said of a record or a session afterwards.

    subject is its id. kind is "feedback" ("true" or "false"), "score" (a number as text, by name), "property" (by
    name), "session-feedback" or "session-tag". at_us is when, in microseconds since 1970.
    """

    subject: str
    kind: str
    name: str
    value: str
    at_us: int


@dataclass(frozen=True, slots=True)
class SessionRow:
    """All calls that share a session id and name, as Helicone groups them.

    ended_at is the end of the call that ended last. cost_usd and the tokens are the sums of what is known; unpriced
    counts the calls whose cost is not. users are at most 20.
    """

    session_id: str
    session_name: str | None
    started_at: datetime
    ended_at: datetime
    requests: int
    errors: int
    cost_usd: Decimal | None
    unpriced: int
    input_tokens: int | None
    output_tokens: int | None
    latency_sum_ms: float
    users: tuple[str, ...]


class Store(Protocol):
    """Exchanges on disk. Reading is safe from any thread; appending from one.

    measures counts and sums over many of them; hql answers a caller's own SQL.
    """

    measures: Measures
    hql: Hql

    def append(self, batch: Sequence[Exchange], mark: Mark | None = None) -> None:
        """Keep `batch` and the position of the spool behind it, both or neither.

        Raises StoreError when nothing could be kept.
        """

    def append_new(self, batch: Sequence[Exchange]) -> int:
        """Keep those of `batch` whose request id is not stored yet, feedback and scores included; gives how many.

        Of those with the same id the first is kept. Raises StoreError when nothing could be kept.
        """

    def would_take(self, exchange: Exchange) -> bool:
        """Whether this exchange could be kept: tried and undone.

        Raises StoreError when the store has trouble of its own, so that nothing can be said about the exchange.
        """

    def annotate(self, notes: Sequence[Note]) -> None:
        """Keep notes, each in the place of one of the same subject, kind and name; the record need not be there yet.

        Raises StoreError when none could be kept.
        """

    def notes(self, subject: str) -> list[Note]:
        """What was said of a record or a session."""

    def mark(self, segment: str) -> int:
        """How far a spool segment is stored, in bytes; 0 for one that is unknown."""

    def forget_segment(self, segment: str) -> None:
        """The segment was deleted: its position is not needed any more."""

    def page(
        self,
        where: Filter | None = None,
        *,
        before: int | None = None,
        after: int | None = None,
        limit: int = 50,
        offset: int = 0,
        sort: str = "key",
        newest_first: bool = True,
    ) -> list[Row]:
        """Exchanges that match, newest first: with smaller keys than `before`, with larger ones than `after`.

        sort is "key", "started_at", "latency_ms", "cost_usd", "total_tokens", "user_id", "model" or "first_byte_ms".
        Raises FilterError for a query that makes no sense or takes too long, StoreError for a store that fails; so do
        the other methods that read.
        """

    def count(self, where: Filter | None = None, cap: int | None = None) -> int:
        """How many exchanges match; counting stops at `cap`."""

    def get(self, request_id: str) -> Row | None:
        """The exchange with this request id, bodies and headers included."""

    def with_bodies(self, rows: Sequence[Row]) -> list[Row]:
        """The same rows, bodies and headers included."""

    def neighbours(self, key: int) -> tuple[str | None, str | None]:
        """The request ids of the exchanges that arrived before and after this one."""

    def last_key(self) -> int:
        """The largest key; 0 for an empty store."""

    def session(self, session_id: str, session_name: str | None = None, *, limit: int = 2_000) -> list[Row]:
        """The calls of a session in the order of their start; of all names where none is given."""

    def sessions(
        self,
        *,
        search: str = "",
        name: str | None = None,
        where: Filter | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        limit: int = 50,
        offset: int = 0,
    ) -> list[SessionRow]:
        """Sessions, the one used last first; with `where`, those with a call that matches.

        start and end: sessions with calls in that time.
        """

    def facets(self, kind: str, name: str = "", *, prefix: str = "", limit: int = 50) -> list[Facet]:
        """The values of a kind ("model", "user", "provider", "property-name", or "property" with its name)."""

    def count_before(self, moment: datetime, *, bodies_only: bool = False) -> int:
        """How many exchanges `remove_before` would remove, or take the bodies of."""

    def remove_before(self, moment: datetime, *, bodies_only: bool = False) -> Iterator[int]:
        """Remove the exchanges that began before `moment`, step by step: each step gives how many it removed.

        With bodies_only what was said goes, bodies and previews, and the rest stays. What is kept on insert agrees with
        what is left after each step, and others may write between two. Raises StoreError when a step fails.
        """

    def shrink(self, *, rewrite: bool = False) -> int:
        """Give the space of what was removed back to the disk; gives the bytes that stay free for records to come.

        rewrite may write the whole store anew for it, while nobody else uses it. Raises StoreError when that fails.
        """

    def close(self) -> None:
        """Let go of all files."""
