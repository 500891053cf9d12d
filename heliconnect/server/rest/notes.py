"""What clients say of records and sessions afterwards: feedback, scores, properties, tags.

A record need not have arrived for it: records are stored a moment after their call.
"""

from __future__ import annotations

import time
from typing import Any

from heliconnect.errors import MissingExtraError
from heliconnect.protocol import header_text, property_name
from heliconnect.server.rest.routes import Body, Envelope, StoreOf, enveloped
from heliconnect.store import Note

try:
    from fastapi import APIRouter, HTTPException
    from pydantic import Field, StrictBool, StrictFloat, StrictInt
except ImportError as exc:
    raise MissingExtraError("heliconnect.server.rest", "server") from exc

__all__ = ["notes_router"]

notes_router = APIRouter(prefix="/v1")
_MAX_ID = 200


class Rating(Body):
    """A thumb: up is true."""

    rating: StrictBool


class Scores(Body):
    """Scores by name: numbers, or booleans, which count as 1 and 0."""

    scores: dict[str, StrictBool | StrictInt | StrictFloat] = Field(min_length=1, max_length=100)


class Property(Body):
    """A property to set."""

    key: str
    value: str | int | float | bool


class Tag(Body):
    """A word for a session."""

    tag: str = Field(max_length=1_000)


def _note(subject: str, kind: str, value: object, name: str = "") -> Note:
    if len(subject) > _MAX_ID:
        raise HTTPException(404, "no such id")
    text = ("true" if value else "false") if isinstance(value, bool) else str(value)
    return Note(subject, kind, name, text, time.time_ns() // 1000)


@notes_router.post("/request/{request_id}/feedback")
def rate_request(request_id: str, body: Rating, store: StoreOf) -> Envelope:
    """Say whether an answer was good."""
    store.annotate([_note(request_id, "feedback", body.rating)])
    return enveloped(None)


@notes_router.post("/request/{request_id}/score")
def score_request(request_id: str, body: Scores, store: StoreOf) -> Envelope:
    """Give scores; those of other names stay."""
    store.annotate([_note(request_id, "score", float(value), name[:200]) for name, value in body.scores.items()])
    return enveloped(None)


@notes_router.put("/request/{request_id}/property")
@notes_router.post("/request/{request_id}/property", include_in_schema=False)
def set_property(request_id: str, body: Property, store: StoreOf) -> Envelope:
    """Set a property, as if the call had carried it."""
    name, value = property_name(body.key), header_text(body.value)
    if name is None or value is None:
        raise HTTPException(400, "key must name a property, and value be text")
    store.annotate([_note(request_id, "property", value, name)])
    return enveloped(None)


@notes_router.post("/session/{session_id}/feedback")
def rate_session(session_id: str, body: Rating, store: StoreOf) -> Envelope:
    """Say whether a session went well."""
    store.annotate([_note(session_id, "session-feedback", body.rating)])
    return enveloped(None)


@notes_router.post("/session/{session_id}/tag")
def tag_session(session_id: str, body: Tag, store: StoreOf) -> Envelope:
    """Put a word on a session, in the place of the one before."""
    store.annotate([_note(session_id, "session-tag", body.tag)])
    return enveloped(None)


@notes_router.get("/session/{session_id}/tag")
def tag_of_session(session_id: str, store: StoreOf) -> Envelope:
    """A session's word."""
    found: Any = next((note.value for note in store.notes(session_id) if note.kind == "session-tag"), None)
    return enveloped(found)
