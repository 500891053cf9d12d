"""A picture to show: a small PNG, made here."""

from __future__ import annotations

import struct
import zlib
from base64 import b64encode


def picture(size: int = 48) -> str:
    """A small PNG as a data URL: a sun on blue."""
    rows = bytearray()
    for y in range(size):
        rows.append(0)
        for x in range(size):
            near = (x - size / 2) ** 2 + (y - size / 2) ** 2 < (size / 3) ** 2
            rows += bytes((240, 140, 0) if near else (60, 90, 200 - 2 * y))
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(rows))),
        (b"IEND", b""),
    )
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return f"data:image/png;base64,{b64encode(png).decode()}"
