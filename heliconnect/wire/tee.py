"""Streams of httpx and httpx2 that tell a record what passes through them, and change nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import cache
from typing import Any

from heliconnect.wire.direct import DirectRecord

__all__ = ["async_tee", "tee"]


@cache
def tee(base: Any) -> Any:
    """A subclass of a library's `SyncByteStream`: made of a stream and a record."""

    class Tee(base):  # type: ignore[misc]  # one of two classes that mypy does not know here
        def __init__(self, stream: Any, record: DirectRecord) -> None:
            self._stream = stream
            self._record = record

        def __iter__(self) -> Iterator[bytes]:
            for piece in self._stream:
                self._record.feed(piece)
                yield piece
            self._record.finish()

        def close(self) -> None:
            try:
                self._stream.close()
            finally:
                self._record.finish(is_whole=False)

    return Tee


@cache
def async_tee(base: Any) -> Any:
    """The same for a library's `AsyncByteStream`."""

    class AsyncTee(base):  # type: ignore[misc]  # as above
        def __init__(self, stream: Any, record: DirectRecord) -> None:
            self._stream = stream
            self._record = record

        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for piece in self._stream:
                self._record.feed(piece)
                yield piece
            self._record.finish()

        async def aclose(self) -> None:
            try:
                await self._stream.aclose()
            finally:
                self._record.finish(is_whole=False)

    return AsyncTee
