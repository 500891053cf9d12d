"""The spool: captures on their way to the store, appended to files in microseconds and surviving a killed process.

A spool is a folder of segments. Each `SpoolWriter` (one per process that records) appends to its own segment and holds
a lock on it; a `SpoolReader` reads whole frames from any segment, and deletes a segment that is read to its end and
that nobody holds. The reader keeps no position: whoever stores the captures stores the position in the same
transaction, so that each capture is stored exactly once.

A frame is one line of sizes and a checksum, the capture's facts as JSON, and both bodies as they are:

    HC1 <facts> <request> <response> <crc32 of the three>\\n<facts><request body><response body>\\n

The folder is bounded in bytes: beyond the bound, or on a full disk, captures are dropped and counted, and the count is
shown.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import os
import re
import secrets
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from heliconnect.exchange import Capture, End

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows has no flock: there a segment is taken as free after an hour
    fcntl = None  # type: ignore[assignment]  # the module or None, tested before use

try:
    import orjson

    _dumps: Callable[[Any], bytes] = orjson.dumps
    _loads: Callable[[bytes], Any] = orjson.loads
except ImportError:
    _dumps = lambda value: json.dumps(value).encode()  # noqa: E731 - the stand-in for one function
    _loads = json.loads

__all__ = ["Batch", "SpoolReader", "SpoolWriter", "decode", "encode"]

_log = logging.getLogger("heliconnect")
_HEAD = re.compile(rb"HC1 (\d{1,9}) (\d{1,12}) (\d{1,12}) ([0-9a-f]{8})\n")
_MAX_HEAD = 64
_SUFFIX = ".spool"
_DROPPED = ".dropped"
_BODIES = frozenset({"request_body", "response_body"})
_FACTS = tuple(f.name for f in dataclasses.fields(Capture) if f.name not in _BODIES)
_ABANDONED_S = 3600.0


def encode(capture: Capture) -> list[bytes]:
    """One frame, as the pieces of one write."""
    facts: dict[str, Any] = {name: getattr(capture, name) for name in _FACTS}
    facts["started_at"] = capture.started_at.timestamp()
    blob = _dumps(facts)
    crc = zlib.crc32(capture.response_body, zlib.crc32(capture.request_body, zlib.crc32(blob)))
    head = b"HC1 %d %d %d %08x\n" % (len(blob), len(capture.request_body), len(capture.response_body), crc)
    return [head, blob, capture.request_body, capture.response_body, b"\n"]


def decode(facts: bytes, request_body: bytes, response_body: bytes) -> Capture:
    """The capture of one frame. Raises ValueError, KeyError or TypeError for facts that are none."""
    found = _loads(facts)
    found["started_at"] = datetime.fromtimestamp(found["started_at"], UTC)
    found["end"] = End(found["end"])
    for name in ("request_headers", "response_headers"):
        found[name] = tuple((key, value) for key, value in found[name])
    found["warnings"] = tuple(found["warnings"])
    return Capture(**found, request_body=request_body, response_body=response_body)


class SpoolWriter:
    """Appends captures to one segment after the other. Never raises while appending; for one thread.

    max_bytes bounds the whole folder, segment_bytes is the size at which a new segment is begun.
    """

    def __init__(self, folder: Path, *, max_bytes: int = 1 << 30, segment_bytes: int = 64 << 20) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._segment_bytes = segment_bytes
        self._fd: int | None = None
        self._size = 0
        self._others_bytes = 0
        self._measured_at = 0.0
        self._dropped_file = folder / f"{secrets.token_hex(6)}{_DROPPED}"
        self.dropped = 0
        self.kept = 0
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def append(self, capture: Capture) -> bool:
        """Keep one capture; True once the operating system has it. False: it was dropped, and counted."""
        try:
            pieces = encode(capture)
            size = sum(map(len, pieces))
            if self._has_room(size):
                self._write(pieces, size)
                self.kept += 1
                return True
            reason = f"the spool is at its bound of {self._max_bytes} bytes"
        except Exception as error:  # noqa: BLE001 - recording may fail, the call it records may not
            reason = f"{type(error).__name__}: {error}"
        self._drop(reason)
        return False

    def close(self) -> None:
        """Let go of the segment: a reader may delete it once it is read."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _has_room(self, size: int) -> bool:
        now = time.monotonic()
        if now - self._measured_at > 1.0:
            self._measured_at = now
            self._others_bytes = _size_of(self._folder) - self._size
        return max(self._others_bytes, 0) + self._size + size <= self._max_bytes

    def _write(self, pieces: list[bytes], size: int) -> None:
        if self._fd is None or self._size >= self._segment_bytes:
            self.close()
            self._others_bytes += self._size
            self._fd, self._size = _new_segment(self._folder), 0
        written = 0
        try:
            written = os.writev(self._fd, pieces)
            while written < size:
                more = os.write(self._fd, b"".join(pieces)[written:])
                written += more
        except OSError:
            os.ftruncate(self._fd, self._size)
            raise
        self._size += size

    def _drop(self, reason: str) -> None:
        self.dropped += 1
        if self.dropped == 1 or self.dropped % 1000 == 0:
            _log.warning("%d LLM call(s) could not be recorded: %s", self.dropped, reason)
        try:
            fresh = self._dropped_file.with_suffix(".new")
            fresh.write_text(str(self.dropped))
            fresh.replace(self._dropped_file)
        except OSError:
            return


def _new_segment(folder: Path) -> int:
    while True:
        path = folder / f"{time.time_ns():020d}-{os.getpid()}-{secrets.token_hex(3)}{_SUFFIX}"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        if fcntl is not None:
            fcntl.flock(fd, fcntl.LOCK_EX)
        try:
            if path.stat().st_ino == os.fstat(fd).st_ino:
                return fd
        except FileNotFoundError:
            pass  # a reader took the empty segment for an abandoned one before it was locked
        os.close(fd)


def _segments(folder: Path) -> Iterator[Path]:
    return (path for path in folder.iterdir() if path.suffix == _SUFFIX)


def _size_of(folder: Path) -> int:
    total = 0
    for path in _segments(folder):
        with contextlib.suppress(FileNotFoundError):  # a reader deleted it meanwhile
            total += path.stat().st_size
    return total


@dataclass(frozen=True, slots=True)
class Batch:
    """Captures read from one segment, and the offset behind the last of them, in bytes. damaged counts lost frames."""

    segment: str
    captures: tuple[Capture, ...]
    offset: int
    damaged: int = 0


class SpoolReader:
    """Reads whole frames; deletes what is read and free. One reader for a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def segments(self) -> list[str]:
        """The names of all segments, oldest first."""
        return sorted(path.name for path in _segments(self._folder))

    def read(self, segment: str, offset: int, *, max_captures: int = 2_000, max_bytes: int = 32 << 20) -> Batch:
        """The whole frames behind `offset`, up to about the given limits; an empty batch when there are none yet.

        A frame that is still being written is left for the next time; one that is damaged is skipped and counted.
        """
        captures: list[Capture] = []
        damaged = 0
        start = offset
        with (self._folder / segment).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            while offset < size and len(captures) < max_captures and offset - start < max_bytes:
                frame = _read_frame(file, offset, size)
                if frame is None:
                    skipped = _next_frame(file, offset, size)
                    if skipped is None:
                        break
                    offset, damaged = skipped, damaged + 1
                    continue
                capture, offset = frame
                if capture is None:
                    damaged += 1
                else:
                    captures.append(capture)
        return Batch(segment, tuple(captures), offset, damaged)

    def is_free(self, segment: str) -> bool:
        """Whether no process appends to this segment any more."""
        path = self._folder / segment
        if fcntl is None:  # pragma: no cover - Windows
            return time.time() - path.stat().st_mtime > _ABANDONED_S
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        finally:
            os.close(fd)
        return True

    def delete(self, segment: str) -> None:
        """Remove a segment that is read to its end and free."""
        (self._folder / segment).unlink(missing_ok=True)

    def size_bytes(self) -> int:
        """How much waits in the folder, stored segments that are still being appended to included."""
        return _size_of(self._folder)

    def dropped(self) -> int:
        """How many captures all writers had to drop since the folder was made."""
        total = 0
        for path in self._folder.glob(f"*{_DROPPED}"):
            try:
                total += int(path.read_text() or 0)
            except (OSError, ValueError):
                continue
        return total


def _read_frame(file: BinaryIO, offset: int, size: int) -> tuple[Capture | None, int] | None:
    """The frame at `offset` and the offset behind it; (None, behind) for one that means nothing; None for no frame."""
    file.seek(offset)
    head = _HEAD.match(file.read(_MAX_HEAD))
    if head is None:
        return None
    facts, request, response = (int(group) for group in head.groups()[:3])
    end = offset + head.end() + facts + request + response + 1
    if end > size:
        return None
    file.seek(offset + head.end())
    blob = file.read(facts + request + response)
    if zlib.crc32(blob) != int(head[4], 16):
        return None
    try:
        capture = decode(blob[:facts], blob[facts : facts + request], blob[facts + request :])
    except (ValueError, KeyError, TypeError):
        return None, end
    return capture, end


def _next_frame(file: BinaryIO, offset: int, size: int) -> int | None:
    """Where the next whole frame behind a damaged place begins; None when none follows (yet)."""
    file.seek(offset)
    at = 0
    data = file.read(min(size - offset, 256 << 20))
    while (at := data.find(b"\nHC1 ", at)) >= 0:
        at += 1
        if _read_frame(file, offset + at, size) is not None:
            return offset + at
    return None
