"""Log entries that wait on disk for their gateway: one file each, bounded, private, sent by whoever comes next.

A file appears whole or not at all, and goes when its gateway has taken the entry; between the two a crash may send it
once more, which the gateway knows by the request id. No key is ever in a file.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows has no flock: there every process delivers
    fcntl = None  # type: ignore[assignment]  # the module or None, tested before use

__all__ = ["Entry", "Outbox", "default_folder"]

_log = logging.getLogger("heliconnect")
_SUFFIX = ".entry"


@dataclass(frozen=True, slots=True)
class Entry:
    """One log on its way: where to, with which headers besides the key's, and its JSON."""

    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        return len(self.body) + 200


def default_folder() -> Path:
    """Where entries wait unless told otherwise: ~/.local/state/heliconnect/outbox on Linux."""
    state = os.environ.get("XDG_STATE_HOME")
    try:
        base = Path(state) if state else Path.home() / ".local" / "state"
    except RuntimeError:  # a process without a home
        base = Path(tempfile.gettempdir())
    return base / "heliconnect" / "outbox"


class Outbox:
    """A folder of entries. No method raises: what cannot be kept or read is logged once."""

    def __init__(self, folder: Path, max_bytes: int = 256 << 20) -> None:
        self.folder = folder
        self._max_bytes = max_bytes
        self._has_told = False

    def put(self, entry: Entry) -> bool:
        """Keep an entry; False when there is no room or no way."""
        head = json.dumps({"url": entry.url, "headers": entry.headers}).encode()
        name = f"{time.time_ns():020d}-{secrets.token_hex(4)}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if sum(path.stat().st_size for path in self._files()) + entry.size > self._max_bytes:
                self._tell(f"it is at its bound of {self._max_bytes >> 20} MiB")
                return False
            fresh = self.folder / f"{name}.new"
            fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(fd, "wb") as file:
                file.write(head + b"\n" + entry.body)
            fresh.rename(self.folder / (name + _SUFFIX))
        except OSError as error:
            self._tell(f"{type(error).__name__}: {error.strerror}")
            return False
        return True

    def waiting(self) -> list[Path]:
        """The files of the entries that wait, oldest first."""
        with contextlib.suppress(OSError):
            return self._files()
        return []

    def read(self, path: Path) -> Entry | None:
        """The entry of a file; None for one that is gone or no entry, which is removed."""
        try:
            head, _, body = path.read_bytes().partition(b"\n")
            found = json.loads(head)
            return Entry(str(found["url"]), tuple((str(k), str(v)) for k, v in found["headers"]), body)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            self._tell(f"an entry could not be read ({type(error).__name__})")
            self.remove(path)
            return None

    def remove(self, path: Path) -> None:
        """The entry was taken."""
        with contextlib.suppress(OSError):
            path.unlink()

    @contextlib.contextmanager
    def delivering(self) -> Iterator[bool]:
        """Whether this process may deliver now: one does at a time."""
        if fcntl is None:  # pragma: no cover - Windows
            yield True
            return
        try:
            fd = os.open(self.folder / ".lock", os.O_WRONLY | os.O_CREAT, 0o600)
        except OSError:
            yield False
            return
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
        else:
            yield True
        finally:
            os.close(fd)

    def _files(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        return sorted(path for path in self.folder.iterdir() if path.suffix == _SUFFIX)

    def _tell(self, reason: str) -> None:
        if not self._has_told:
            self._has_told = True
            _log.warning("records that wait for the gateway in %s are incomplete: %s", self.folder, reason)
