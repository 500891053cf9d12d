"""`heliconnect prune` and `backup`: the store made smaller, and copied."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from heliconnect.cli.status import look
from heliconnect.cli.transfer import existing_store
from heliconnect.errors import HeliconnectError
from heliconnect.server.dashboard.format import count, size
from heliconnect.server.folder import holder_of
from heliconnect.server.retention import prune
from heliconnect.store import back_up, open_store
from heliconnect.store.filters import FilterError

__all__ = ["copy_to", "count_old", "remove_old"]

Echo = Callable[[str], None]
_READ_S = 600.0


def count_old(folder: Path, before: datetime, echo: Echo, *, bodies_only: bool) -> None:
    """Say how many records a removal would touch. Raises HeliconnectError."""
    store = open_store(existing_store(folder), read_only=True, read_s=_READ_S)
    try:
        number = store.count_before(before, bodies_only=bodies_only)
    except FilterError as error:
        raise HeliconnectError(f"the records could not be counted: {error}") from error
    finally:
        store.close()
    echo(f"{_records(number, before)} would {'lose their bodies' if bodies_only else 'be removed'}")


def remove_old(folder: Path, before: datetime, echo: Echo, *, bodies_only: bool) -> None:
    """Remove records or their bodies, give the space back, say what was done. Raises HeliconnectError."""
    path = existing_store(folder)
    store = open_store(path)
    try:
        taken = path.stat().st_size
        removed = prune(store, before, bodies_only=bodies_only)
        free = store.shrink(rewrite=holder_of(folder) is None)
    finally:
        store.close()
    given_back = max(0, taken - path.stat().st_size)
    done = "lost their bodies" if bodies_only else "were removed"
    echo(f"{_records(removed, before)} {done}; {size(given_back)} given back to the disk")
    if free:
        echo(
            f"{size(free)} stay free in {path} for new records; to give them back as well, stop the server and prune "
            "again"
        )


def copy_to(folder: Path, target: Path, echo: Echo) -> None:
    """Back a folder's store up, and say what is not in the copy. Raises HeliconnectError."""
    back_up(existing_store(folder), target)
    echo(f"{target}: {size(target.stat().st_size)}, whole and checked")
    waiting = look(None, folder).waiting_bytes
    if waiting:
        echo(f"{size(waiting)} that wait in the spool are not in it")


def _records(number: int, before: datetime) -> str:
    noun = "1 record" if number == 1 else f"{count(number)} records"
    return f"{noun} from before {before:%Y-%m-%d %H:%M:%S} UTC"
