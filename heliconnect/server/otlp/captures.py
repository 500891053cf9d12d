"""A span that is an LLM call as a capture: the same form that calls through the proxy and logs have.

In: the span, the spans around it, and the headers of the export request, which count for what no span says.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace

from heliconnect.callcontext import CallContext
from heliconnect.exchange import Capture, End
from heliconnect.protocol import AUTH, PREFIX, context_headers, key_hash, read_context
from heliconnect.routing import origin_of
from heliconnect.server.dataplane.omit import reduced
from heliconnect.server.ingest import SOURCE
from heliconnect.server.otlp.bodies import request_of, response_of
from heliconnect.server.otlp.calls import cost_of, provider_name
from heliconnect.server.otlp.contents import told
from heliconnect.server.otlp.nested import first, text
from heliconnect.server.otlp.spans import Attributes, Span

__all__ = ["capture_of", "is_context"]

_SPANS = uuid.UUID("7b0a3f5e-4c0d-5e1b-9a55-6f1d0c2f3a10")
_ASSOCIATION = "traceloop.association.properties."
_PROPERTY = "helicone.property."
_AI_SDK = "ai.telemetry.metadata."
_USER = ("user.id", "enduser.id")
_SESSION = ("gen_ai.conversation.id", "session.id")
_SESSION_NAME = ("gen_ai.workflow.name", "traceloop.workflow.name")
_OWN = frozenset({*_USER, *_SESSION, *_SESSION_NAME})
_USERS = frozenset({"user_id", "userid", "user.id"})
_SESSIONS = frozenset({"session_id", "sessionid", "session.id"})
_UNKNOWN_PATH = "async-unknown-path"
_NO_END = ("the span does not say when it ended: how long the call took is not known",)
_FIRST = frozenset({"First Token Stream Event", "gen_ai.content.completion.chunk", "llm.content.completion.chunk"})


def is_context(name: str) -> bool:
    """Whether an attribute says whose call it is: it counts for the calls below its span as well."""
    return name in _OWN or name.startswith((_ASSOCIATION, _PROPERTY, _AI_SDK))


def capture_of(span: Span, path: Sequence[str], around: Sequence[Attributes], headers: Mapping[str, str]) -> Capture:
    """The capture of one call. path are the names of the spans from the root down to it, its own included.

    around holds the context's attributes of the spans around it, the nearest first; headers are the export request's,
    with lower-case names. Raises TypeError or ValueError for bodies that are no JSON.
    """
    attributes = told(span)
    context = _context(span, path, [attributes, *around, span.resource], headers)
    request, answer = request_of(attributes, span), response_of(attributes, span)
    if context.omit_request:
        request = reduced(request, "application/json", "")
    if context.omit_response:
        answer = reduced(answer, "application/json", "")
    said, _ = context_headers(context)
    mark = (("content-type", "application/json"), (SOURCE, "otlp"))
    trace = ("traceparent", f"00-{span.trace_id}-{span.span_id}-01")
    return Capture(
        request_id=str(uuid.uuid5(_SPANS, f"{span.trace_id}:{span.span_id}")),
        started_at=span.started_at,
        method="POST",
        target_url=_target(attributes),
        provider=provider_name(attributes),
        request_headers=(*((name.lower(), value) for name, value in said), *mark, trace),
        request_body=request,
        request_size_bytes=len(request),
        end=End.DONE,
        latency_ms=span.duration_ms or 0.0,
        status=_status(attributes, span),
        response_headers=(("content-type", "application/json"),),
        response_body=answer,
        response_size_bytes=len(answer),
        first_byte_ms=_first_ms(attributes, span),
        key_hash=key_hash(headers.get("authorization") or headers.get(AUTH.lower(), "")),
        warnings=_NO_END if span.duration_ms is None else (),
        told_cost=cost_of(attributes),
    )


def _context(span: Span, path: Sequence[str], chain: list[Attributes], headers: Mapping[str, str]) -> CallContext:
    """Whose call it is: Helicone's own names first, then the conventions', then the export request's headers."""
    named: dict[str, object] = {}
    properties: dict[str, object] = {}
    for attributes in reversed(chain):
        for name, value in attributes.items():
            for prefix, into in ((_ASSOCIATION, named), (_AI_SDK, named), (_PROPERTY, properties)):
                if name.startswith(prefix) and len(name) > len(prefix):
                    into[name[len(prefix) :]] = value
    own = {name.lower(): str(value) for name, value in named.items() if name.lower().startswith(PREFIX)}
    free = {name: value for name, value in named.items() if name.lower() not in own}
    given = read_context(own.items())
    other = read_context(headers.items())
    users = [first(one, *_USER) for one in chain] + [_plain(free, _USERS)]
    sessions = [first(one, *_SESSION) for one in chain] + [_plain(free, _SESSIONS)]
    names = [first(one, *_SESSION_NAME) for one in chain]
    kept = {name: value for name, value in free.items() if name.lower() not in _USERS | _SESSIONS}
    return replace(
        given,
        user_id=_either(given.user_id, *users, other.user_id),
        session_id=_either(given.session_id, *sessions, other.session_id, span.trace_id),
        session_name=_either(given.session_name, *names, other.session_name),
        session_path=given.session_path or "/" + "/".join(_step(name) for name in path),
        properties={**other.properties, **kept, **properties, **given.properties},
        omit_request=given.omit_request or other.omit_request,
        omit_response=given.omit_response or other.omit_response,
        model_override=_either(given.model_override, other.model_override),
    )


def _plain(named: Mapping[str, object], names: frozenset[str]) -> str | None:
    found = next((value for name, value in named.items() if name.lower() in names and value not in (None, "")), None)
    return None if found is None else str(found)


def _either(*values: object) -> object:
    return next((value for value in values if value), None)


def _step(name: str) -> str:
    """A span's name as one step of a path: "GET /ask" -> "GET ask"."""
    return name.replace(" /", " ").strip("/").replace("/", "-").strip()[:200] or "unnamed"


def _target(attributes: Attributes) -> str:
    """Where the call went, as far as it is told; else Helicone's word for that."""
    base = origin_of(text(attributes, "gen_ai.openai.api_base") or "")
    if base is not None:
        return base[0]
    host, port = text(attributes, "server.address"), attributes.get("server.port")
    if host is None:
        return _UNKNOWN_PATH
    return f"{host[:200]}:{port}" if isinstance(port, int) and port != 443 else host[:200]


def _status(attributes: Attributes, span: Span) -> int:
    if not span.is_error:
        return 200
    code = first(attributes, "http.response.status_code", "http.status_code")
    return code if type(code) is int and 400 <= code <= 599 else 500


def _first_ms(attributes: Attributes, span: Span) -> float | None:
    seconds = first(attributes, "gen_ai.response.time_to_first_chunk", "gen_ai.server.time_to_first_token")
    if isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 <= seconds < 86_400:
        return round(seconds * 1000, 3)
    at_ns = next((event.at_ns for event in span.events if event.name in _FIRST), 0)
    return round((at_ns - span.start_ns) / 1e6, 3) if at_ns >= span.start_ns else None
