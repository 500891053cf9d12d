"""The connection to a provider: frames its answers and hands them to the call, piece by piece as they arrive."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from heliconnect.errors import MissingExtraError
from heliconnect.server.dataplane.heads import BadHead, ResponseHead, parse_response

try:
    import httptools
except ImportError as exc:
    raise MissingExtraError("heliconnect.server.dataplane", "server") from exc

if TYPE_CHECKING:
    from heliconnect.server.dataplane.call import Call
    from heliconnect.server.dataplane.upstreams import Key, Upstreams

__all__ = ["Chunks", "ProviderSide"]

_MAX_HEAD = 256 << 10
_MAX_HEADERS = 1_000


class Chunks:
    """What llhttp reads of one chunked message: pieces of its body, and whether it is complete.

    surplus says that bytes followed which belong to no message.
    """

    __slots__ = ("_begun", "is_complete", "pieces", "surplus")

    def __init__(self) -> None:
        self._begun = False
        self.pieces: list[bytes] = []
        self.is_complete = False
        self.surplus = False

    def on_message_begin(self) -> None:
        self.surplus = self._begun
        self._begun = True

    def on_body(self, piece: bytes) -> None:
        if not self.is_complete:
            self.pieces.append(piece)

    def on_message_complete(self) -> None:
        self.is_complete = True

    def take(self) -> bytes:
        """The pieces read since the last time."""
        body = self.pieces[0] if len(self.pieces) == 1 else b"".join(self.pieces)
        self.pieces = []
        return body


class ProviderSide(asyncio.Protocol):
    """One connection, for one call after the other."""

    __slots__ = (
        "_buffer",
        "_chunks",
        "_left",
        "_mode",
        "_parser",
        "_upstreams",
        "call",
        "idle_until",
        "is_open",
        "is_reused",
        "key",
        "transport",
    )

    def __init__(self, upstreams: Upstreams, key: Key) -> None:
        self._upstreams = upstreams
        self._buffer = b""
        self._mode = "head"
        self._left = 0
        self._parser: Any = None
        self._chunks = Chunks()
        self.key = key
        self.call: Call | None = None
        self.is_open = True
        self.is_reused = False
        self.idle_until = 0.0
        self.transport: asyncio.Transport = cast("asyncio.Transport", None)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def begin(self, call: Call) -> None:
        """Serve `call` from now on."""
        self.call = call
        self._mode = "head"
        self._buffer = b""

    def close(self) -> None:
        """Close at once, without a word to the call."""
        self.call = None
        self.is_open = False
        if self.transport is not None:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        call = self.call
        if call is None:
            self.close()  # bytes that nobody asked for
            self._upstreams.forget(self)
            return
        try:
            rest: bytes | None = self._head(call, data) if self._mode == "head" else data
            if rest is not None:
                self._body(call, rest)
        except (BadHead, httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self.close()
            call.provider_failed(f"the provider's answer is malformed: {error}")
            return
        call.flush()

    def _head(self, call: Call, data: bytes) -> bytes | None:
        """Read heads up to the final one; gives what follows it, or None while it is incomplete."""
        self._buffer = self._buffer + data if self._buffer else data
        while True:
            head, separator, rest = self._buffer.partition(b"\r\n\r\n")
            if not separator:
                if len(self._buffer) > _MAX_HEAD:
                    raise BadHead(502, "the head is too large")
                return None
            parsed = parse_response(head, _MAX_HEADERS)
            self._buffer = rest
            if parsed.status == 101:
                raise BadHead(502, "protocols are not switched")
            if parsed.status >= 200:
                break
        self._buffer = b""
        self._chunks = Chunks()
        self._parser = httptools.HttpResponseParser(self._chunks)
        self._parser.feed_data(head + b"\r\n\r\n")
        self._begin_body(call, parsed)
        call.provider_head(parsed, has_body=self._mode != "none")
        return rest

    def _begin_body(self, call: Call, head: ResponseHead) -> None:
        if call.head.method == b"HEAD" or head.status in {204, 304} or head.length == 0:
            self._mode = "none"
        elif head.is_chunked:
            self._mode = "chunked"
        elif head.length is not None:
            self._mode, self._left = "length", head.length
        else:
            self._mode = "eof"

    def _body(self, call: Call, data: bytes) -> None:
        is_clean = True
        if self._mode == "length":
            if len(data) > self._left:
                data, is_clean = data[: self._left], False
            self._left -= len(data)
            is_over = self._left == 0
        elif self._mode == "chunked":
            self._parser.feed_data(data)
            data = self._chunks.take()
            is_over, is_clean = self._chunks.is_complete, not self._chunks.surplus
        elif self._mode == "eof":
            is_over = False
        else:
            is_over, is_clean, data = True, not data, b""
        if data:
            call.provider_body(data)
        if is_over:
            self._over(call, is_clean)

    def _over(self, call: Call, is_clean: bool) -> None:
        self.call = None
        if is_clean and call.may_reuse_provider and not self.transport.is_closing():
            self._upstreams.give(self)
        else:
            self.close()
        call.provider_done()

    def eof_received(self) -> None:
        """The provider closes; what that means is decided when the connection is gone."""

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        self._upstreams.forget(self)
        call, self.call = self.call, None
        if call is None:
            return
        if self._mode == "eof" and exc is None:
            call.provider_done()
        else:
            call.provider_lost(self, has_begun=self._mode != "head" or bool(self._buffer))

    def pause_writing(self) -> None:
        if self.call is not None:
            self.call.pause_client()

    def resume_writing(self) -> None:
        if self.call is not None:
            self.call.resume_client()
