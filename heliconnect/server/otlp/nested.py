"""Attributes with dots and numbers in their names, put together: "gen_ai.prompt.0.role" is the role of the first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from heliconnect.errors import MissingExtraError
from heliconnect.server.otlp.spans import Attributes

try:
    import orjson
except ImportError as exc:
    raise MissingExtraError("heliconnect.server.otlp", "server") from exc

__all__ = ["first", "integer", "numbered", "parsed", "rows", "text"]

_MAX_PARTS = 12
_MAX_COUNT = 10**12


def rows(attributes: Attributes, prefix: str) -> list[dict[str, Any]]:
    """The numbered things below `prefix`, in their order, each as nested dictionaries."""
    start = prefix + "."
    found: dict[int, dict[str, Any]] = {}
    for name, value in attributes.items():
        if not name.startswith(start):
            continue
        number, _, rest = name[len(start) :].partition(".")
        if rest and number.isascii() and number.isdigit() and len(number) <= 9:
            _put(found.setdefault(int(number), {}), rest.split(".", _MAX_PARTS), value)
    return [found[number] for number in sorted(found)]


def _put(into: dict[str, Any], path: list[str], value: object) -> None:
    for name in path[:-1]:
        inner = into.get(name)
        if not isinstance(inner, dict):
            inner = into[name] = {}
        into = inner
    into[path[-1]] = value


def numbered(row: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The numbered things of a row: {"0": {...}, "1": {...}} as a list."""
    inner = row.get(name)
    if not isinstance(inner, Mapping):
        return []
    keys = sorted((key for key in inner if key.isascii() and key.isdigit() and len(key) <= 9), key=int)
    return [inner[key] for key in keys if isinstance(inner[key], dict)]


def first(attributes: Attributes, *names: str) -> Any:
    """The first of these attributes that says something; None for none."""
    return next((value for name in names if (value := attributes.get(name)) not in (None, "")), None)


def text(attributes: Attributes, *names: str) -> str | None:
    """The first of these attributes that is text; None for none."""
    return next((value for name in names if isinstance(value := attributes.get(name), str) and value), None)


def integer(attributes: Attributes, *names: str) -> int | None:
    """The first of these attributes that is a count; None for none."""
    for name in names:
        value = attributes.get(name)
        if not isinstance(value, int | float) or isinstance(value, bool):
            continue
        if 0 <= value <= _MAX_COUNT and value == int(value):
            return int(value)
    return None


def parsed(value: object) -> Any:
    """A value that is JSON text, as what it says; any other value as it is."""
    if not isinstance(value, str) or value.lstrip()[:1] not in {"{", "["}:
        return value
    try:
        return orjson.loads(value)
    except ValueError:
        return value
