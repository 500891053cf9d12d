"""`heliconnect export` and `import`: records as lines of JSON in Helicone's shape, of any number in little memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO

from heliconnect.cli.asking import ask, data_of
from heliconnect.cli.options import server_of
from heliconnect.errors import HeliconnectError, StoreError
from heliconnect.server.folder import holder_of, store_of
from heliconnect.server.guard import MAX_BODY_BYTES
from heliconnect.server.redaction import Redaction
from heliconnect.server.rest.export import lines_of
from heliconnect.server.rest.importing import Imported, Numbered, Problem, take
from heliconnect.settings import Settings
from heliconnect.store import open_store
from heliconnect.store.filters import Filter, FilterError, Leaf, both

__all__ = ["Imported", "chosen", "existing_store", "export_to", "import_from"]

Sink = Callable[[list[Numbered]], Imported]
_BATCH_LINES = 200
_BATCH_BYTES = 4 << 20
_TOO_LARGE = "too large for a running server: stop it, and import again"


def chosen(
    user: str | None, session: str | None, model: str | None, since: datetime | None, until: datetime | None
) -> Filter | None:
    """A filter for what is given; None for everything."""
    named = (("user_id", user), ("session_id", session), ("model", model))
    leaves: list[Filter] = [Leaf(column, "equals", value) for column, value in named if value is not None]
    times = (("gte", since), ("lt", until))
    leaves += [Leaf("started_at", operator, at.isoformat()) for operator, at in times if at is not None]
    return both(*leaves)


def existing_store(folder: Path) -> Path:
    """The file of a folder's store. Raises StoreError when the folder has none."""
    path = store_of(folder)
    if not path.exists():
        raise StoreError(
            f"{folder} holds no records: `heliconnect up` makes them; another folder is named with --data-dir"
        )
    return path


def export_to(folder: Path, target: Path | BinaryIO, where: Filter | None) -> int:
    """Write the records of a folder's store, which may be written meanwhile, to a new file or a stream; how many.

    Raises StoreError when there is no store or it cannot be read, HeliconnectError when the file cannot be made.
    """
    store = open_store(existing_store(folder), read_only=True)
    try:
        if not isinstance(target, Path):
            return _write(lines_of(store, where), target)
        with _new_file(target) as file:
            return _write(lines_of(store, where), file)
    except BrokenPipeError:
        raise  # who reads has seen enough
    except FilterError as error:
        raise HeliconnectError(f"the records cannot be chosen so: {error}") from error
    except OSError as error:
        raise HeliconnectError(f"the records could not be written: {error}") from error
    finally:
        store.close()


@contextmanager
def _new_file(target: Path) -> Iterator[BinaryIO]:
    """A file for its owner only, which was not there before, and is not there after an error."""
    try:
        fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError as error:
        raise HeliconnectError(f"{target} exists already and is not overwritten: choose another name") from error
    is_whole = False
    try:
        with os.fdopen(fd, "wb") as file:
            yield file
        is_whole = True
    finally:
        if not is_whole:
            target.unlink(missing_ok=True)


def _write(parts: Iterable[bytes], file: BinaryIO) -> int:
    written = 0
    for part in parts:
        file.write(part)
        written += part.count(b"\n")  # within a line each is escaped
    file.flush()
    return written


def import_from(
    folder: Path, file: Iterable[bytes], report: Callable[[Imported], None], redact: Path | None = None
) -> None:
    """Take the records of `file` into a folder's store, through its server where one runs; tells of each batch.

    redact is a file of redaction rules; a server has its own. Raises HeliconnectError when the store or the server
    takes nothing.
    """
    rules = None if redact is None else Redaction.from_file(redact)
    holder = holder_of(folder)
    if holder is None:
        store = open_store(store_of(folder))
        try:
            _drain(file, partial(take, store, redaction=rules), report)
        finally:
            store.close()
    elif holder.url is None:
        raise HeliconnectError(
            f"a server (process {holder.process or 'unknown'}) has {folder} and does not say where it is reached: "
            "try again in a moment, or stop it first"
        )
    elif rules is not None:
        raise HeliconnectError("a running server has rules of its own: stop it, or leave out --redact")
    else:
        _drain(file, partial(_send, server_of(None, folder)), report)


def _drain(file: Iterable[bytes], sink: Sink, report: Callable[[Imported], None]) -> None:
    for batch in _batches(file):
        report(sink(batch))


def _batches(file: Iterable[bytes]) -> Iterator[list[Numbered]]:
    """Lines with their numbers, from 1, empty ones left out; a line that is large comes alone."""
    batch: list[Numbered] = []
    size = 0
    for number, raw in enumerate(file, 1):
        line = (raw.removeprefix(b"\xef\xbb\xbf") if number == 1 else raw).strip()
        if not line:
            continue
        if batch and (len(batch) >= _BATCH_LINES or size + len(line) > _BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append((number, line))
        size += len(line)
    if batch:
        yield batch


def _send(settings: Settings, batch: list[Numbered]) -> Imported:
    """Hand a batch to the running server. Raises HeliconnectError when it takes nothing."""
    content = b"\n".join(line for _, line in batch)
    if len(content) > MAX_BODY_BYTES:  # one line: batches of several are smaller
        return Imported(problems=(Problem(batch[0][0], _TOO_LARGE),))
    answer = ask(settings, "/v1/request/import", content, "application/jsonl")
    if answer.status in {404, 405}:
        raise HeliconnectError(f"the server at {answer.url} is too old to take records: stop it, and import again")
    found = data_of(answer)
    problems = tuple(Problem(batch[one["line"] - 1][0], one["reason"]) for one in found["problems"])
    return Imported(found["new"], found["known"], problems)
