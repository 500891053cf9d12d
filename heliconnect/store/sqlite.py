"""The embedded engine: SQLite in WAL mode. One connection writes, others only read; several processes may.

Decided by measurement: nothing to install, crash-safe, point reads in a tenth of a millisecond.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import zstandard
from sqlalchemy import Connection, Engine, column, create_engine, delete, event, func, select, table
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import DataError, IntegrityError, InterfaceError, ProgrammingError, SQLAlchemyError
from sqlalchemy.pool import QueuePool, StaticPool

from heliconnect.errors import StoreError
from heliconnect.exchange import Exchange
from heliconnect.store import queries, space, tables
from heliconnect.store.base import Facet, Mark, Note, Row, SessionRow
from heliconnect.store.filters import Filter, FilterError, Leaf, both
from heliconnect.store.hql import Hql
from heliconnect.store.keeping import add_sums
from heliconnect.store.measures import Measures
from heliconnect.store.migrations import check, migrate
from heliconnect.store.notes import annotated, keep, notes_in, notes_of, with_properties
from heliconnect.store.pruning import Position, count_before, remove_step
from heliconnect.store.sqlite_hql import SqliteHql

__all__ = ["READ_S", "SqliteStore"]

_BUSY_MS = 5_000
_ZSTD_LEVEL = 3
READ_S = 10.0
_STEPS = 5_000
# What a record's values can do, in contrast to trouble of the store.
_UNFIT = (IntegrityError, DataError, InterfaceError, ProgrammingError, ValueError, TypeError, ArithmeticError)
_TROUBLE = (SQLAlchemyError, sqlite3.Error, *_UNFIT)
# SQLite's own memory of the largest key ever given: keys of removed records are not given again.
_sequence = table("sqlite_sequence", column("seq"), column("name"))


class SqliteStore:
    """A `Store` in one SQLite file (and the two beside it that WAL mode makes)."""

    def __init__(self, path: Path, *, read_only: bool = False, read_s: float = READ_S) -> None:
        self._path = path
        self._read_s = read_s
        self._lock = threading.Lock()
        self._packer = zstandard.ZstdCompressor(level=_ZSTD_LEVEL)
        self._reader = _engine(path, "ro", QueuePool, pool_size=4, max_overflow=4)
        self._writer: Engine | None = None
        self.measures = Measures(self._all)
        self.hql: Hql = SqliteHql(path, read_s)
        try:
            if not read_only:
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                path.touch(mode=0o600)  # SQLite gives the files beside it the same mode
                self._writer = _engine(path, "rwc", StaticPool)
                with self._writer.connect() as connection:
                    migrate(connection)
            with self._reader.connect() as connection:
                connection.execute(select(tables.requests.c.key).limit(1))
                check(connection)
        except (SQLAlchemyError, OSError) as error:
            self.close()
            raise StoreError(f"the store {path} cannot be opened: {_reason(error)}") from error
        except StoreError:
            self.close()
            raise

    def append(self, batch: Sequence[Exchange], mark: Mark | None = None) -> None:
        writer = self._for_writing()
        try:
            with self._lock, writer.begin() as connection:
                self._insert(connection, batch)
                if mark is not None:
                    row = {"segment": mark.segment, "offset": mark.offset}
                    statement = insert(tables.marks).values(row)
                    connection.execute(statement.on_conflict_do_update(index_elements=["segment"], set_=row))
        except _TROUBLE as error:
            raise StoreError(f"{len(batch)} records could not be kept: {_reason(error)}") from error

    def append_new(self, batch: Sequence[Exchange]) -> int:
        writer = self._for_writing()
        try:
            with self._lock, writer.begin() as connection:
                r = tables.requests.c
                ids = {one.request_id for one in batch}
                known = set(connection.execute(select(r.request_id).where(r.request_id.in_(ids))).scalars())
                fresh = {one.request_id: one for one in reversed(batch) if one.request_id not in known}
                new = list(reversed(fresh.values()))
                self._insert(connection, new)
                for note in notes_in(new):
                    keep(connection, note)
        except _TROUBLE as error:
            raise StoreError(f"{len(batch)} records could not be kept: {_reason(error)}") from error
        return len(new)

    def _for_writing(self) -> Engine:
        if self._writer is None:
            raise StoreError(f"the store {self._path} was opened for reading only")
        return self._writer

    def would_take(self, exchange: Exchange) -> bool:
        if self._writer is None:
            return False
        try:
            with self._lock, self._writer.connect() as connection, connection.begin() as tried:
                self._insert(connection, [exchange])
                tried.rollback()
        except _UNFIT:
            return False
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise StoreError(f"the store {self._path} takes nothing now: {_reason(error)}") from error
        return True

    def _insert(self, connection: Connection, batch: Sequence[Exchange]) -> None:
        if not batch:
            return
        batch = with_properties(connection, batch)
        given = select(_sequence.c.seq).where(_sequence.c.name == tables.requests.name)
        first = (connection.execute(given).scalar() or 0) + 1
        connection.execute(
            tables.requests.insert(), [tables.request_row(one, key) for key, one in enumerate(batch, first)]
        )
        connection.execute(
            tables.bodies.insert(), [tables.body_row(one, key, self._packer) for key, one in enumerate(batch, first)]
        )
        named = [
            {"name": name.lower(), "value": value, "key": key}
            for key, one in enumerate(batch, first)
            for name, value in one.properties.items()
        ]
        if named:
            connection.execute(insert(tables.properties).on_conflict_do_nothing(), named)
        add_sums(connection, batch)

    def annotate(self, notes: Sequence[Note]) -> None:
        writer = self._for_writing()
        try:
            with self._lock, writer.begin() as connection:
                for note in notes:
                    keep(connection, note)
        except _TROUBLE as error:
            raise StoreError(f"a note could not be kept: {_reason(error)}") from error

    def notes(self, subject: str) -> list[Note]:
        return [Note(row.subject, row.kind, row.name, row.value, row.at_us) for row in self._all(notes_of([subject]))]

    def _annotated(self, rows: list[Row]) -> list[Row]:
        if not rows:
            return rows
        exchanges = [row.exchange for row in rows]
        found = annotated(exchanges, self._all(notes_of({one.request_id for one in exchanges})))
        return [Row(row.key, exchange) for row, exchange in zip(rows, found, strict=True)]

    def mark(self, segment: str) -> int:
        row = self._one(select(tables.marks.c.offset).where(tables.marks.c.segment == segment))
        return 0 if row is None else int(row[0])

    def forget_segment(self, segment: str) -> None:
        if self._writer is None:
            return
        try:
            with self._lock, self._writer.begin() as connection:
                connection.execute(delete(tables.marks).where(tables.marks.c.segment == segment))
        except SQLAlchemyError as error:
            raise StoreError(f"the position of {segment} could not be removed: {_reason(error)}") from error

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
        query = queries.page_of(where, before, after, sort, newest_first=newest_first)
        found = self._all(query.limit(limit).offset(offset))
        return self._annotated([Row(row.key, tables.read_exchange(row)) for row in found])

    def count(self, where: Filter | None = None, cap: int | None = None) -> int:
        row = self._one(queries.count_of(where, cap))
        return 0 if row is None else int(row[0])

    def get(self, request_id: str) -> Row | None:
        r = tables.requests
        row = self._one(select(r).where(r.c.request_id == request_id).order_by(r.c.key.desc()).limit(1))
        if row is None:
            return None
        body = self._one(select(tables.bodies).where(tables.bodies.c.key == row.key))
        return self._annotated([Row(row.key, tables.read_exchange(row, body))])[0]

    def with_bodies(self, rows: Sequence[Row]) -> list[Row]:
        r, b = tables.requests, tables.bodies
        keys = [row.key for row in rows]
        narrow = {row.key: row for row in self._all(select(r).where(r.c.key.in_(keys)))}
        wide = {row.key: row for row in self._all(select(b).where(b.c.key.in_(keys)))}
        return self._annotated(
            [Row(key, tables.read_exchange(narrow[key], wide.get(key))) for key in keys if key in narrow]
        )

    def neighbours(self, key: int) -> tuple[str | None, str | None]:
        r = tables.requests.c
        older = self._one(select(r.request_id).where(r.key < key).order_by(r.key.desc()).limit(1))
        newer = self._one(select(r.request_id).where(r.key > key).order_by(r.key.asc()).limit(1))
        return older and older[0], newer and newer[0]

    def last_key(self) -> int:
        row = self._one(select(func.max(tables.requests.c.key)))
        return int(row[0] or 0) if row is not None else 0

    def session(self, session_id: str, session_name: str | None = None, *, limit: int = 2_000) -> list[Row]:
        named = None if session_name is None else Leaf("session_name", "equals", session_name)
        where = both(Leaf("session_id", "equals", session_id), named)
        return self.page(where, sort="started_at", newest_first=False, limit=limit)

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
        found = self._all(queries.sessions_of(search, name, where, start, end).limit(limit).offset(offset))
        return [self._session_row(row) for row in found]

    def _session_row(self, row: Any) -> SessionRow:
        users = self._all(queries.users_of(row.session_id, row.session_name))
        return SessionRow(
            session_id=row.session_id,
            session_name=row.session_name or None,
            started_at=tables.moment(row.first_us),
            ended_at=tables.moment(row.last_us),
            requests=row.requests,
            errors=row.errors,
            cost_usd=tables.dollars(row.cost_nano),
            unpriced=row.unpriced,
            input_tokens=row.input_tokens,
            output_tokens=row.output_tokens,
            latency_sum_ms=row.latency_sum_ms,
            users=tuple(user[0] for user in users),
        )

    def facets(self, kind: str, name: str = "", *, prefix: str = "", limit: int = 50) -> list[Facet]:
        return [Facet(row.value, row.count) for row in self._all(queries.facet_values(kind, name, prefix).limit(limit))]

    def count_before(self, moment: datetime, *, bodies_only: bool = False) -> int:
        row = self._one(count_before(moment, bodies_only=bodies_only))
        return 0 if row is None else int(row[0])

    def remove_before(self, moment: datetime, *, bodies_only: bool = False) -> Iterator[int]:
        writer = self._for_writing()
        after: Position = (-(1 << 63), 0)
        while True:
            try:
                with self._lock, writer.begin() as connection:
                    step = remove_step(connection, moment, after, bodies_only=bodies_only)
            except _TROUBLE as error:
                raise StoreError(f"old records could not be removed: {_reason(error)}") from error
            if step is None:
                return
            removed, after = step
            yield removed

    def shrink(self, *, rewrite: bool = False) -> int:
        self._for_writing()
        try:
            return space.shrink(self._path, rewrite=rewrite)
        except _TROUBLE as error:
            raise StoreError(f"free space could not be given back: {_reason(error)}") from error

    def close(self) -> None:
        self._reader.dispose()
        if self._writer is not None:
            self._writer.dispose()

    def _all(self, query: Any) -> Sequence[Any]:
        deadline = time.monotonic() + self._read_s

        def is_late() -> bool:
            return time.monotonic() > deadline

        try:
            with self._reader.connect() as connection:
                raw: Any = connection.connection.dbapi_connection
                raw.set_progress_handler(is_late, _STEPS)
                try:
                    return connection.execute(query).fetchall()
                finally:
                    raw.set_progress_handler(None, 0)
        except (ValueError, OverflowError) as error:
            raise FilterError("a value cannot be compared: expected UTF-8 text or a number of 64 bits") from error
        except SQLAlchemyError as error:
            if is_late():
                raise FilterError(f"the query took longer than {self._read_s:g} s: narrow it by time") from error
            raise StoreError(f"the store cannot be read: {_reason(error)}") from error

    def _one(self, query: Any) -> Any:
        return next(iter(self._all(query)), None)


def _engine(path: Path, mode: str, pool: type[Any], **options: Any) -> Engine:
    def connect() -> sqlite3.Connection:
        address = f"{path.absolute().as_uri()}?mode={mode}"
        return sqlite3.connect(address, uri=True, timeout=_BUSY_MS / 1000, check_same_thread=False)

    engine = create_engine("sqlite://", creator=connect, poolclass=pool, hide_parameters=True, **options)
    begin = "BEGIN" if mode == "ro" else "BEGIN IMMEDIATE"

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None  # else the driver leaves schema changes outside of transactions
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA temp_store=MEMORY")
        connection.execute("PRAGMA cache_size=-32000")
        connection.create_function("unpacked", 1, tables.unpack, deterministic=True)
        if mode == "ro":
            connection.execute("PRAGMA query_only=1")
        else:
            # Of use in a new file only, and there only before the first page is written, which the next line does.
            connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA journal_size_limit=67108864")

    @event.listens_for(engine, "begin")
    def begin_for_real(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _reason(error: Exception) -> str:
    """The engine's own words, without the statement and its values."""
    return str(getattr(error, "orig", None) or error).splitlines()[0]
