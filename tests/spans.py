"""OTLP as plain data: Python values made into an export request's JSON, and what becomes of them."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import orjson
from hypothesis import strategies as st

from heliconnect.exchange import Capture
from heliconnect.server.otlp.spans import from_json
from heliconnect.server.otlp.traces import Outcome, Traces

TRACE = "0af7651916cd43dd8448eb211c80319c"
START_NS = 1_760_000_000_250_000_000
Json = dict[str, Any]


def any_value(value: Any) -> Json:
    """A value as OTLP's JSON has it."""
    match value:
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case str():
            return {"stringValue": value}
        case bytes():
            return {"bytesValue": base64.b64encode(value).decode()}
        case list():
            return {"arrayValue": {"values": [any_value(one) for one in value]}}
        case Mapping():
            return {"kvlistValue": {"values": attributes_of(value)}}
        case _:
            return {}


def attributes_of(values: Mapping[str, Any]) -> list[Json]:
    return [{"key": name, "value": any_value(value)} for name, value in values.items()]


def span(
    attributes: Mapping[str, Any],
    *,
    at: int = 1,
    below: int = 0,
    name: str = "call",
    events: tuple[tuple[str, Mapping[str, Any]], ...] = (),
    **more: Any,
) -> Json:
    """A span with the id `at`, below that with the id `below`; it took 1250 ms. more are fields as they stand."""
    made: Json = {
        "traceId": TRACE,
        "spanId": f"{at:016x}",
        "parentSpanId": f"{below:016x}" if below else "",
        "name": name,
        "startTimeUnixNano": str(START_NS),
        "endTimeUnixNano": str(START_NS + 1_250_000_000),
        "attributes": attributes_of(attributes),
        "events": [
            {"name": named, "timeUnixNano": str(START_NS + 300_000_000), "attributes": attributes_of(values)}
            for named, values in events
        ],
    }
    return {**made, **more}


def export(*spans: Any, resource: Mapping[str, Any] | None = None) -> Json:
    """An export request."""
    group = {"resource": {"attributes": attributes_of(resource or {})}, "scopeSpans": [{"spans": list(spans)}]}
    return {"resourceSpans": [group]}


class Kept:
    """Stands for the spool: keeps captures in a list, as long as is_open."""

    def __init__(self) -> None:
        self.captures: list[Capture] = []
        self.is_open = True

    def take(self, capture: Capture) -> bool:
        if self.is_open:
            self.captures.append(capture)
        return self.is_open


class Clock:
    """Tells what it is set to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Taking:
    """Traces over a list, with a clock of the test's own."""

    def __init__(self) -> None:
        self.kept, self.clock = Kept(), Clock()
        self.traces = Traces(self.kept, clock=self.clock)  # type: ignore[arg-type]  # has what is called of it

    def take(self, *spans: Any, headers: Mapping[str, str] | None = None, **more: Any) -> Outcome:
        return self.traces.take(from_json(export(*spans, **more)), headers or {})

    @property
    def paths(self) -> list[str]:
        return [dict(capture.request_headers)["helicone-session-path"] for capture in self.kept.captures]


def capture_of(*spans: Any, headers: Mapping[str, str] | None = None, **more: Any) -> Capture:
    """The one capture that these spans become."""
    taking = Taking()
    outcome = taking.take(*spans, headers=headers, **more)
    taking.traces.close()
    assert outcome.refused == []
    (capture,) = taking.kept.captures
    return capture


def bodies_of(*spans: Any) -> tuple[Json, Json]:
    """The request's and the answer's body that these spans become."""
    capture = capture_of(*spans)
    return orjson.loads(capture.request_body), orjson.loads(capture.response_body)


NAMES = st.sampled_from(
    [
        *("gen_ai.operation.name", "gen_ai.system", "gen_ai.request.model", "gen_ai.input.messages", "user.id"),
        *("gen_ai.output.messages", "gen_ai.prompt.0.content", "gen_ai.prompt.0.tool_calls.0.name", "gen_ai.prompt"),
        *("openinference.span.kind", "llm.input_messages.0.message.contents.0.message_content", "llm.tools.0.tool"),
        *("llm.invocation_parameters", "gen_ai.usage.input_tokens", "gen_ai.response.time_to_first_chunk"),
        *("embedding.embeddings.0.embedding.vector", "traceloop.association.properties.Helicone-User-Id", "ai.values"),
        *("gen_ai.tool.definitions", "server.address", "server.port", "helicone.property.a", "llm.cost.total"),
        *("output.value", "input.value", "gen_ai.completion.0.role", "gen_ai.event.content", "ai.response.toolCalls"),
    ]
)
WORDS = st.sampled_from(
    ["chat", "LLM", "embeddings", "[{}]", '[{"parts": [{}, 1]}]', '{"messages": [1]}', "[[", "", "é\x00"]
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | WORDS
ANYTHING = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.text(max_size=4), inner, max_size=3)
)
