"""Bodies that must not be stored: reduced, before they touch the disk, to what models and usage are read from."""

from __future__ import annotations

from collections.abc import Mapping

from heliconnect.bodies import decoded, parse_answers
from heliconnect.errors import MissingExtraError

try:
    import orjson
except ImportError as exc:
    raise MissingExtraError("heliconnect.server.dataplane", "server") from exc

__all__ = ["reduced"]

# Of these fields the value is kept where it is short; reports are kept as their numbers.
_SHORT = frozenset({"model", "modelVersion", "object", "type", "stream", "user"})
_REPORTS = frozenset({"usage", "usageMetadata", "meta", "amazon-bedrock-invocationMetrics"})
_HOLDERS = frozenset({"response", "message", "x_groq", "delta"})


def reduced(body: bytes, content_type: str, content_encoding: str) -> bytes:
    """`body` without what was said: a JSON line for each object of it, with models and numbers only; else nothing."""
    if not body:
        return b""
    data, problem = decoded(body, content_encoding)
    if problem is not None and not data:
        return b""
    objects = [skeleton for one in parse_answers(data, content_type) if (skeleton := _skeleton(one))]
    if "event-stream" in content_type:
        return b"".join(b"data: " + orjson.dumps(one) + b"\n\n" for one in objects)
    return orjson.dumps(objects[0] if len(objects) == 1 else objects) if objects else b""


def _skeleton(value: object) -> dict[str, object]:
    if not isinstance(value, Mapping):
        return {}
    kept: dict[str, object] = {}
    for name, inner in value.items():
        if name in _REPORTS:
            kept[name] = _numbers(inner)
        elif name in _HOLDERS and (found := _skeleton(inner)):
            kept[name] = found
        elif name in _SHORT and isinstance(inner, str | bool) and len(str(inner)) <= 200:
            kept[name] = inner
    return kept


def _numbers(value: object, depth: int = 0) -> object:
    if isinstance(value, Mapping) and depth < 4:
        return {str(name)[:100]: _numbers(inner, depth + 1) for name, inner in value.items()}
    if isinstance(value, list) and depth < 4:
        return [_numbers(inner, depth + 1) for inner in value]
    is_modality = isinstance(value, str) and value.isupper() and len(value) <= 20
    return value if isinstance(value, int | float) or is_modality else None
