"""A data folder: what lies where in it, and which server has it.

A server holds a lock on `up.lock` for as long as it lives; the file says its process and, once it serves, its URL.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from heliconnect.errors import StoreError

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows: two servers on one folder are not told apart there
    fcntl = None  # type: ignore[assignment]  # the module or None, tested before use

__all__ = ["Holder", "holder_of", "lock", "spool_of", "store_of", "tell"]

_MAX_TOLD = 500
_TRIES = 4
_PAUSE_S = 0.05


@dataclass(frozen=True, slots=True)
class Holder:
    """The server that has a folder. process and url are None where it has not told them (yet)."""

    process: int | None
    url: str | None


def store_of(folder: Path) -> Path:
    """The store's file."""
    return folder / "heliconnect.db"


def spool_of(folder: Path) -> Path:
    """The spool's folder."""
    return folder / "spool"


def _lock_of(folder: Path) -> Path:
    return folder / "up.lock"


def lock(folder: Path) -> int:
    """Take the folder for this process; the lock is held until the descriptor given is closed.

    Raises StoreError when another server has it, OSError when the file cannot be made.
    """
    fd = os.open(_lock_of(folder), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if not _is_locked(fd):
        process = _told(fd).process
        os.close(fd)
        raise StoreError(
            f"{folder} is already served by `heliconnect up` (process {process or 'unknown'}); stop that one, or "
            "give this one its own folder with --data-dir"
        )
    tell(fd, "")
    return fd


def _is_locked(fd: int) -> bool:
    """Whether the lock could be taken. `holder_of` takes it for a moment, which is waited for."""
    if fcntl is None:  # pragma: no cover - Windows
        return True
    for _ in range(_TRIES):
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(_PAUSE_S)
        else:
            return True
    return False


def tell(fd: int, url: str) -> None:
    """Write into the lock's file who holds it, and where it serves."""
    os.ftruncate(fd, 0)
    os.lseek(fd, 0, os.SEEK_SET)
    os.write(fd, f"{os.getpid()}\n{url}\n".encode())


def holder_of(folder: Path) -> Holder | None:
    """The server that has the folder; None when there is none."""
    if fcntl is None:  # pragma: no cover - Windows
        return None
    try:
        fd = os.open(_lock_of(folder), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return _told(fd)
    finally:
        os.close(fd)
    return None


def _told(fd: int) -> Holder:
    os.lseek(fd, 0, os.SEEK_SET)
    lines = [*os.read(fd, _MAX_TOLD).decode(errors="replace").split("\n"), "", ""]
    process, url = lines[0].strip(), lines[1].strip()
    return Holder(int(process) if process.isdecimal() else None, url or None)
