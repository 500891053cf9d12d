"""Reading with a caller's own SQL: what every engine offers. The tables are views, documented column by column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

__all__ = ["MAX_ROWS", "Hql", "HqlAnswer", "HqlColumn", "HqlTable"]

MAX_ROWS = 1_000


@dataclass(frozen=True, slots=True)
class HqlColumn:
    """A column of a view. sql is what it stands for, in the engine's own words."""

    name: str
    type: str
    sql: str
    comment: str


@dataclass(frozen=True, slots=True)
class HqlTable:
    """A view that can be asked. source is what its columns are taken from, in the engine's own words."""

    name: str
    source: str
    columns: tuple[HqlColumn, ...]


@dataclass(frozen=True, slots=True)
class HqlAnswer:
    """The rows of a statement, by column name; at most MAX_ROWS. is_truncated says that there are more."""

    rows: list[dict[str, Any]]
    is_truncated: bool


class Hql(Protocol):
    """Answers SQL that only reads."""

    def tables(self) -> tuple[HqlTable, ...]:
        """What can be asked."""

    def answer(self, statement: str) -> HqlAnswer:
        """The rows of one SELECT.

        Raises FilterError for a statement that is anything else, is wrong or takes too long, StoreError for a store
        that fails.
        """
