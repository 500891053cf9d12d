"""One call: a request on its way to its target, the answer on its way back, and what is kept of both.

It ends exactly once, in `_end`, which also records it; there is no way round that.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

from heliconnect.errors import MissingExtraError
from heliconnect.exchange import End
from heliconnect.server.dataplane import mock
from heliconnect.server.dataplane.capture import Tee
from heliconnect.server.dataplane.heads import RequestHead, ResponseHead, client_head
from heliconnect.server.dataplane.provider_side import Chunks, ProviderSide
from heliconnect.server.dataplane.targets import Target
from heliconnect.server.dataplane.upstreams import Key, PrivateAddressError

try:
    import httptools
except ImportError as exc:
    raise MissingExtraError("heliconnect.server.dataplane", "server") from exc

if TYPE_CHECKING:
    from heliconnect.server.dataplane.client_side import ClientSide
    from heliconnect.server.dataplane.plane import Plane

__all__ = ["Call", "error_answer"]

_MAX_WAITING = 1 << 20
_SAFE_TO_REPEAT = frozenset({b"GET", b"HEAD", b"OPTIONS"})


def error_answer(
    status: int, message: str, request_id: str | None, *, keep_alive: bool, is_unsent: bool = False
) -> bytes:
    """An answer of our own: JSON in OpenAI's shape, marked by `helicone-error`.

    is_unsent tells the client that nothing of the request reached the provider, so that it may send it itself.
    """
    body = json.dumps(
        {
            "error": {"message": message, "type": "heliconnect_error", "param": None, "code": None},
            "helicone-error": message,
        }
    ).encode()
    lines = [
        b"HTTP/1.1 %d Error" % status,
        b"content-type: application/json",
        b"content-length: %d" % len(body),
        b"helicone-error: true",
    ]
    if request_id is not None:
        lines.append(b"helicone-id: " + request_id.encode("latin-1"))
    if is_unsent:
        lines.append(b"helicone-unsent: true")
    if not keep_alive:
        lines.append(b"connection: close")
    return b"\r\n".join([*lines, b"", body])


class Call:
    """Between one `ClientSide` and one `ProviderSide`.

    target is None for the control plane, tee is None where nothing is kept.
    """

    def __init__(
        self,
        plane: Plane,
        client: ClientSide,
        head: RequestHead,
        parser: Any,
        chunks: Chunks,
        target: Target | None,
        tee: Tee | None,
    ) -> None:
        self._plane = plane
        self._client = client
        self._parser = parser
        self._chunks = chunks
        self._target = target
        self._tee = tee
        self._provider: ProviderSide | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._left = head.length
        self._received = 0
        self._waiting: list[bytes] = []
        self._waiting_size = 0
        self._out: list[bytes] = []
        self._frames_chunks = False
        self._has_answered = False
        self.is_over = False
        self._is_ended_by_close = False
        self._provider_keep_alive = False
        self._deadline = 0.0
        self._added: list[bytes] = []
        self._held: list[bytes] | None = None
        self._mock = head.value(mock.MOCK_HEADER) if tee is not None else b""
        self.head = head
        self.request_done = head.length == 0

    @property
    def wants_body(self) -> bool:
        """Whether bytes of the request are still to come."""
        return not self.request_done

    @property
    def may_reuse_provider(self) -> bool:
        """Whether the provider's connection may serve another call after this one."""
        return self._provider_keep_alive and self.request_done

    # Towards the provider

    def start(self) -> None:
        """Find a connection and send the head on it."""
        self._touch(self._plane.config.body_timeout)
        if self._mock:
            if self.request_done:
                self._answer_mock()
            return
        if self.head.expects_continue and self.wants_body:
            self._client.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._find_provider()

    def _find_provider(self) -> None:
        """Send on a connection that waits, or make one."""
        side = self._plane.upstreams.take(self._key())
        if side is not None:
            self._send_on(side)
        else:
            self._connect()

    def hold(self) -> None:
        """Keep what goes to the provider until `let_go`: a head and the body behind it leave in one piece."""
        self._held = []

    def let_go(self) -> None:
        """Send what was held."""
        held, self._held = self._held, None
        if held and self._provider is not None:
            self._provider.transport.write(b"".join(held))

    def _send(self, side: ProviderSide, data: bytes) -> None:
        if self._held is None:
            side.transport.write(data)
        else:
            self._held.append(data)

    def _key(self) -> Key:
        target = self._target
        return self._plane.upstreams.control_key() if target is None else (target.scheme, target.host, target.port)

    def _connect(self) -> None:
        self._connecting = self._plane.loop.create_task(self._connected())

    async def _connected(self) -> None:
        try:
            side = await self._plane.upstreams.connect(self._key(), self._target)
        except PrivateAddressError as error:
            self._refuse(
                403,
                f"{error} is not a public address: allow it with --allow-target {error}",
                End.UNREACHABLE,
                "refused",
            )
        except (OSError, TimeoutError) as error:
            what = "the control plane" if self._target is None else self._target.authority
            words = f"no connection to {what}: {type(error).__name__}: {error}".rstrip(": ")
            self._refuse(503 if self._target is None else 502, words, End.UNREACHABLE, words)
        else:
            if self.is_over:
                self._plane.upstreams.give(side)
            else:
                self._send_on(side)

    def _send_on(self, side: ProviderSide) -> None:
        self._provider = side
        side.begin(self)
        head = self._head_for_upstream()
        self._send(side, b"".join((head, *self._waiting)) if self._waiting else head)
        self._waiting, self._waiting_size = [], 0
        self._client.resume_reading()
        self._await_next()

    def _head_for_upstream(self) -> bytes:
        target = self._target
        if target is None:
            return self.head.for_upstream(self.head.target, self.head.value(b"host"), keep_helicone=True)
        host = target.authority.encode("ascii" if target.authority.isascii() else "idna")
        return self.head.for_upstream(target.path.encode("latin-1"), host, keep_helicone=False)

    def request_bytes(self, data: bytes) -> bytes:
        """Take what belongs to the request's body; gives the bytes behind it, a next request's."""
        if self._left is None:
            return self._chunked_bytes(data)
        piece, rest = data[: self._left], data[self._left :]
        self._left -= len(piece)
        self.request_done = self._left == 0
        self._forward(piece, piece)
        return rest

    def _chunked_bytes(self, data: bytes) -> bytes:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._refuse(400, f"the chunked body is malformed: {error}", End.CANCELLED, "malformed request body")
            return b""
        if self._chunks.surplus:
            self._refuse(400, "a request behind a chunked one must wait for its answer", End.CANCELLED, "surplus bytes")
            return b""
        piece = self._chunks.take()
        framed = b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b""
        if self._chunks.is_complete:
            self.request_done = True
            framed += b"0\r\n\r\n"
        self._forward(piece, framed)
        return b""

    def _forward(self, piece: bytes, framed: bytes) -> None:
        self._received += len(piece)
        if self._received > self._plane.config.max_body:
            self._refuse(413, f"a body may have {self._plane.config.max_body} bytes", End.CANCELLED, "body too large")
            return
        if self._tee is not None:
            self._tee.request.add(piece)
        if self._mock:
            if self.request_done:
                self._answer_mock()
            return
        if self._provider is not None:
            self._send(self._provider, framed)
            self._await_next()
        elif framed:
            self._waiting.append(framed)
            self._waiting_size += len(framed)
            if self._waiting_size > _MAX_WAITING:
                self._client.pause_reading()

    def _answer_mock(self) -> None:
        if mock.is_mock(self._mock):
            mock.answer(self, self._mock, self._plane.loop)
        else:
            self._refuse(400, "__helicone-mock-response must be JSON", End.DONE, "malformed mock response")

    # Towards the client

    def provider_head(self, head: ResponseHead, *, has_body: bool) -> None:
        """The answer's head is there."""
        self._provider_keep_alive = head.is_keep_alive
        is_unsized = has_body and head.length is None
        self._frames_chunks = is_unsized and not self.head.is_http_10
        self._is_ended_by_close = is_unsized and self.head.is_http_10
        if self._is_ended_by_close:
            self._client.close_after = True
        if not self.head.is_keep_alive or self.wants_body:
            self._client.close_after = True
        added = []
        tee = self._tee
        if tee is not None:
            tee.status, tee.response_lines = head.status, head.lines
            added = [b"helicone-id: " + tee.request_id.encode("latin-1"), b"helicone-status: success", *self._added]
        keep_alive = not self._client.close_after
        if self.head.is_http_10 and keep_alive:
            added.append(b"connection: keep-alive")
        self._out.append(client_head(head, added, is_chunked=self._frames_chunks, keep_alive=keep_alive))

    def provider_body(self, piece: bytes) -> None:
        """A piece of the answer's body is there."""
        if self._tee is not None:
            self._tee.answer(piece)
        if self._frames_chunks:
            self._out += (b"%x\r\n" % len(piece), piece, b"\r\n")
        else:
            self._out.append(piece)

    def flush(self) -> None:
        """Write what is in hand, in one go."""
        if self.is_over or not self._out:
            return
        out, self._out = self._out, []
        self._has_answered = True
        self._client.write(out[0] if len(out) == 1 else b"".join(out))
        self._touch(self._plane.config.idle_timeout)

    def provider_done(self) -> None:
        """The answer is complete."""
        if self._frames_chunks:
            self._out.append(b"0\r\n\r\n")
        self.flush()
        self._provider = None
        self._end(End.DONE, None)

    def provider_failed(self, words: str) -> None:
        """The answer cannot be passed on."""
        self._provider = None
        if self._has_answered:
            self._cut(words)
        else:
            self._refuse(502, words, End.CUT, words)

    def provider_lost(self, side: ProviderSide, *, has_begun: bool) -> None:
        """The provider closed the connection before the answer was complete."""
        self._provider = None
        if has_begun or self._has_answered:
            self.flush()
            self._cut("the provider closed the connection in the middle of its answer")
        elif side.is_reused and self.head.method in _SAFE_TO_REPEAT and self.head.length == 0:
            self._connect()  # it was closed while it waited: nothing can have been done twice
        else:
            words = "the provider closed the connection before it answered"
            self._refuse(502, words, End.CUT, words)

    def _cut(self, words: str) -> None:
        """End the client's answer where the provider's ended, so that it cannot be taken for a whole one."""
        if self._is_ended_by_close:
            self._client.abort()
        self._client.close_after = True
        self._client.break_off()
        self._end(End.CUT, words)

    def _refuse(self, status: int, message: str, end: End, error: str) -> None:
        """Answer in our own words, if nothing was answered yet; the call is over."""
        if self.is_over:
            return
        if self._has_answered:
            self._cut(error)
            return
        if self.wants_body:
            self._client.close_after = True
        request_id = self._tee.request_id if self._tee is not None else None
        is_unsent = end is End.UNREACHABLE and self._target is not None
        keep_alive = not self._client.close_after
        self._client.write(error_answer(status, message, request_id, keep_alive=keep_alive, is_unsent=is_unsent))
        self._end(end, error)

    # Endings

    def client_lost(self) -> None:
        """The client went away: the provider's connection is closed at once, so that it stops working."""
        self._end(End.CANCELLED, None)

    def check(self, now: float) -> None:
        """Give up what has taken too long. now is the loop's time."""
        if now < self._deadline or (self._connecting is not None and not self._connecting.done()):
            return
        if self._has_answered:
            self._cut("the provider stopped in the middle of its answer")
        elif self.wants_body:
            self._refuse(
                408, "the request's body did not arrive in time", End.TIMEOUT, "the body did not arrive in time"
            )
        else:
            self._refuse(504, "the provider did not answer in time", End.TIMEOUT, "the provider did not answer in time")

    def _touch(self, seconds: float) -> None:
        self._deadline = self._plane.loop.time() + seconds

    def _await_next(self) -> None:
        """The request's next bytes are awaited, or, once it is complete, the answer's first."""
        config = self._plane.config
        self._touch(config.body_timeout if self.wants_body else config.first_byte_timeout)

    def pause_client(self) -> None:
        """The provider takes no more for now."""
        self._client.pause_reading()

    def resume_client(self) -> None:
        """The provider takes more."""
        self._client.resume_reading()

    def pause_provider(self) -> None:
        """The client takes no more for now."""
        if self._provider is not None:
            with contextlib.suppress(RuntimeError):
                self._provider.transport.pause_reading()

    def resume_provider(self) -> None:
        """The client takes more."""
        if self._provider is not None:
            with contextlib.suppress(RuntimeError):
                self._provider.transport.resume_reading()

    def _end(self, end: End, error: str | None) -> None:
        if self.is_over:
            return
        self.is_over = True
        provider, self._provider = self._provider, None
        if provider is not None:
            provider.close()
        if self._tee is not None:
            self._plane.record(self._tee, end, error)
        self._client.call_over(self)
