"""Taking records from elsewhere into a store: lines of JSON, each a record in Helicone's shape, or several.

A record whose request id is stored already is left out, so that the same lines may be sent twice. A line that is no
record, or that the store refuses, is named and holds up no other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from heliconnect.errors import MissingExtraError, StoreError
from heliconnect.exchange import Exchange
from heliconnect.server.redaction import Redaction
from heliconnect.server.rest.reading import MalformedRecordError, read_record, records_in
from heliconnect.server.rest.routes import Envelope, StoreOf, enveloped
from heliconnect.store import Store

try:
    from fastapi import APIRouter, Request
    from starlette.concurrency import run_in_threadpool
except ImportError as exc:
    raise MissingExtraError("heliconnect.server.rest", "server") from exc

__all__ = ["Imported", "Numbered", "Problem", "import_router", "take"]

import_router = APIRouter(prefix="/v1")
Numbered = tuple[int, bytes]


@dataclass(frozen=True, slots=True)
class Problem:
    """A line that could not be taken, and why."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of some lines: how many are new, how many were known already, and what was wrong with the others."""

    new: int = 0
    known: int = 0
    problems: tuple[Problem, ...] = ()


def take(store: Store, lines: Iterable[Numbered], redaction: Redaction | None = None) -> Imported:
    """Keep the records of these lines, without what the rules of `redaction` name.

    Raises StoreError when the store takes nothing at all.
    """
    read: list[tuple[int, Exchange]] = []
    problems: list[Problem] = []
    for number, line in lines:
        try:
            records = records_in(line)
        except MalformedRecordError as error:
            problems.append(Problem(number, str(error)))
            continue
        for place, record in enumerate(records, 1):
            try:
                read.append((number, read_record(record, redaction)))
            except MalformedRecordError as error:
                problems.append(Problem(number, str(error) if len(records) == 1 else f"record {place}: {error}"))
    try:
        new = store.append_new([exchange for _, exchange in read])
    except StoreError:
        fits = [store.would_take(exchange) for _, exchange in read]
        if all(fits):
            raise
        refused = [number for (number, _), is_taken in zip(read, fits, strict=True) if not is_taken]
        problems += [Problem(number, "the store cannot hold one of its values") for number in refused]
        read = [one for one, is_taken in zip(read, fits, strict=True) if is_taken]
        new = store.append_new([exchange for _, exchange in read])
    return Imported(new, len(read) - new, tuple(sorted(problems, key=lambda problem: problem.line)))


@import_router.post("/request/import", include_in_schema=False)
async def import_records(request: Request, store: StoreOf) -> Envelope:
    """Take records in lines of JSON, numbered from 1; for `heliconnect import` while this server runs."""
    body = await request.body()
    lines: Sequence[Numbered] = [(number, line) for number, line in enumerate(body.split(b"\n"), 1) if line.strip()]
    found = await run_in_threadpool(take, store, lines, request.app.state.redaction)
    return enveloped(asdict(found))
