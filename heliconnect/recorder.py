"""The recording side without I/O: a `Capture` becomes an `Exchange`.

Decodes the bodies, finds out flavour, models, usage and cost, reads the call context from the captured `helicone-*`
headers. `finish` never raises, whatever the bytes: a reading that fails loses its own field and adds a warning.
"""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TypeVar
from urllib.parse import unquote

from heliconnect import sse
from heliconnect.bodies import decoded, parse_answers, parse_json
from heliconnect.callcontext import CallContext
from heliconnect.conversation import Message, answered, asked
from heliconnect.errors import MissingExtraError
from heliconnect.exchange import Capture, Cost, End, Exchange, Pairs, Timing, Usage
from heliconnect.flavors import Flavor, flavor_of
from heliconnect.price_list import PriceList
from heliconnect.prices import price
from heliconnect.protocol import read_context
from heliconnect.usage import billed_usage, reported_cost, usage_of

try:
    import orjson
except ImportError as exc:
    raise MissingExtraError("heliconnect.recorder", "server") from exc

__all__ = ["finish"]

_log = logging.getLogger("heliconnect")
PREVIEW_CHARACTERS = 200
_BLANKS = re.compile(r"\s+")
_MODEL_IN_PATH = re.compile(r"/(?:models|deployments|model)/([^/:?]+(?::\d[^/:?]*)?)")
_NO_USE = Usage(input_tokens=0, output_tokens=0)
ValueT = TypeVar("ValueT")


def finish(capture: Capture, own_prices: PriceList | None = None) -> Exchange:
    """What the captured call means. Pure; never raises. own_prices go before the public ones."""
    reader = _Reader(capture)
    read, warnings = reader.read, reader.warnings
    context = read("context", lambda: read_context(capture.request_headers), CallContext())
    sent = read("request body", lambda: _body(capture.request_body, capture.request_headers), _NO_BODY)
    got = read("response body", lambda: _body(capture.response_body, capture.response_headers), _NO_BODY)
    warnings += [
        f"{name} body: {body.problem}" for name, body in (("request", sent), ("response", got)) if body.problem
    ]
    request = read("request", lambda: parse_json(sent.data), None)
    kind = _header(capture.response_headers, "content-type")
    answers: list[object] = read("response", lambda: parse_answers(got.data, kind), [])
    flavor = read("flavour", lambda: flavor_of(capture.target_url, request, answers), Flavor.OTHER)
    models = read("model", lambda: _models(capture, context, request, answers), _Models())
    reference = _cache_reference(capture.response_headers)
    usage = read("usage", lambda: usage_of(answers) if reference is None else _NO_USE, None)
    cost = read("cost", lambda: _free(capture) if reference else _cost(capture, models, answers, own_prices), None)
    end = read("end", lambda: _end(capture, got.data, kind), capture.end)
    omit_request, omit_response = bool(context.omit_request), bool(context.omit_response)
    return Exchange(
        request_id=capture.request_id,
        timing=Timing(capture.started_at, capture.latency_ms, capture.first_byte_ms),
        method=capture.method,
        target_url=capture.target_url,
        status={End.CANCELLED: -3, End.TIMEOUT: -1}.get(end, capture.status),
        end=end,
        provider=capture.provider,
        flavor=str(flavor),
        is_stream=read("stream", lambda: _is_stream(capture, request, kind), False),
        model=models.best,
        request_model=models.asked,
        response_model=models.answered,
        user_id=read("user", lambda: _user(context, request), None),
        session_id=_text(context.session_id),
        session_name=_text(context.session_name),
        session_path=_text(context.session_path),
        properties=_properties(context, capture),
        usage=usage,
        cost=cost,
        request_headers=capture.request_headers,
        response_headers=capture.response_headers,
        request_body=None if omit_request else sent.text,
        response_body=None if omit_response else got.text,
        request_is_base64=sent.is_base64 and not omit_request,
        response_is_base64=got.is_base64 and not omit_response,
        request_size_bytes=capture.request_size_bytes,
        response_size_bytes=capture.response_size_bytes,
        request_preview=None if omit_request else read("preview", lambda: _asked_preview(flavor, request), None),
        response_preview=None if omit_response else read("preview", lambda: _answer_preview(flavor, answers), None),
        key_hash=capture.key_hash,
        cache_reference_id=reference,
        error=capture.error,
        warnings=tuple(warnings),
    )


class _Reader:
    """Reads one thing after the other of a capture; what fails is a warning, and told of in the log."""

    def __init__(self, capture: Capture) -> None:
        self._request_id = capture.request_id
        self.warnings = list(capture.warnings)

    def read(self, label: str, reading: Callable[[], ValueT], otherwise: ValueT) -> ValueT:
        try:
            return reading()
        except Exception as error:  # noqa: BLE001 - one reading may fail on any input, the record may not
            self.warnings.append(f"{label} could not be read: {type(error).__name__}")
            _log.debug("reading %s of %s failed", label, self._request_id, exc_info=True)
            return otherwise


def _end(capture: Capture, body: bytes, content_type: str) -> End:
    """How the call ended: a reader who leaves after a stream's last event has read it whole.

    SDKs close the connection at "[DONE]" without waiting for the end of the body behind it.
    """
    is_stream = "event-stream" in content_type
    if capture.end is End.CANCELLED and is_stream and sse.ends_well(body):
        return End.DONE
    return capture.end


@dataclass(frozen=True, slots=True)
class _Body:
    data: bytes
    text: str | None
    is_base64: bool = False
    problem: str | None = None


_NO_BODY = _Body(b"", None)


def _body(raw: bytes, headers: Pairs) -> _Body:
    if not raw:
        return _NO_BODY
    data, problem = decoded(raw, _header(headers, "content-encoding"))
    try:
        return _Body(data, data.decode(), problem=problem)
    except UnicodeDecodeError:
        return _Body(data, base64.b64encode(data).decode(), is_base64=True, problem=problem)


def _header(headers: Pairs, name: str) -> str:
    return next((value for key, value in headers if key == name), "")


@dataclass(frozen=True, slots=True)
class _Models:
    override: str | None = None
    asked: str | None = None
    answered: str | None = None

    @property
    def best(self) -> str | None:
        return self.override or self.answered or self.asked


def _models(capture: Capture, context: CallContext, request: object, answers: Sequence[object]) -> _Models:
    asked_for = _text(request.get("model")) or _logged_kind(request) if isinstance(request, Mapping) else None
    if asked_for is None and (found := _MODEL_IN_PATH.search(capture.target_url)) is not None:
        asked_for = unquote(found[1])
    answer = next((name for one in answers if (name := _answered_model(one)) is not None), None)
    return _Models(_text(context.model_override), asked_for, answer)


def _logged_kind(request: Mapping[str, object]) -> str | None:
    """What Helicone calls the "model" of a step that is no model call: a tool, a vector search, data."""
    match request.get("_type"):
        case "tool":
            return f"tool:{_text(request.get('toolName')) or 'unknown'}"
        case "vector_db":
            return "vector_db"
        case "data":
            return f"data:{_text(request.get('name')) or 'unknown'}"
    return None


def _answered_model(answer: object) -> str | None:
    if not isinstance(answer, Mapping):
        return None
    for holder in (answer, answer.get("response"), answer.get("message")):
        if isinstance(holder, Mapping):
            name = _text(holder.get("model")) or _text(holder.get("modelVersion"))
            if name:
                return name
    return None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _cost(capture: Capture, models: _Models, answers: Sequence[object], own: PriceList | None) -> Cost | None:
    usage, provider, started_at = billed_usage(answers), capture.provider, capture.started_at
    names = [name for name in ([models.override] if models.override else [models.answered, models.asked]) if name]
    mine = None if own is None else next((name for name in names if own.knows(name, provider, started_at)), None)
    if own is not None and mine is not None:
        return own.price(usage, mine, provider, started_at)
    told = reported_cost(answers)
    if told is not None:
        return Cost(told, source="provider", priced_on=capture.started_at.date())
    logged = _decimal(capture.told_cost)
    if logged is not None:
        return Cost(logged, source="logged", priced_on=capture.started_at.date())
    found = (price(usage, name, provider, started_at) for name in names)
    return next((cost for cost in found if cost is not None), None)


def _decimal(text: str | None) -> Decimal | None:
    try:
        value = Decimal(text or "")
    except InvalidOperation:
        return None
    return value if value.is_finite() and value >= 0 else None


def _is_stream(capture: Capture, request: object, content_type: str) -> bool:
    if isinstance(request, Mapping) and request.get("stream") is True:
        return True
    path = capture.target_url.partition("?")[0]
    is_named = path.endswith((":streamGenerateContent", ":streamRawPredict", "-stream"))
    return is_named or "event-stream" in content_type or "eventstream" in content_type


def _user(context: CallContext, request: object) -> str | None:
    """The user the headers name, else the body's `user`, as Helicone does."""
    if context.user_id:
        return _text(context.user_id)
    return _text(request.get("user")) if isinstance(request, Mapping) else None


def _properties(context: CallContext, capture: Capture) -> dict[str, str]:
    """The caller's own, and those that Helicone makes of its feature headers."""
    found = {str(name): str(value) for name, value in context.properties.items()}
    if context.prompt_id:
        found["Helicone-Prompt-Id"] = str(context.prompt_id)
    if _header(capture.request_headers, "helicone-cache-enabled").lower() == "true":
        found["Helicone-Cache-Enabled"] = "true"
    if _header(capture.response_headers, "x-helicone-error") == "rate_limited":
        found["Helicone-Rate-Limit-Status"] = "bucket_rate_limited"
    return found


def _cache_reference(headers: Pairs) -> str | None:
    """The record whose answer was given again; None for an answer of the provider's own."""
    is_hit = _header(headers, "helicone-cache") == "HIT"
    return _header(headers, "helicone-cache-reference-id") or None if is_hit else None


def _free(capture: Capture) -> Cost:
    return Cost(Decimal(0), source="cache", priced_on=capture.started_at.date())


def _asked_preview(flavor: Flavor, request: object) -> str | None:
    messages = asked(flavor, request)
    last = next((m for m in reversed(messages) if m.role in {"user", "request"}), messages[-1] if messages else None)
    return _preview([last]) if last is not None else None


def _answer_preview(flavor: Flavor, answers: Sequence[object]) -> str | None:
    return _preview(answered(flavor, answers))


def _preview(messages: Sequence[Message]) -> str | None:
    pieces: list[str] = []
    size = 0
    for part in (part for message in messages for part in message.parts):
        match part.kind:
            case "text" | "refusal" | "error" | "tool_result":
                text = part.text or (_dumped(part.data) if part.data is not None else "")
            case "tool_call":
                arguments = part.text or (_dumped(part.data) if part.data is not None else "")
                text = f"→ {part.name}({arguments})"
            case "json":
                text = _dumped(part.data)
            case "reasoning":
                continue
            case kind:
                text = f"[{kind}]"
        pieces.append(text[: 4 * PREVIEW_CHARACTERS])
        size += len(pieces[-1])
        if size > 4 * PREVIEW_CHARACTERS:
            break
    whole = _BLANKS.sub(" ", " ".join(pieces)).strip()
    return (whole[: PREVIEW_CHARACTERS - 1] + "…" if len(whole) > PREVIEW_CHARACTERS else whole) or None


def _dumped(value: object) -> str:
    return orjson.dumps(value, default=str).decode("utf-8", "replace")
