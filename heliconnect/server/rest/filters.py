"""Helicone's filter AST, as its clients send it, into ours.

    "all" | {} | {"left": node, "operator": "and" | "or", "right": node} | {table: {column: {operator: value}}}

Source: packages/filters/filterDefs.ts of Helicone/helicone
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from heliconnect.server.rest.rows import provider_name
from heliconnect.store.filters import All, Filter, FilterError, Leaf, Value, both
from heliconnect.store.filters import Any as AnyOf

__all__ = ["SESSION_PROPERTIES", "read_filter", "read_user_filter"]

_MAX_DEPTH = 30
_NOTHING = AnyOf(())
_EVERYTHING = All(())
_TABLES = frozenset({"request_response_rmt", "sessions_request_response_rmt", "users_view", "request", "response"})
_COLUMNS = {
    "request_id": "request_id",
    "id": "request_id",
    "user_id": "user_id",
    "user_user_id": "user_id",
    "model": "model",
    "body_model": "model",
    "provider": "provider",
    "status": "status",
    "ended": "ended",
    "latency": "latency_ms",
    "delay_ms": "latency_ms",
    "cost": "cost_usd",
    "time_to_first_token": "first_byte_ms",
    "request_created_at": "started_at",
    "created_at": "started_at",
    "response_created_at": "ended_at",
    "prompt_tokens": "input_tokens",
    "completion_tokens": "output_tokens",
    "prompt_cache_read_tokens": "cache_read_tokens",
    "prompt_cache_write_tokens": "cache_write_tokens",
    "reasoning_tokens": "reasoning_tokens",
    "total_tokens": "total_tokens",
    "target_url": "target_url",
    "request_body": "request_body",
    "response_body": "response_body",
    "session_session_id": "session_id",
    "session_session_name": "session_name",
    "helicone-score-feedback": "feedback",
}
SESSION_PROPERTIES = {
    "helicone-session-id": "session_id",
    "helicone-session-name": "session_name",
    "helicone-session-path": "session_path",
}
# Columns of users, not of their calls -> what they measure.
_USER_COLUMNS = {
    "user_active_for": "days",
    "user_first_active": "first_at",
    "user_last_active": "last_at",
    "user_total_requests": "requests",
    "user_average_requests_per_day_active": "requests_per_day",
    "user_average_tokens_per_request": "average_total_tokens",
    "user_total_completion_tokens": "output_tokens",
    "user_total_prompt_tokens": "input_tokens",
    "user_cost": "cost_usd",
}
# Facts that no record here has: comparing them with false (or anything but true) holds for all.
_NEVER = frozenset({"cached", "cache_enabled", "threat", "is_passthrough_billing"})


def read_filter(node: Any, depth: int = 0) -> Filter | None:
    """The filter of a request's body; None for "all". Raises FilterError for what cannot be understood."""
    if node is None or node == "all" or node == {}:
        return None
    if depth > _MAX_DEPTH:
        raise FilterError(f"a filter may be nested {_MAX_DEPTH} deep")
    if not isinstance(node, Mapping):
        raise FilterError(f'a filter is "all", a branch or a leaf, got {type(node).__name__}')
    if "left" in node or "right" in node:
        operator = node.get("operator")
        if operator not in {"and", "or"}:
            raise FilterError(f'a branch\'s operator is "and" or "or", got {operator!r}')
        sides = tuple(read_filter(node.get(side), depth + 1) or _EVERYTHING for side in ("left", "right"))
        return All(sides) if operator == "and" else AnyOf(sides)
    leaves = tuple(_leaves(node))
    return leaves[0] if len(leaves) == 1 else All(leaves)


def read_user_filter(node: Any) -> tuple[Filter | None, Filter | None]:
    """A filter of users: what holds for their calls, and what for themselves.

    Both may only be joined by "and". Raises FilterError.
    """
    calls: list[Filter] = []
    users: list[Filter] = []
    _divide(node, calls, users, 0)
    return both(*calls), both(*users)


def _divide(node: Any, calls: list[Filter], users: list[Filter], depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise FilterError(f"a filter may be nested {_MAX_DEPTH} deep")
    if isinstance(node, Mapping) and node.get("operator") == "and":
        for side in ("left", "right"):
            _divide(node.get(side), calls, users, depth + 1)
        return
    columns = node.get("users_view") if isinstance(node, Mapping) else None
    if not isinstance(columns, Mapping) or not columns.keys() & _USER_COLUMNS.keys():
        found = read_filter(node, depth)
        if found is not None:
            calls.append(found)
        return
    for column, comparison in columns.items():
        if column in _USER_COLUMNS:
            users += (Leaf(_USER_COLUMNS[column], *one) for one in _comparisons(comparison, column))
        else:
            calls += _column(column, comparison)
    rest = {table: inner for table, inner in node.items() if table != "users_view"}
    _divide(rest, calls, users, depth + 1)


def _leaves(node: Mapping[str, Any]) -> Iterator[Filter]:
    for table, columns in node.items():
        if table not in _TABLES:
            raise FilterError(f"unknown table {table!r}: expected one of {', '.join(sorted(_TABLES))}")
        for column, comparison in _mapping(columns, table).items():
            yield from _column(column, comparison)


def _column(column: str, comparison: Any) -> Iterator[Filter]:
    if column in {"properties", "search_properties", "scores"}:
        yield from _named(column, comparison)
    elif column == "property_key":
        for _, value in _comparisons(comparison, column):
            session = SESSION_PROPERTIES.get(str(value).lower())
            yield Leaf(session, "is-unknown", False) if session else Leaf("property", "like", "%", str(value))
    elif column in _NEVER:
        for operator, value in _comparisons(comparison, column):
            yield _NOTHING if (operator == "equals") == (value is True) else _EVERYTHING
    elif column == "organization_id":
        yield _EVERYTHING
    else:
        known = _COLUMNS.get(column)
        if known is None:
            raise FilterError(f"unknown column {column!r}: expected one of {', '.join(sorted(_COLUMNS))}, properties")
        for operator, value in _comparisons(comparison, column):
            yield Leaf(known, operator, provider_name(str(value)) if known == "provider" else value)


def _named(column: str, comparison: Any) -> Iterator[Filter]:
    """Comparisons by a name: of a property, of what Helicone calls one of a session's, or of a score."""
    for name, inner in _mapping(comparison, column).items():
        session = SESSION_PROPERTIES.get(str(name).lower())
        for operator, value in _comparisons(inner, str(name)):
            if column == "scores":
                yield Leaf("score", operator, value, str(name))
            else:
                yield Leaf(session, operator, value) if session else Leaf("property", operator, value, str(name))


def _comparisons(comparison: Any, column: str) -> Iterator[tuple[str, Value]]:
    for operator, value in _mapping(comparison, column).items():
        if not isinstance(value, str | int | float | bool):
            raise FilterError(f"{column} is compared with text, a number or a boolean, got {type(value).__name__}")
        yield operator, value


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise FilterError(f"{where}: expected an object, got {type(value).__name__}")
    return value
