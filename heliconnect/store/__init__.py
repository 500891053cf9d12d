"""Where exchanges live. The only package that knows SQL; callers see `Store`, records and filters."""

from __future__ import annotations

from pathlib import Path

from heliconnect.errors import MissingExtraError, StoreError

try:
    from heliconnect.store.base import Facet, Mark, Note, Row, SessionRow, Store
    from heliconnect.store.space import back_up
    from heliconnect.store.sqlite import READ_S, SqliteStore
except ImportError as exc:
    raise MissingExtraError("heliconnect.store", "server") from exc

__all__ = ["Facet", "Mark", "Note", "Row", "SessionRow", "Store", "back_up", "open_store"]


def open_store(place: str | Path, *, read_only: bool = False, read_s: float = READ_S) -> Store:
    """The store at `place`, a file's path; made or brought up to date unless read_only. A query may take `read_s`.

    Raises StoreError when it cannot be opened, or was written by a newer version.
    """
    text = str(place)
    if "://" in text:
        raise StoreError(f"expected the path of a SQLite file, got {text!r}: other engines are not available yet")
    return SqliteStore(Path(text), read_only=read_only, read_s=read_s)
