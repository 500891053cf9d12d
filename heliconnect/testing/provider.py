"""A scripted LLM provider on a real socket: speaks OpenAI, Anthropic and Gemini, and shows what arrived.

    with Provider() as provider:
        client = OpenAI(base_url=f"{provider.url}/v1", api_key="sk-test")
        ...
        assert provider.requests[0].headers["helicone-user-id"] == "ada"

By default it echoes the question, in several pieces when streamed. `script(...)` queues replies, `when(...)` sets one
for the requests that fit, `always(...)` the one for all others, and the request itself may ask for trouble:
[[status=429]], [[delay=50]], [[first=50]], [[cut]], [[hang]] in its last message.
`python -m heliconnect.testing.provider --port 9000` runs it as a process, until SIGTERM or SIGINT.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

from heliconnect.testing.endpoints import Rendered, render
from heliconnect.testing.replies import Reply, last_user_text, steered
from heliconnect.testing.script import Script, fits_all
from heliconnect.testing.wire import Reader, Received, note_disconnect, read_request, write_body, write_head

__all__ = ["Provider"]

_STOP_S = 5.0
OnAnswer = Callable[[Received, int, Sequence[tuple[str, str]], bytes], None]


class Provider:
    """The provider, in a thread of its own between `with` and its end.

    port 0 takes a free one; tls serves https; directives=False makes [[...]] in a message mere text. requests holds
    what arrived, in order; disconnects counts answers that their reader left before the end, with the time of the last
    one in disconnected_at (of time.monotonic()), and Received.disconnected_at tells it for each. A client that closes
    only its sending half counts as gone. Safe to use from any thread.

    as_gateway marks every answer as a gateway's, by the request's own id; on_answer is called in the provider's thread
    with each answer that is over: the request, the status, the headers, the bytes that were sent.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        directives: bool = True,
        as_gateway: bool = False,
        on_answer: OnAnswer | None = None,
    ) -> None:
        self._wanted_port = port
        self._tls = tls
        self._directives = directives
        self._as_gateway = as_gateway
        self._on_answer = on_answer
        self._changed = threading.Condition()
        self._script = Script()
        self._requests: list[Received] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stop: asyncio.Event | None = None
        self._failure: OSError | None = None
        self._count = 0
        self.port = 0
        self.disconnects = 0
        self.disconnected_at: float | None = None

    @property
    def url(self) -> str:
        """The origin, "http://127.0.0.1:PORT"."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def requests(self) -> list[Received]:
        """What arrived so far, in order."""
        with self._changed:
            return list(self._requests)

    def script(self, *replies: Reply) -> None:
        """Answer the next requests with these, one after the other."""
        for reply in replies:
            self._script.add(reply, lambda _: True, 1)

    def when(
        self,
        reply: Reply,
        *,
        model: str | None = None,
        path: str | None = None,
        text: str | None = None,
        matches: Callable[[Received], bool] | None = None,
        times: int | None = None,
    ) -> None:
        """Answer with `reply` the requests that fit all that is given, `times` of them, or until clear().

        model is the exact name asked for, path and text are parts of the path and of the body, matches is a predicate,
        called in the provider's thread. Replies that are used up (by `script` or `times`) come before those that stay;
        of each kind the oldest that fits counts.
        """
        self._script.add(reply, fits_all(model=model, path=path, text=text, matches=matches), times)

    def always(self, reply: Reply) -> None:
        """Answer every request that nothing else fits with this."""
        self._script.set_default(reply)

    def clear(self) -> None:
        """Forget what arrived and what was scripted."""
        self._script.clear()
        with self._changed:
            self._requests.clear()
            self._count, self.disconnects, self.disconnected_at = 0, 0, None

    def wait_for(self, count: int, timeout_s: float = 5.0) -> list[Received]:
        """What arrived, as soon as it is `count` requests. Raises TimeoutError when they do not come."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._requests) >= count, timeout_s):
                raise TimeoutError(f"expected {count} requests within {timeout_s} s, got {len(self._requests)}")
            return list(self._requests)

    def wait_for_disconnects(self, count: int = 1, timeout_s: float = 5.0) -> None:
        """Return as soon as `count` answers were left by their readers. Raises TimeoutError when they are not."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.disconnects >= count, timeout_s):
                raise TimeoutError(f"expected {count} disconnects within {timeout_s} s, got {self.disconnects}")

    def __enter__(self) -> Self:
        started = threading.Event()
        self.port, self._failure = 0, None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(started)), daemon=True)
        self._thread.start()
        if not started.wait(_STOP_S) or not self.port:
            message = f"the scripted provider cannot listen on port {self._wanted_port}: {self._failure}"
            raise OSError(message) from self._failure
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._loop is not None and self._stop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop.set)
        if self._thread is not None:
            self._thread.join(_STOP_S)

    async def _serve(self, started: threading.Event) -> None:
        loop = self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        talks: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            assert isinstance(reader, Reader)
            talks[task] = writer
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError):
                await self._talk(reader, writer)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            del talks[task]

        def protocol() -> asyncio.StreamReaderProtocol:
            return asyncio.StreamReaderProtocol(Reader(), connected)

        try:
            server = await loop.create_server(protocol, "127.0.0.1", self._wanted_port, ssl=self._tls)
        except OSError as error:
            self._failure = error
            started.set()
            return
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        await self._stop.wait()
        server.close()
        await asyncio.sleep(0)  # a connection accepted just now gets its task first
        for writer in talks.values():
            writer.transport.abort()
        await asyncio.gather(*talks, return_exceptions=True)

    async def _talk(self, reader: Reader, writer: asyncio.StreamWriter) -> None:
        while (request := await read_request(reader, writer)) is not None:
            reply = self._script.choose(request)  # before anybody sees the request and scripts the next one
            with self._changed:
                self._requests.append(request)
                self._count += 1
                number = self._count
                self._changed.notify_all()
            try:
                is_open = await self._answer(request, reply, number, reader, writer)
            except ConnectionError:
                self._note_disconnect(request)
                return
            if not is_open or request.headers.get("connection", "").lower() == "close":
                return

    async def _answer(
        self, request: Received, reply: Reply, number: int, reader: Reader, writer: asyncio.StreamWriter
    ) -> bool:
        """Write the answer; False when the connection is over."""
        try:
            parsed: Any = request.json()
        except ValueError:
            parsed = None
        if self._directives:
            reply = steered(reply, last_user_text(parsed))
        pause_ms = None if reply.hang else reply.first_byte_delay_ms
        if pause_ms != 0 and await reader.closes_within(pause_ms):
            self._note_disconnect(request)
            return False
        body = parsed if isinstance(parsed, dict) else {}
        rendered = render(request, body, reply, number, keeps_directives=not self._directives)
        if self._as_gateway:
            marks = (("helicone-id", request.headers.get("helicone-request-id", "")), ("helicone-status", "success"))
            rendered = replace(rendered, headers=(*rendered.headers, *marks))
        sent: list[bytes] = []
        try:
            return await self._write(request, rendered, reply, reader, writer, sent)
        finally:
            if self._on_answer is not None:
                self._on_answer(request, rendered.status, rendered.headers, b"".join(sent))

    async def _write(
        self,
        request: Received,
        rendered: Rendered,
        reply: Reply,
        reader: Reader,
        writer: asyncio.StreamWriter,
        sent: list[bytes],
    ) -> bool:
        if not isinstance(rendered.body, bytes):
            await write_head(writer, rendered.status, rendered.headers, None)
            return await self._stream(request, _kept(rendered.body, sent), reply, reader, writer)
        await write_head(writer, rendered.status, rendered.headers, len(rendered.body))
        if request.method != "HEAD":
            sent.append(rendered.body[: reply.cut_after])
            writer.write(sent[0])
        await writer.drain()
        return reply.cut_after is None

    async def _stream(
        self, request: Received, events: Iterable[bytes], reply: Reply, reader: Reader, writer: asyncio.StreamWriter
    ) -> bool:
        for count, event in enumerate(events):
            if count == reply.cut_after:
                return False
            if count and await reader.closes_within(reply.chunk_delay_ms):
                self._note_disconnect(request)
                return False
            await write_body(writer, event)
        await write_body(writer, b"")
        return True

    def _note_disconnect(self, request: Received) -> None:
        if self._stop is None or self._stop.is_set():
            return  # it was this side that went away
        at = time.monotonic()
        with self._changed:
            note_disconnect(request, at)
            self.disconnects += 1
            self.disconnected_at = at
            self._changed.notify_all()


def _kept(events: Iterable[bytes], sent: list[bytes]) -> Iterator[bytes]:
    for event in events:
        sent.append(event)
        yield event


def main(argv: Sequence[str] | None = None) -> None:
    """Run as a process: prints the URL, ends with status 0 at SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(
        prog="python -m heliconnect.testing.provider", description="A scripted LLM provider on 127.0.0.1."
    )
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes a free one")
    port = parser.parse_args(argv).port
    # Blocked before the provider's thread begins, which inherits it: only sigwait below takes them.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        with Provider(port=port) as provider:
            print(provider.url, flush=True)  # noqa: T201 - the one line that its caller reads
            signal.sigwait({signal.SIGINT, signal.SIGTERM})
    except OSError as error:
        parser.exit(1, f"{error}; take another --port, or 0 for a free one\n")


if __name__ == "__main__":
    main()
