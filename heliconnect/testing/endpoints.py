"""A request and the reply chosen for it -> the answer: status, headers, and a whole body or the events of a stream."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from heliconnect.testing import openai_api, other_apis, responses_api
from heliconnect.testing.replies import Answer, Json, Reply, answer_to
from heliconnect.testing.wire import Received, model_of

__all__ = ["Rendered", "render"]

_JSON = "application/json"
_SSE = "text/event-stream; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Rendered:
    """An answer as it is sent, but for the framing: body is whole bytes, or the events of a stream."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes | Iterable[bytes]


def render(request: Received, body: Json, reply: Reply, number: int, *, keeps_directives: bool = False) -> Rendered:
    """The answer to `request`, whose parsed body is `body`. number tells answers apart and goes into their ids."""
    status, plain, kind = _plain(request, body, reply, number, keeps_directives=keeps_directives)
    has_type = any(name.lower() == "content-type" for name, _ in reply.headers)
    headers = (*(() if has_type else (("content-type", kind),)), ("x-request-id", f"req-{number}"), *reply.headers)
    if reply.content_encoding is None:
        return Rendered(status, headers, plain)
    packed = gzip.compress(plain) if isinstance(plain, bytes) else _gzipped(plain)
    return Rendered(status, (*headers, ("content-encoding", reply.content_encoding)), packed)


def _gzipped(events: Iterable[bytes]) -> Iterator[bytes]:
    """Each event compressed and flushed, so that it can be read as soon as it is there."""
    packer = zlib.compressobj(wbits=31)
    for event in events:
        yield packer.compress(event) + packer.flush(zlib.Z_SYNC_FLUSH)
    yield packer.flush()


_Plain = tuple[int, bytes | Iterable[bytes], str]


def _plain(request: Received, body: Json, reply: Reply, number: int, *, keeps_directives: bool) -> _Plain:
    """Status, body and content type, before any compression."""
    path, error = request.path, _error_shape(request.path)
    if reply.body is not None:
        return reply.status, reply.body, _JSON
    if reply.status >= 400:
        return reply.status, _packed(error(reply.status, reply.text or "scripted failure")), _JSON
    if request.method in {"GET", "HEAD"} and path.endswith("/models"):
        return reply.status, _packed(openai_api.models()), _JSON
    answer = answer_to(body, reply, model_of(path, body) or "gpt-4o-mini", number, keeps_directives=keeps_directives)
    if path.endswith(":streamGenerateContent"):
        parts = other_apis.gemini_parts(answer)
        if "alt=sse" in request.query.split("&"):
            return reply.status, (openai_api.sse(part) for part in parts), _SSE
        return reply.status, _as_array(parts), _JSON
    for ending, whole, events in _ENDPOINTS:
        if path.endswith(ending):
            if body.get("stream") and events is not None:
                return reply.status, events(answer, body), _SSE
            return reply.status, _packed(whole(answer, body)), _JSON
    return 404, _packed(error(404, f"no such endpoint: {path}")), _JSON


def _packed(body: Json) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode()


def _as_array(parts: Iterable[Json]) -> Iterable[bytes]:
    """A JSON array that grows while it is read: Gemini's stream without `alt=sse`."""
    lead = b"["
    for part in parts:
        yield lead + _packed(part)
        lead = b",\r\n"
    yield b"]"


def _error_shape(path: str) -> Callable[[int, str], Json]:
    if path.endswith("/messages"):
        return other_apis.anthropic_error
    return other_apis.gemini_error if "/models/" in path and ":" in path else openai_api.error


_Whole = Callable[[Answer, Json], Json]
_Events = Callable[[Answer, Json], Iterable[bytes]]
# The end of a path -> the whole answer, and the answer as a stream where the API has one.
_ENDPOINTS: tuple[tuple[str, _Whole, _Events | None], ...] = (
    ("/chat/completions", lambda answer, _: openai_api.chat(answer), openai_api.chat_events),
    ("/responses", lambda answer, _: responses_api.responses(answer), lambda a, _: responses_api.responses_events(a)),
    ("/completions", lambda answer, _: openai_api.completion(answer), openai_api.completion_events),
    ("/embeddings", openai_api.embeddings, None),
    ("/messages", lambda answer, _: other_apis.message(answer), lambda a, _: other_apis.message_events(a)),
    (":generateContent", lambda answer, _: other_apis.gemini(answer), None),
    (":embedContent", other_apis.gemini_embeddings, None),
    (":batchEmbedContents", other_apis.gemini_embeddings, None),
)
