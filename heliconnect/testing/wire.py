"""The provider's side of HTTP/1.1: reads one request from a socket, writes an answer in pieces. Small and lenient."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

__all__ = ["Received", "read_request", "write_body", "write_head"]

MAX_HEAD_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it arrived: raw_headers in wire order with names and values as sent, duplicates kept."""

    method: str
    path: str
    query: str
    raw_headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    received_at: datetime

    @property
    def headers(self) -> dict[str, str]:
        """Headers by lower-case name, read as UTF-8 (else Latin-1); repeated ones joined with ", "."""
        found: dict[str, str] = {}
        for raw_name, raw_value in self.raw_headers:
            name, value = raw_name.decode("latin-1").lower(), _text(raw_value)
            found[name] = f"{found[name]}, {value}" if name in found else value
        return found

    def json(self) -> Any:
        """The body as JSON. Raises ValueError when it is none."""
        return json.loads(self.body)


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


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
    lines = [f"HTTP/1.1 {status} -", *(f"{name}: {value}" for name, value in (*headers, framing)), "", ""]
    writer.write("\r\n".join(lines).encode())
    await writer.drain()


async def write_body(writer: asyncio.StreamWriter, piece: bytes) -> None:
    """One chunk of a chunked body; an empty one ends it."""
    writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
    await writer.drain()
