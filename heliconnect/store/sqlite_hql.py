"""A caller's own SQL on SQLite: one SELECT, on a connection that can do nothing but read the views.

The file is opened read-only, the connection refuses to write, and an authorizer refuses whatever is no reading of a
view. SQLite tells the authorizer through which view a table is read, but a common table expression may have any name:
so the tables are read through inner views, whose names are random and new for each statement.
Source: https://www.sqlite.org/c3ref/set_authorizer.html
"""

from __future__ import annotations

import math
import re
import secrets
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from heliconnect.errors import StoreError
from heliconnect.store.filters import FilterError
from heliconnect.store.hql import MAX_ROWS, HqlAnswer, HqlTable
from heliconnect.store.hql_views import TABLES
from heliconnect.store.tables import unpack

__all__ = ["SqliteHql"]

_BUSY_S = 5.0
_STEPS = 2_000
_MAX_BYTES = 16 << 20
_SELECT = re.compile(r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*(?:select|with)\b", re.IGNORECASE | re.DOTALL)
_LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: 64 << 20,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 100_000,
    sqlite3.SQLITE_LIMIT_COLUMN: 500,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 200,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 50,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 1_000,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
}
_VALUE_TABLES = frozenset({"json_each", "json_tree"})
# Core, aggregate, window, date, mathematical and JSON functions, but for those that load code, tell of the engine, or
# (json_group_array, json_group_object) take memory without a bound.
_FUNCTIONS = frozenset(
    """
    abs char coalesce concat concat_ws format glob hex ifnull iif instr length like lower ltrim max min nullif
    octet_length printf quote replace round rtrim sign substr substring trim typeof unhex unicode upper
    avg count group_concat string_agg sum total
    row_number rank dense_rank percent_rank cume_dist ntile lag lead first_value last_value nth_value
    date time datetime julianday unixepoch strftime timediff current_date current_time current_timestamp
    ceil ceiling floor exp ln log log10 log2 mod pow power sqrt trunc
    json json_array json_array_length json_extract json_object json_type json_valid json_quote -> ->>
    """.split()  # noqa: SIM905 - a list of eighty strings is no easier to read
)
# What says that the store is in trouble, and not the statement.
_TROUBLE = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_FULL,
    }
)


class SqliteHql:
    """Answers statements on the file at `path`, each on a connection of its own and for `read_s` seconds at most."""

    def __init__(self, path: Path, read_s: float) -> None:
        self._path = path
        self._read_s = read_s

    def tables(self) -> tuple[HqlTable, ...]:
        return TABLES

    def answer(self, statement: str) -> HqlAnswer:
        if _SELECT.match(statement) is None:
            raise FilterError("expected one SELECT, or WITH ... SELECT: nothing else is run")
        deadline = time.monotonic() + self._read_s

        def is_late() -> bool:
            return time.monotonic() > deadline

        try:
            with closing(self._open()) as connection:
                _restrict(connection, is_late)
                return _rows(connection.execute(statement))
        except FilterError:
            raise
        except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError) as error:
            if is_late():
                raise FilterError(f"the query took longer than {self._read_s:g} s: narrow it by started_us") from error
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code in _TROUBLE:
                raise StoreError(f"the store cannot be read: {error}") from error
            raise FilterError(_explained(error, code)) from error

    def _open(self) -> sqlite3.Connection:
        address = f"{self._path.absolute().as_uri()}?mode=ro"
        return sqlite3.connect(address, uri=True, timeout=_BUSY_S, isolation_level=None)


def _restrict(connection: sqlite3.Connection, is_late: Callable[[], bool]) -> None:
    """Make the views, then leave nothing possible but reading them, until it is late."""
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    connection.create_function("unpacked", 1, _unpacked, deterministic=True)
    inner = {}
    for table in TABLES:
        name = f"inner_{secrets.token_hex(16)}"
        inner[name] = table.name
        columns = ", ".join(f"{column.sql} AS {column.name}" for column in table.columns)
        connection.execute(f"CREATE TEMP VIEW {name} AS SELECT {columns} FROM {table.source}")  # noqa: S608 - ours
        connection.execute(f"CREATE TEMP VIEW {table.name} AS SELECT * FROM temp.{name}")  # noqa: S608 - ours
    for name in _VALUE_TABLES:  # made known before the authorizer sees how SQLite does that
        connection.execute(f"SELECT 1 FROM {name}('[]')").fetchall()  # noqa: S608 - ours
    connection.execute("PRAGMA query_only=1")
    for limit, value in _LIMITS.items():
        connection.setlimit(limit, value)
    connection.set_progress_handler(is_late, _STEPS)
    connection.set_authorizer(_authorizer(inner))


def _authorizer(inner: dict[str, str]) -> Callable[..., int]:
    """Allows what reads the views. inner are the inner views' names."""
    views, tables = set(inner.values()), {"requests", "bodies", "properties", "notes"}

    def is_allowed(action: int, name: str | None, detail: str | None, through: str | None) -> bool:
        if action in {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_RECURSIVE}:
            return True
        if action == sqlite3.SQLITE_FUNCTION:
            return detail in _FUNCTIONS or (detail == "unpacked" and through in inner)
        if action != sqlite3.SQLITE_READ:
            return False
        if name in views or name in _VALUE_TABLES:
            return True
        if name in inner:
            return through in views
        # Counting the rows of a view is told as reading no column of its table, through nothing.
        return name in tables and (through in inner or not detail)

    def authorize(action: int, name: str | None, detail: str | None, _: str | None, through: str | None) -> int:
        return sqlite3.SQLITE_OK if is_allowed(action, name, detail, through) else sqlite3.SQLITE_DENY

    return authorize


def _rows(cursor: sqlite3.Cursor) -> HqlAnswer:
    """The rows, up to the limits of number and size. Raises FilterError for columns of one name, or too large a row."""
    names = [column[0] for column in cursor.description or ()]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise FilterError(f"two columns are called {twice!r}: give them different names with AS")
    rows: list[dict[str, Any]] = []
    size = 0
    for values in cursor:
        size += sum(len(value) if isinstance(value, str | bytes) else 8 for value in values)
        if not rows and size > _MAX_BYTES:
            raise FilterError(f"the first row is larger than {_MAX_BYTES} bytes: select less, as with substr()")
        if len(rows) == MAX_ROWS or size > _MAX_BYTES:
            return HqlAnswer(rows, is_truncated=True)
        rows.append({name: _plain(value) for name, value in zip(names, values, strict=True)})
    return HqlAnswer(rows, is_truncated=False)


def _plain(value: Any) -> Any:
    """A value that JSON has: bytes as hexadecimal text, infinity as unknown."""
    if isinstance(value, bytes):
        return value.hex()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _unpacked(blob: bytes | None) -> str | None:
    text = unpack(blob)
    return None if text is None else text.encode("utf-8", "replace").decode()


def _explained(error: Exception, code: int) -> str:
    words = str(error)
    if "one statement" in words:
        return "expected one statement, got several"
    if code == sqlite3.SQLITE_AUTH or "no such table" in words:
        return f"{words}: what can be read are {', '.join(table.name for table in TABLES)}"
    return words
