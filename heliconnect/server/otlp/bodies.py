"""The bodies of a call, rebuilt from its span in the shape of OpenAI's chat or embeddings."""

from __future__ import annotations

from typing import Any

from heliconnect.errors import MissingExtraError
from heliconnect.server.otlp.calls import is_embedding, models_of, parameters_of, usage_of
from heliconnect.server.otlp.contents import answered, asked, tools
from heliconnect.server.otlp.nested import rows, text
from heliconnect.server.otlp.spans import Attributes, Span

try:
    import orjson
except ImportError as exc:
    raise MissingExtraError("heliconnect.server.otlp", "server") from exc

__all__ = ["failure_of", "request_of", "response_of"]


def request_of(attributes: Attributes, span: Span) -> bytes:
    """The request's body: what the span holds of it."""
    messages = asked(attributes, span.events)
    body: dict[str, Any] = {"model": models_of(attributes)[0]}
    if is_embedding(attributes):
        body["input"] = [one.get("content") for one in messages] or None
    elif messages:
        body["messages"] = messages
    body.update(parameters_of(attributes))
    offered = tools(attributes)
    if offered:
        body["tools"] = offered
    return orjson.dumps({name: value for name, value in body.items() if value is not None})


def response_of(attributes: Attributes, span: Span) -> bytes:
    """The answer's body: what the span holds of it, and the error that it ended with."""
    failure = failure_of(attributes, span)
    usage = usage_of(attributes)
    body: dict[str, Any] = {"id": text(attributes, "gen_ai.response.id", "ai.response.id")}
    body["model"] = None if failure else models_of(attributes)[1]
    if is_embedding(attributes):
        vectors = [row.get("embedding") for row in rows(attributes, "embedding.embeddings")]
        told = [at for at, one in enumerate(vectors) if isinstance(one, dict) and "vector" in one]
        body |= {"object": "list", "data": [{"object": "embedding", "index": at} for at in told] or None}
    else:
        body |= {"object": "chat.completion", "choices": _choices(attributes, span)}
    body |= {"usage": usage or None, "error": failure}
    return orjson.dumps({name: value for name, value in body.items() if value is not None})


def _choices(attributes: Attributes, span: Span) -> list[dict[str, Any]]:
    found = answered(attributes, span.events)
    reasons = attributes.get("gen_ai.response.finish_reasons")
    told = reasons if isinstance(reasons, list) else []
    return [
        {"index": at, "message": message, "finish_reason": why or (told[at] if at < len(told) else None)}
        for at, (message, why) in enumerate(found)
    ]


def failure_of(attributes: Attributes, span: Span) -> dict[str, Any] | None:
    """The error of a span that ended with one."""
    if not span.is_error:
        return None
    thrown = next((event.attributes for event in reversed(span.events) if event.name == "exception"), {})
    message = span.message or text(thrown, "exception.message") or text(attributes, "error.message") or "error"
    kind = text(attributes, "error.type") or text(thrown, "exception.type") or "error"
    return {"message": message, "type": kind}
