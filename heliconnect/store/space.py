"""The SQLite file as a whole: giving free space back to the disk, and copying it while it is written."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

from heliconnect.errors import StoreError

__all__ = ["back_up", "shrink"]

_INCREMENTAL = 2
_PAGES = 2_000
_BUSY_S = 30.0


def shrink(path: Path, *, rewrite: bool) -> int:
    """Give free space back, in steps between which others may write; gives the bytes that stay free in the file.

    A file that was made without incremental vacuum keeps all of it until `rewrite` writes it anew, which takes as much
    space again and holds up all who write. Over a connection of its own: what else uses the store goes on.
    """
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=_BUSY_S)) as raw:
        is_incremental = _number(raw, "auto_vacuum") == _INCREMENTAL
        if rewrite and not is_incremental:
            raw.execute(f"PRAGMA auto_vacuum={_INCREMENTAL}")
            raw.execute("VACUUM")
        while is_incremental and (free := _number(raw, "freelist_count")):
            # Not execute(): it takes one step of the statement, and each frees one page.
            raw.executescript(f"PRAGMA incremental_vacuum({_PAGES})")
            if _number(raw, "freelist_count") >= free:
                break
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return _number(raw, "freelist_count") * _number(raw, "page_size")


def _number(raw: sqlite3.Connection, pragma: str) -> int:
    return int(raw.execute(f"PRAGMA {pragma}").fetchone()[0])


def back_up(source: Path, target: Path) -> None:
    """Copy the store at `source` into a new file, as it stands at one moment; it may be written meanwhile.

    The copy gets its name when it is whole and its integrity is checked. Raises StoreError when `target` exists, or
    the copy cannot be made.
    """
    if target.exists():
        raise StoreError(f"{target} exists already and is not overwritten: choose another name, or remove it first")
    part = target.with_name(f"{target.name}.part")
    try:
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
        _copy(source, part)
        os.link(part, target)  # fails where someone made the target meanwhile
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"{source} could not be copied to {target}: {error}") from error
    finally:
        for name in (part, *(part.with_name(f"{part.name}{end}") for end in ("-wal", "-shm", "-journal"))):
            with contextlib.suppress(OSError):
                name.unlink(missing_ok=True)


def _copy(source: Path, part: Path) -> None:
    address = f"{source.absolute().as_uri()}?mode=ro"
    with (
        contextlib.closing(sqlite3.connect(address, uri=True, timeout=_BUSY_S)) as old,
        contextlib.closing(sqlite3.connect(part, isolation_level=None)) as new,
    ):
        old.backup(new)  # in one step: one moment, whatever is written meanwhile
        new.execute("PRAGMA journal_mode=DELETE")  # one file, which can be read from a folder that cannot be written
        said = new.execute("PRAGMA integrity_check").fetchone()[0]
        if said != "ok":
            raise StoreError(f"the copy of {source} is damaged ({said}), and so may be the store itself")
