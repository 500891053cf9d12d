"""The connection of a client: takes requests off it one by one, whatever way they were cut or queued."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, cast

from heliconnect.errors import MissingExtraError
from heliconnect.protocol import OPENAI_API_BASE, TARGET_URL
from heliconnect.server.dataplane.call import Call, error_answer
from heliconnect.server.dataplane.capture import Tee, request_id_of
from heliconnect.server.dataplane.featured import FeaturedCall
from heliconnect.server.dataplane.heads import BadHead, RequestHead, parse_request
from heliconnect.server.dataplane.provider_side import Chunks
from heliconnect.server.dataplane.targets import Refusal, Target
from heliconnect.server.features.wishes import wishes_of

try:
    import httptools
except ImportError as exc:
    raise MissingExtraError("heliconnect.server.dataplane", "server") from exc

if TYPE_CHECKING:
    from heliconnect.server.dataplane.plane import Plane

__all__ = ["ClientSide"]

_TARGET_URL = TARGET_URL.lower().encode()
_API_BASE = OPENAI_API_BASE.lower().encode()
_TLS_HANDSHAKE = b"\x16"


class ClientSide(asyncio.Protocol):
    """One client's connection. close_after ends it after the answer under way."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)
        self._buffer = bytearray()
        self._call: Call | None = None
        self._deadline = 0.0
        self._is_reading = True
        self.close_after = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if not self._plane.admit(self):
            self._transport.abort()
            return
        self._deadline = self._plane.loop.time() + self._plane.config.head_timeout

    @property
    def is_busy(self) -> bool:
        """Whether a call is under way, or a request has begun to arrive."""
        return self._call is not None or bool(self._buffer)

    def data_received(self, data: bytes) -> None:
        call = self._call
        if call is not None and call.wants_body:
            data = call.request_bytes(data)
            if not data:
                return
        if not self._buffer:
            self._deadline = self._plane.loop.time() + self._plane.config.head_timeout
        self._buffer += data
        if self._call is None:
            self._next()
        elif len(self._buffer) > self._plane.config.max_head:
            self.pause_reading()  # further requests wait in the socket

    def _next(self) -> None:
        """Begin the next request, if its head is there."""
        if self._call is not None or self._transport.is_closing():
            return
        buffer = self._buffer
        while buffer.startswith(b"\r\n"):
            del buffer[:2]  # RFC 9112 2.2: an empty line before a request is ignored
        if buffer[:1] == _TLS_HANDSHAKE:
            self._reject(400, "this gateway speaks plain HTTP: write http:// in its URL")
            return
        end = buffer.find(b"\r\n\r\n")
        if end < 0 or end > self._plane.config.max_head:
            if end >= 0 or len(buffer) > self._plane.config.max_head:
                self._reject(431, f"a request's head may have {self._plane.config.max_head} bytes")
            return
        raw = bytes(buffer[: end + 4])
        del buffer[: end + 4]
        chunks = Chunks()
        parser = httptools.HttpRequestParser(chunks)
        try:
            head = parse_request(raw[:-4], self._plane.config.max_headers)
            parser.feed_data(raw)
        except BadHead as error:
            self._reject(error.status, error.reason)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._reject(400, f"the request is malformed: {error}")
        else:
            self._begin(head, parser, chunks)

    def _begin(self, head: RequestHead, parser: httptools.HttpRequestParser, chunks: Chunks) -> None:
        if head.length is not None and head.length > self._plane.config.max_body:
            self._reject(413, f"a body may have {self._plane.config.max_body} bytes")
            return
        if head.value(b"upgrade"):
            self._reject(501, "protocols are not switched: websockets go to their provider directly")
            return
        target, tee = self._aim(head)
        if isinstance(target, Refusal):
            self._reject(target.status, target.message, is_unsent=True)
            return
        if not head.is_keep_alive or self._plane.is_stopping:
            self.close_after = True
        wishes = wishes_of(head.lines) if tee is not None else None
        given = (self._plane, self, head, parser, chunks, target, tee)
        call = self._call = Call(*given) if wishes is None else FeaturedCall(*given, wishes=wishes)
        if not self._buffer or not call.wants_body:
            call.start()
            return
        call.hold()
        call.start()
        if self._call is call:
            data = bytes(self._buffer)
            self._buffer.clear()
            self._buffer += call.request_bytes(data)
        call.let_go()

    def _aim(self, head: RequestHead) -> tuple[Target | Refusal | None, Tee | None]:
        text = head.target.decode("latin-1")
        if self._plane.targets.is_control(text.partition("?")[0]):
            return None, None
        target_url, api_base = head.value(_TARGET_URL).decode("latin-1"), head.value(_API_BASE).decode("latin-1")
        host = head.value(b"host").decode("latin-1")
        target = self._plane.targets.of(text, target_url, api_base, host)
        if isinstance(target, Refusal):
            return target, None
        tee = Tee(head, request_id_of(head), self._plane.config.max_kept_body, self._plane.budget)
        tee.url, tee.provider = target.url, target.provider
        tee.key_elsewhere(target.helicone_key)
        keys = self._plane.keys
        if keys is not None and not keys.may_write(tee.caller):
            return Refusal(401, "this gateway needs a key of its own: Helicone-Auth: Bearer sk-helicone-..."), None
        return target, tee

    def _reject(self, status: int, message: str, *, is_unsent: bool = False) -> None:
        """Answer a request that is not forwarded, and close: what follows on this connection cannot be trusted."""
        self._transport.write(error_answer(status, message, None, keep_alive=False, is_unsent=is_unsent))
        self._buffer.clear()
        self._transport.close()

    # For the call

    def write(self, data: bytes) -> None:
        """Send to the client."""
        self._transport.write(data)

    def call_over(self, call: Call) -> None:
        """The call has ended: the next request may begin."""
        if self._call is not call:
            return
        self._call = None
        if self._transport.is_closing():
            return
        if self.close_after or self._plane.is_stopping:
            self._transport.close()
            return
        self._deadline = self._plane.loop.time() + self._plane.config.keep_alive
        self.resume_reading()
        if self._buffer:
            self._plane.loop.call_soon(self._next)

    def break_off(self) -> None:
        """Close after what was written, without any end that could be taken for a clean one."""
        self._transport.close()

    def abort(self) -> None:
        """Close at once, by a reset, so that an answer which ends with the connection cannot look complete."""
        raw = self._transport.get_extra_info("socket")
        if raw is not None and not self._transport.is_closing():
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    def pause_reading(self) -> None:
        """Let the client wait."""
        if self._is_reading and not self._transport.is_closing():
            self._is_reading = False
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Take from the client again."""
        if not self._is_reading and not self._transport.is_closing():
            self._is_reading = True
            self._transport.resume_reading()

    # From the event loop

    def pause_writing(self) -> None:
        if self._call is not None:
            self._call.pause_provider()

    def resume_writing(self) -> None:
        if self._call is not None:
            self._call.resume_provider()

    def check(self, now: float) -> None:
        """Close what has taken too long. now is the loop's time."""
        if self._call is not None:
            self._call.check(now)
        elif now >= self._deadline:
            if self._buffer:
                self._reject(408, "the request did not arrive in time")
            else:
                self._transport.close()

    def close_idle(self) -> None:
        """Close if nothing is under way."""
        if not self.is_busy:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._plane.dismiss(self)
        call, self._call = self._call, None
        if call is not None:
            call.client_lost()
