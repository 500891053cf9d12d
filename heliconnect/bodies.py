"""Bodies as they travel, made readable: content codings undone, JSON found in whole answers and in streams.

Bounded: what unpacks to more than MAX_DECODED_BYTES is cut there.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Mapping

from heliconnect import eventstream, sse
from heliconnect.errors import MissingExtraError

try:
    import brotli
    import orjson
    import zstandard
except ImportError as exc:
    raise MissingExtraError("heliconnect.bodies", "server") from exc

__all__ = ["decoded", "parse_answers", "parse_json"]

MAX_DECODED_BYTES = 64 << 20


def decoded(raw: bytes, encodings: str) -> tuple[bytes, str | None]:
    """`raw` without its content codings, as far as they can be undone, and what was in the way."""
    data = raw
    for encoding in reversed([name.strip().lower() for name in encodings.split(",")]):
        if encoding in {"", "identity"}:
            continue
        try:
            data = _CODINGS[encoding](data)
        except KeyError:
            return data, f"unknown content coding {encoding[:20]!r}"
        except (zlib.error, brotli.error, zstandard.ZstdError, EOFError) as error:
            return data, f"not decodable as {encoding}: {type(error).__name__}"
        if len(data) >= MAX_DECODED_BYTES:
            return data[:MAX_DECODED_BYTES], f"only the first {MAX_DECODED_BYTES >> 20} MiB are kept"
    return data, None


def _inflate(data: bytes, bits: int) -> bytes:
    return zlib.decompressobj(bits).decompress(data, MAX_DECODED_BYTES)


def _deflate(data: bytes) -> bytes:
    """Either meaning of "deflate": with zlib's head, or bare. Source: RFC 9110, 8.4.1.2."""
    try:
        return _inflate(data, zlib.MAX_WBITS)
    except zlib.error:
        return _inflate(data, -zlib.MAX_WBITS)


def _unbrotli(data: bytes) -> bytes:
    decoder, out = brotli.Decompressor(), bytearray()
    for at in range(0, len(data), 1 << 14):
        out += decoder.process(data[at : at + (1 << 14)])
        if len(out) >= MAX_DECODED_BYTES:
            break
    return bytes(out)


def _unzstd(data: bytes) -> bytes:
    with zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True) as reader:
        return reader.read(MAX_DECODED_BYTES)


_CODINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: _inflate(data, zlib.MAX_WBITS | 16),
    "x-gzip": lambda data: _inflate(data, zlib.MAX_WBITS | 16),
    "deflate": _deflate,
    "br": _unbrotli,
    "zstd": _unzstd,
}


def parse_json(data: bytes) -> object:
    """`data` as JSON; None for none, and for what is no JSON."""
    try:
        return orjson.loads(data) if data else None
    except orjson.JSONDecodeError:
        return None


def parse_answers(data: bytes, content_type: str) -> list[object]:
    """The JSON objects of an answer: one, a stream's events, a JSON array's items, or a line each; empty for none.

    An event that is cut off or no JSON is left out, a stream's "[DONE]" too.
    """
    if not data:
        return []
    if eventstream.CONTENT_TYPE in content_type:
        return list(eventstream.decode(data))
    if "event-stream" in content_type or data.startswith((b"data:", b"event:")):
        found = (parse_json(event.data) for event in sse.decode(data) if event.data.startswith((b"{", b"[")))
        return [one for one in found if isinstance(one, Mapping)]
    whole = parse_json(data)
    if isinstance(whole, list):
        return whole
    if whole is not None:
        return [whole]
    if data.lstrip().startswith(b"["):
        return _cut_array(data)
    return [one for line in data.splitlines() if line.startswith(b"{") and (one := parse_json(line)) is not None]


def _cut_array(data: bytes) -> list[object]:
    """The whole items of a JSON array that breaks off, as a cut stream of Gemini's does."""
    for end in (at.start() for at in reversed(list(re.finditer(rb"\}\s*,", data))[-200:])):
        whole = parse_json(data[: end + 1] + b"]")
        if isinstance(whole, list):
            return whole
    return []
