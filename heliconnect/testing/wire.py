"""The provider's side of HTTP/1.1: reads one request from a socket, writes an answer in pieces. Small and lenient."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from heliconnect.flavors import Flavor, flavor_of

__all__ = ["Reader", "Received", "note_disconnect", "read_request", "write_body", "write_head"]

MAX_HEAD_BYTES = 1 << 20
_PHRASES = {status.value: status.phrase for status in HTTPStatus}


@dataclass(slots=True)
class _End:
    """How an answer ended: the one thing that is not known yet when its request is shown."""

    disconnected_at: float | None = None


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it arrived: raw_headers in wire order with names and values as sent, duplicates kept.

    path is still percent-encoded, query has no "?". received_at is when the whole body was there, aware UTC.
    """

    method: str
    path: str
    query: str
    raw_headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    received_at: datetime
    _end: _End = field(default_factory=_End, repr=False, compare=False)

    @property
    def headers(self) -> dict[str, str]:
        """Headers by lower-case name, read as UTF-8 (else Latin-1); repeated ones joined with ", "."""
        found: dict[str, str] = {}
        for sent, value in self.header_pairs:
            name = sent.lower()
            found[name] = f"{found[name]}, {value}" if name in found else value
        return found

    @property
    def header_pairs(self) -> list[tuple[str, str]]:
        """Headers in wire order, names in the case they were sent in, repeated ones kept; values as in `headers`."""
        return [(name.decode("latin-1"), _text(value)) for name, value in self.raw_headers]

    @property
    def flavor(self) -> Flavor:
        """Which API the path belongs to; OTHER for the list of models and for unknown paths."""
        return flavor_of(self.path, None, ())

    @property
    def model(self) -> str | None:
        """The model asked for, by the body or, at Gemini and Azure, by the path; None where neither names one."""
        try:
            body = self.json()
        except ValueError:
            body = None
        return model_of(self.path, body)

    @property
    def disconnected_at(self) -> float | None:
        """When the client went away before the whole answer was sent (of time.monotonic()); None when it did not."""
        return self._end.disconnected_at

    def json(self) -> Any:
        """The body as JSON. Raises ValueError when it is none."""
        return json.loads(self.body)


def note_disconnect(request: Received, at: float) -> None:
    """Note that the client of `request` went away at `at`, of time.monotonic()."""
    request._end.disconnected_at = at


def model_of(path: str, body: object) -> str | None:
    """The model that a parsed body or a path asks for; None where neither names one."""
    if isinstance(body, dict) and isinstance(body.get("model"), str):
        return str(body["model"])
    for mark in ("/models/", "/deployments/"):
        if mark in path:
            return path.rpartition(mark)[2].partition(":")[0].partition("/")[0] or None
    return None


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


class Reader(asyncio.StreamReader):
    """A StreamReader that tells when its peer has closed, also while bytes of a next request are still unread."""

    def __init__(self) -> None:
        super().__init__(limit=MAX_HEAD_BYTES, loop=asyncio.get_running_loop())
        self.closed = asyncio.Event()

    def feed_eof(self) -> None:
        """The peer sends no more."""
        super().feed_eof()
        self.closed.set()

    def set_exception(self, exc: Exception) -> None:
        """The connection broke."""
        super().set_exception(exc)
        self.closed.set()

    async def closes_within(self, delay_ms: float | None) -> bool:
        """Wait so long (None: for ever), but only until the peer closes. True when it did."""
        if delay_ms == 0:
            await asyncio.sleep(0)
            return self.closed.is_set()
        try:
            async with asyncio.timeout(None if delay_ms is None else delay_ms / 1000):
                await self.closed.wait()
        except TimeoutError:
            return False
        return True


async def read_request(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Received | None:
    """The next request of a connection, body and all; None when the peer has closed it."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    first, *lines = head[:-4].split(b"\r\n")
    method, target, _ = first.split(b" ", 2)
    raw_headers = tuple((name, value.strip(b" \t")) for name, _, value in (line.partition(b":") for line in lines))
    by_name = {name.lower(): value for name, value in raw_headers}
    if by_name.get(b"expect", b"").lower() == b"100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = b""
    if b"chunked" in by_name.get(b"transfer-encoding", b"").lower():
        body = await _read_chunked(reader)
    elif length := int(by_name.get(b"content-length", b"0")):
        body = await reader.readexactly(length)
    path, _, query = target.decode("latin-1").partition("?")
    return Received(method.decode(), path, query, raw_headers, body, datetime.now(UTC))


async def _read_chunked(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while size := int((await reader.readline()).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    while (await reader.readline()).strip():
        continue
    return bytes(body)


async def write_head(
    writer: asyncio.StreamWriter, status: int, headers: tuple[tuple[str, str], ...], length: int | None
) -> None:
    """A status line and headers; length None announces a chunked body."""
    framing = ("transfer-encoding", "chunked") if length is None else ("content-length", str(length))
    first = f"HTTP/1.1 {status} {_PHRASES.get(status, 'Unknown')}"
    lines = [first, *(f"{name}: {value}" for name, value in (*headers, framing)), "", ""]
    writer.write("\r\n".join(lines).encode())
    await writer.drain()


async def write_body(writer: asyncio.StreamWriter, piece: bytes) -> None:
    """One chunk of a chunked body; an empty one ends it."""
    writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
    await writer.drain()
