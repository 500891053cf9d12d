"""Filters as data: leaves joined by and/or. Made by the REST API and the pages, read by the queries."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["OPERATORS", "All", "Any", "Filter", "FilterError", "Leaf", "Value", "both"]

Value = str | int | float | bool
OPERATORS = frozenset(
    {"equals", "not-equals", "like", "ilike", "contains", "not-contains", "gte", "lte", "gt", "lt", "is-unknown"}
)


class FilterError(ValueError):
    """A filter names a column, an operator or a value that does not exist; the message says which do."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """One comparison. name is a property's name where column is "property"."""

    column: str
    operator: str
    value: Value
    name: str = ""


@dataclass(frozen=True, slots=True)
class All:
    """Every one of the filters holds."""

    of: tuple[Filter, ...]


@dataclass(frozen=True, slots=True)
class Any:
    """At least one of the filters holds."""

    of: tuple[Filter, ...]


Filter = Leaf | All | Any


def both(*filters: Filter | None) -> Filter | None:
    """All of those that are not None; None when there are none."""
    found = tuple(one for one in filters if one is not None)
    if len(found) < 2:
        return found[0] if found else None
    return All(found)
