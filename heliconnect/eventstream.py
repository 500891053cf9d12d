"""Amazon's event streams: binary messages -> the JSON in them.

A message is its length, the length of its headers, a checksum of both, the headers, the payload, a checksum of it all.
What is cut off or damaged ends the reading: all messages before it are whole.
Source: https://docs.aws.amazon.com/AmazonS3/latest/API/RESTSelectObjectAppendix.html#RESTSelectObjectAppendixMessage
"""

from __future__ import annotations

import base64
import binascii
import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["CONTENT_TYPE", "decode"]

CONTENT_TYPE = "application/vnd.amazon.eventstream"
_PRELUDE = struct.Struct(">III")
_FRAME = _PRELUDE.size + 4
# The type of a header's value -> how many bytes it takes; 6 and 7, bytes and text, say their length themselves.
_SIZES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
_TEXT = 7


def decode(data: bytes) -> Iterator[dict[str, Any]]:
    """The JSON objects of a stream, in order; each event of Converse has its type as "type".

    A chunk of InvokeModel holds an event of the model's own API, which is given as it is.
    """
    at = 0
    while at + _FRAME <= len(data):
        total, headers_size, checksum = _PRELUDE.unpack_from(data, at)
        end = at + total
        if total < _FRAME + headers_size or end > len(data) or zlib.crc32(data[at : at + 8]) != checksum:
            return
        if zlib.crc32(data[at : end - 4]) != int.from_bytes(data[end - 4 : end]):
            return
        start = at + _PRELUDE.size
        found = _event(_headers(data[start : start + headers_size]), data[start + headers_size : end - 4])
        if found is not None:
            yield found
        at = end


def _headers(block: bytes) -> dict[str, str]:
    """The headers with a text value."""
    found: dict[str, str] = {}
    at = 0
    while at < len(block):
        name_end = at + 1 + block[at]
        kind = block[name_end] if name_end < len(block) else -1
        value_at = name_end + 1
        size = _SIZES.get(kind, -1)
        if kind in {6, 7}:
            size = int.from_bytes(block[value_at : value_at + 2])
            value_at += 2
        if size < 0 or value_at + size > len(block):
            break
        if kind == _TEXT:
            name, value = block[at + 1 : name_end], block[value_at : value_at + size]
            found[name.decode("utf-8", "replace")] = value.decode("utf-8", "replace")
        at = value_at + size
    return found


def _event(headers: Mapping[str, str], payload: bytes) -> dict[str, Any] | None:
    told = _json(payload)
    if told is None:
        return None
    kind = headers.get(":event-type") or headers.get(":exception-type") or ""
    if kind == "chunk" and isinstance(told.get("bytes"), str):
        try:
            return _json(base64.b64decode(told["bytes"]))
        except binascii.Error:
            return None
    if headers.get(":message-type") == "exception":
        return {"type": "error", "error": {"type": kind, "message": told.get("message")}}
    return {"type": kind, **told}


def _json(data: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(data)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
