"""Removing old records, or only what was said in them, in steps that each keep the store right.

A step is a transaction: records, their properties, notes and sums go together. Between two steps others may write.
Where only what was said is removed (bodies, and the previews taken from them), the facts of the call stay: who, when,
model, tokens, cost.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, delete, func, or_, select, tuple_, update

from heliconnect.store.keeping import subtract_sums
from heliconnect.store.tables import bodies, micros, notes, properties, read_exchange, requests

__all__ = ["Position", "count_before", "remove_step"]

Position = tuple[int, int]
"""The start and the key of the record that was looked at last."""
_STEP = 500
_SESSION_NOTES = ("session-feedback", "session-tag")
_r = requests.c


def _old(before: datetime, *, bodies_only: bool) -> Select[Any]:
    query = select(requests).where(_r.started_us < micros(before))
    if bodies_only:
        says = or_(
            bodies.c.request.is_not(None),
            bodies.c.response.is_not(None),
            _r.request_preview.is_not(None),
            _r.response_preview.is_not(None),
        )
        query = query.join(bodies, bodies.c.key == _r.key).where(says)
    return query


def count_before(before: datetime, *, bodies_only: bool) -> Select[Any]:
    """How many records a removal would touch."""
    return select(func.count()).select_from(_old(before, bodies_only=bodies_only).subquery())


def remove_step(
    connection: Connection, before: datetime, after: Position, *, bodies_only: bool
) -> tuple[int, Position] | None:
    """Remove the oldest records behind `after` that began before `before`; how many, and where to go on.

    None when there are no more.
    """
    query = _old(before, bodies_only=bodies_only).where(tuple_(_r.started_us, _r.key) > after)
    rows = connection.execute(query.order_by(_r.started_us, _r.key).limit(_STEP)).fetchall()
    if not rows:
        return None
    keys = [row.key for row in rows]
    if bodies_only:
        _remove_bodies(connection, keys)
    else:
        _remove_records(connection, rows, keys)
    return len(rows), (rows[-1].started_us, rows[-1].key)


def _remove_bodies(connection: Connection, keys: Sequence[int]) -> None:
    nothing = {"request": None, "response": None, "request_is_base64": False, "response_is_base64": False}
    connection.execute(update(bodies).where(bodies.c.key.in_(keys)).values(nothing))
    connection.execute(update(requests).where(_r.key.in_(keys)).values(request_preview=None, response_preview=None))


def _remove_records(connection: Connection, rows: Sequence[Any], keys: Sequence[int]) -> None:
    for table in (requests, bodies, properties):
        connection.execute(delete(table).where(table.c.key.in_(keys)))
    exchanges = [read_exchange(row) for row in rows]
    subtract_sums(connection, exchanges)
    n = notes.c
    ids = _gone(connection, _r.request_id, {one.request_id for one in exchanges})
    connection.execute(delete(notes).where(n.subject.in_(ids), n.kind.not_in(_SESSION_NOTES)))
    sessions = _gone(connection, _r.session_id, {one.session_id for one in exchanges if one.session_id})
    connection.execute(delete(notes).where(n.subject.in_(sessions), n.kind.in_(_SESSION_NOTES)))


def _gone(connection: Connection, column: Any, ids: set[str]) -> list[str]:
    """Those of `ids` that no record has any more."""
    left = set(connection.execute(select(column).where(column.in_(ids)).distinct()).scalars())
    return sorted(ids - left)
