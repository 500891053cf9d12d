"""What is said of a record afterwards: feedback, scores, properties; and of sessions: feedback, tags.

A note stands by its subject's id, whether or not the record has arrived: it is put in force when it does. A property
said afterwards becomes one of the record's own, so that filters and facets know it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import orjson
from sqlalchemy import Connection, Select, delete, select, update
from sqlalchemy.dialects.sqlite import insert

from heliconnect.exchange import Exchange
from heliconnect.store.base import Note
from heliconnect.store.tables import facets, notes, properties, requests

__all__ = ["annotated", "keep", "notes_in", "notes_of", "with_properties"]

_PROPERTY = "property"


def notes_of(subjects: Iterable[str]) -> Select[Any]:
    """All notes of these subjects."""
    return select(notes).where(notes.c.subject.in_(list(subjects)))


def annotated(exchanges: Sequence[Exchange], rows: Iterable[Any]) -> list[Exchange]:
    """The exchanges with the feedback and the scores of their notes."""
    feedback: dict[str, bool] = {}
    scores: dict[str, dict[str, float]] = {}
    for row in rows:
        if row.kind == "feedback":
            feedback[row.subject] = row.value == "true"
        elif row.kind == "score":
            scores.setdefault(row.subject, {})[row.name] = float(row.value)
    return [
        replace(one, feedback=feedback.get(one.request_id), scores=scores.get(one.request_id, {})) for one in exchanges
    ]


def notes_in(exchanges: Iterable[Exchange]) -> Iterator[Note]:
    """The feedback and the scores that exchanges bring with them, as notes made now."""
    now = time.time_ns() // 1000
    for one in exchanges:
        if one.feedback is not None:
            yield Note(one.request_id, "feedback", "", "true" if one.feedback else "false", now)
        for name, value in one.scores.items():
            yield Note(one.request_id, "score", name, str(float(value)), now)


def with_properties(connection: Connection, batch: Sequence[Exchange]) -> list[Exchange]:
    """A batch that is about to be stored, with the properties that were said of its records beforehand."""
    ids = [one.request_id for one in batch]
    found: dict[str, dict[str, str]] = {}
    for start in range(0, len(ids), 500):
        chosen = notes_of(ids[start : start + 500]).where(notes.c.kind == _PROPERTY)
        for row in connection.execute(chosen):
            found.setdefault(row.subject, {})[row.name] = row.value
    if not found:
        return list(batch)
    return [
        replace(one, properties={**one.properties, **found[one.request_id]}) if one.request_id in found else one
        for one in batch
    ]


def keep(connection: Connection, note: Note) -> None:
    """Keep a note, in the place of one of the same name; a property is put into the records that are there."""
    row = {"subject": note.subject, "kind": note.kind, "name": note.name, "value": note.value, "at_us": note.at_us}
    index = ["subject", "kind", "name"]
    connection.execute(insert(notes).values(row).on_conflict_do_update(index_elements=index, set_=row))
    if note.kind == _PROPERTY:
        chosen = select(requests.c.key, requests.c.properties).where(requests.c.request_id == note.subject)
        for found in connection.execute(chosen).fetchall():
            _set_property(connection, found.key, orjson.loads(found.properties), note)


def _set_property(connection: Connection, key: int, before: dict[str, str], note: Note) -> None:
    p, old = properties.c, before.get(note.name)
    connection.execute(
        update(requests)
        .where(requests.c.key == key)
        .values(properties=orjson.dumps({**before, note.name: note.value}).decode())
    )
    connection.execute(delete(properties).where(p.key == key, p.name == note.name))
    connection.execute(properties.insert().values(name=note.name, value=note.value, key=key))
    if old is not None:
        _count(connection, _PROPERTY, note.name, old, -1)
    else:
        _count(connection, "property-name", "", note.name, 1)
    _count(connection, _PROPERTY, note.name, note.value, 1)


def _count(connection: Connection, kind: str, name: str, value: str, by: int) -> None:
    statement = insert(facets).values(kind=kind, name=name, value=value, count=max(by, 0))
    added = {"count": facets.c.count + by}
    connection.execute(statement.on_conflict_do_update(index_elements=["kind", "name", "value"], set_=added))
    f = facets.c
    connection.execute(delete(facets).where(f.kind == kind, f.name == name, f.value == value, f.count <= 0))
