"""A scripted LLM provider on a real socket: speaks OpenAI, Anthropic and Gemini, and shows what arrived.

    with Provider() as provider:
        client = OpenAI(base_url=f"{provider.url}/v1", api_key="sk-test")
        ...
        assert provider.requests[0].headers["helicone-user-id"] == "ada"

By default it echoes the question, in several pieces when streamed. `script(...)` queues replies, `always(...)` sets
the one for all other requests, and the request itself may ask for trouble: [[status=429]], [[delay=50]], [[cut]] in
its last message. `python -m heliconnect.testing.provider --port 9000` runs it as a process.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gzip
import json
import ssl
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Self

from heliconnect.testing import openai_api, other_apis
from heliconnect.testing.replies import Answer, Json, Reply, answer_to, directives, last_user_text
from heliconnect.testing.wire import MAX_HEAD_BYTES, Received, read_request, write_body, write_head

__all__ = ["Provider"]

_STOP_S = 5.0


class Provider:
    """The provider, in a thread of its own between `with` and its end.

    port 0 takes a free one. requests holds what arrived, in order; disconnects counts answers that their reader left
    before the end, with the time of the last one in disconnected_at (of time.monotonic()). Safe to use from any thread.
    """

    def __init__(self, *, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self._wanted_port = port
        self._tls = tls
        self._lock = threading.Lock()
        self._arrived = threading.Condition(self._lock)
        self._script: deque[Reply] = deque()
        self._default = Reply()
        self._requests: list[Received] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stop: asyncio.Event | None = None
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
        with self._lock:
            return list(self._requests)

    def script(self, *replies: Reply) -> None:
        """Answer the next requests with these, one after the other."""
        with self._lock:
            self._script.extend(replies)

    def always(self, reply: Reply) -> None:
        """Answer every request that nothing is scripted for with this."""
        with self._lock:
            self._default = reply

    def clear(self) -> None:
        """Forget what arrived and what was scripted."""
        with self._lock:
            self._requests.clear()
            self._script.clear()
            self._default = Reply()
            self._count, self.disconnects, self.disconnected_at = 0, 0, None

    def wait_for(self, count: int, timeout_s: float = 5.0) -> list[Received]:
        """What arrived, as soon as it is `count` requests. Raises TimeoutError when they do not come."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: len(self._requests) >= count, timeout_s):
                raise TimeoutError(f"expected {count} requests within {timeout_s} s, got {len(self._requests)}")
            return list(self._requests)

    def __enter__(self) -> Self:
        started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(started)), daemon=True)
        self._thread.start()
        if not started.wait(_STOP_S) or not self.port:
            raise OSError(f"the scripted provider cannot listen on port {self._wanted_port}")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._loop is not None and self._stop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
        if self._thread is not None:
            self._thread.join(_STOP_S)

    async def _serve(self, started: threading.Event) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        tasks: set[asyncio.Task[None]] = set()

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            tasks.add(task)
            try:
                await self._talk(reader, writer)
            except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ValueError):
                pass
            finally:
                tasks.discard(task)
                writer.close()

        try:
            server = await asyncio.start_server(
                connected, "127.0.0.1", self._wanted_port, limit=MAX_HEAD_BYTES, ssl=self._tls
            )
        except OSError:
            started.set()
            return
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        await self._stop.wait()
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (request := await read_request(reader, writer)) is not None:
            with self._arrived:
                self._requests.append(request)
                self._count += 1
                number = self._count
                reply = self._script.popleft() if self._script else self._default
                self._arrived.notify_all()
            try:
                parsed = request.json()
            except ValueError:
                parsed = None
            reply = directives(reply, last_user_text(parsed))
            if reply.hang:
                await reader.read(1)
                return
            await asyncio.sleep(reply.first_byte_delay_ms / 1000)
            if not await self._answer(request, parsed, reply, number, reader, writer):
                return

    async def _answer(
        self,
        request: Received,
        parsed: Any,
        reply: Reply,
        number: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        """Write the answer; False when the connection is over."""
        status, body, kind = _render(request, parsed if isinstance(parsed, dict) else {}, reply, number)
        headers = (("content-type", kind), ("x-request-id", f"req-{number}"), *reply.headers)
        if reply.content_encoding == "gzip":
            headers = (*headers, ("content-encoding", "gzip"))
        if isinstance(body, bytes):
            body = gzip.compress(body) if reply.content_encoding == "gzip" else body
            await write_head(writer, status, headers, len(body))
            if request.method != "HEAD":
                writer.write(body if reply.cut_after is None else body[: reply.cut_after])
            await writer.drain()
            return reply.cut_after is None
        await write_head(writer, status, headers, None)
        return await self._stream(body, reply, reader, writer)

    async def _stream(
        self, events: Iterable[bytes], reply: Reply, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        gone = asyncio.ensure_future(_until_closed(reader))
        try:
            for count, event in enumerate(_encoded(events, reply.content_encoding)):
                if count == reply.cut_after:
                    return False
                await write_body(writer, event)
                done, _ = await asyncio.wait({gone}, timeout=reply.chunk_delay_ms / 1000)
                if done or writer.is_closing():
                    self._note_disconnect()
                    return False
            await write_body(writer, b"")
        except ConnectionError:
            self._note_disconnect()
            return False
        finally:
            gone.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await gone
        return True

    def _note_disconnect(self) -> None:
        with self._lock:
            self.disconnects += 1
            self.disconnected_at = time.monotonic()


async def _until_closed(reader: asyncio.StreamReader) -> None:
    """Return when the peer closes; bytes of a next request stay in the reader."""
    while not reader.at_eof() and reader.exception() is None:  # noqa: ASYNC110 - a StreamReader has no such event
        await asyncio.sleep(0.005)


def _encoded(events: Iterable[bytes], encoding: str | None) -> Iterator[bytes]:
    if encoding != "gzip":
        yield from events
        return
    packer = zlib.compressobj(wbits=31)
    for event in events:
        yield packer.compress(event) + packer.flush(zlib.Z_SYNC_FLUSH)
    yield packer.flush()


_JSON = "application/json"
_SSE = "text/event-stream; charset=utf-8"
Rendered = tuple[bytes | Iterable[bytes], str]


def _render(request: Received, body: Json, reply: Reply, number: int) -> tuple[int, bytes | Iterable[bytes], str]:
    """The answer's status, body (whole bytes, or the events of a stream) and content type."""
    path, error = request.path, _error_shape(request.path)
    if reply.body is not None:
        return reply.status, reply.body, dict(reply.headers).get("content-type", _JSON)
    if reply.status >= 400:
        return reply.status, json.dumps(error(reply.status, reply.text or "scripted failure")).encode(), _JSON
    if request.method in {"GET", "HEAD"} and path.endswith("/models"):
        return reply.status, json.dumps(openai_api.models()).encode(), _JSON
    named = path.rpartition("/models/")[2].partition(":")[0] if "/models/" in path else "gpt-4o-mini"
    answer = answer_to(body, reply, str(body.get("model") or named), number)
    rendered = _endpoint(path, request.query, body, answer)
    if rendered is None:
        return 404, json.dumps(error(404, f"no such endpoint: {path}")).encode(), _JSON
    return reply.status, *rendered


def _error_shape(path: str) -> Callable[[int, str], Json]:
    if path.endswith("/messages"):
        return other_apis.anthropic_error
    return other_apis.gemini_error if "/models/" in path and ":" in path else openai_api.error


Whole = Callable[[Answer, Json], Json]
Events = Callable[[Answer, Json], Iterable[bytes]]
# The end of a path -> the whole answer, and the answer as a stream where the API has one.
_ENDPOINTS: tuple[tuple[str, Whole, Events | None], ...] = (
    ("/chat/completions", lambda answer, _: openai_api.chat(answer), openai_api.chat_events),
    ("/responses", lambda answer, _: openai_api.responses(answer), lambda a, _: openai_api.responses_events(a)),
    ("/completions", lambda answer, _: openai_api.completion(answer), openai_api.completion_events),
    ("/embeddings", openai_api.embeddings, None),
    ("/messages", lambda answer, _: other_apis.message(answer), lambda a, _: other_apis.message_events(a)),
    (":generateContent", lambda answer, _: other_apis.gemini(answer), None),
    (":embedContent", lambda _, body: other_apis.gemini_embeddings(body), None),
    (":batchEmbedContents", lambda _, body: other_apis.gemini_embeddings(body), None),
)


def _endpoint(path: str, query: str, body: Json, answer: Answer) -> Rendered | None:
    if path.endswith(":streamGenerateContent"):
        parts = other_apis.gemini_parts(answer)
        if "alt=sse" in query:
            return (openai_api.sse(part) for part in parts), _SSE
        return [b"[" + b",\r\n".join(json.dumps(part).encode() for part in parts) + b"]"], _JSON
    for ending, whole, events in _ENDPOINTS:
        if path.endswith(ending):
            if body.get("stream") and events is not None:
                return events(answer, body), _SSE
            return json.dumps(whole(answer, body), ensure_ascii=False).encode(), _JSON
    return None


def main() -> None:
    """Run as a process until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(description="A scripted LLM provider on 127.0.0.1.")
    parser.add_argument("--port", type=int, default=0)
    with Provider(port=parser.parse_args().port) as provider:
        print(provider.url, flush=True)  # noqa: T201 - the one line that its caller reads
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
