"""Traces: whose calls they hold, and where each stands among its spans."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heliconnect.exchange import Capture, End
from tests.spans import ANYTHING, NAMES, START_NS, TRACE, Json, Taking, bodies_of, capture_of, span

CALL = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o"}


def said(capture: Capture) -> dict[str, str]:
    return dict(capture.request_headers)


def test_a_call_is_a_capture() -> None:
    """The whole of it: times, status, bodies and context, all from the span."""
    told = {"gen_ai.response.id": "r-1", "gen_ai.response.model": "gpt-4o-2024-08-06", "user.id": "ada"}
    capture = capture_of(span({**CALL, **told, "gen_ai.conversation.id": "s-1", "server.address": "api.openai.com"}))
    request = b'{"model":"gpt-4o"}'
    answer = b'{"id":"r-1","model":"gpt-4o-2024-08-06","object":"chat.completion","choices":[]}'
    assert capture == Capture(
        request_id="2dd2592e-3881-5228-9c0b-93ae4db50a1f",
        started_at=datetime(2025, 10, 9, 8, 53, 20, 250_000, UTC),
        method="POST",
        target_url="api.openai.com",
        provider="openai",
        request_headers=(
            ("helicone-user-id", "ada"),
            ("helicone-session-id", "s-1"),
            ("helicone-session-path", "/call"),
            ("content-type", "application/json"),
            ("x-heliconnect-source", "otlp"),
            ("traceparent", f"00-{TRACE}-0000000000000001-01"),
        ),
        request_body=request,
        request_size_bytes=len(request),
        end=End.DONE,
        latency_ms=1250.0,
        status=200,
        response_headers=(("content-type", "application/json"),),
        response_body=answer,
        response_size_bytes=len(answer),
    )


@pytest.mark.parametrize(
    ("told", "headers"),
    [
        pytest.param({"user.id": "ada", "session.id": "s-1"}, {}, id="openinference"),
        pytest.param({"enduser.id": "ada", "gen_ai.conversation.id": "s-1"}, {}, id="opentelemetry"),
        pytest.param(
            {"traceloop.association.properties.user_id": "ada", "traceloop.association.properties.session_id": "s-1"},
            {},
            id="traceloop",
        ),
        pytest.param(
            {
                "traceloop.association.properties.Helicone-User-Id": "ada",
                "traceloop.association.properties.Helicone-Session-Id": "s-1",
                "user.id": "somebody else",
            },
            {"helicone-session-id": "another"},
            id="helicone",
        ),
        pytest.param(
            {"ai.telemetry.metadata.userId": "ada", "ai.telemetry.metadata.sessionId": "s-1"}, {}, id="ai-sdk"
        ),
        pytest.param({}, {"helicone-user-id": "ada", "helicone-session-id": "s-1"}, id="export-headers"),
        pytest.param({"user.id": 7, "session.id": "s-1"}, {}, id="number"),
    ],
)
def test_whose_call_it_is(told: Json, headers: dict[str, str]) -> None:
    """User and session, on the call's span or one around it; Helicone's own names win."""
    for spans in ([span({**CALL, **told})], [span(CALL, at=2, below=1), span(told, at=1, name="root")]):
        found = said(capture_of(*spans, headers=headers))
        assert (found["helicone-user-id"], found["helicone-session-id"]) in {("ada", "s-1"), ("7", "s-1")}


def test_properties_come_from_associations_and_by_prefix() -> None:
    """Of the process, of the spans around the call, of the call itself: the nearest wins."""
    own = {"helicone.property.Tier": "pro", "traceloop.association.properties.Helicone-Property-Plan": "x"}
    around = {"helicone.property.Tier": "free", "traceloop.association.properties.tenant": "acme"}
    resource = {"helicone.property.env": "prod", "service.name": "shop"}
    spans = (span({**CALL, **own}, at=2, below=1), span(around, at=1, name="root"))
    found = said(capture_of(*spans, resource=resource))
    properties = {name: value for name, value in found.items() if name.startswith("helicone-property-")}
    expected = {"env": "prod", "plan": "x", "tenant": "acme", "tier": "pro"}
    assert properties == {f"helicone-property-{name}": value for name, value in expected.items()}


def test_sessions_are_traces_where_none_is_told() -> None:
    """With the names of the workflow and of the spans from the root down."""
    spans = [
        span(CALL, at=3, below=2, name="chat gpt-4o"),
        span({}, at=2, below=1, name="a/b"),
        span({"traceloop.workflow.name": "trip"}, at=1, name="GET /ask"),
    ]
    found = said(capture_of(*spans))
    assert found["helicone-session-id"] == TRACE
    assert found["helicone-session-name"] == "trip"
    assert found["helicone-session-path"] == "/GET ask/a-b/chat gpt-4o"


def test_bodies_are_left_out_when_asked() -> None:
    """As for every other log: models and usage stay."""
    omit = {f"traceloop.association.properties.Helicone-Omit-{side}": "true" for side in ("Request", "Response")}
    told = {"gen_ai.prompt.0.content": "secret", "gen_ai.completion.0.content": "secret"}
    request, answer = bodies_of(span({**CALL, **omit, **told, "gen_ai.usage.input_tokens": 3}))
    assert request == {"model": "gpt-4o"}
    assert answer == {"object": "chat.completion", "usage": {"prompt_tokens": 3}}


@pytest.mark.parametrize(
    ("told", "events", "more", "status", "error"),
    [
        pytest.param({}, (), {"message": "no luck"}, 500, {"message": "no luck", "type": "error"}, id="message"),
        pytest.param(
            {"error.type": "RateLimitError", "http.response.status_code": 429},
            (("exception", {"exception.type": "openai.RateLimitError", "exception.message": "slow down"}),),
            {},
            429,
            {"message": "slow down", "type": "RateLimitError"},
            id="exception",
        ),
        pytest.param({}, (), {}, 500, {"message": "error", "type": "error"}, id="nothing-told"),
    ],
)
def test_a_failed_span_is_a_failed_call(told: Json, events: Any, more: Json, status: int, error: Json) -> None:
    """500, or the status that is told, with the message."""
    failed = span({**CALL, **told}, events=events, status={"code": 2, **more})
    assert capture_of(failed).status == status
    assert bodies_of(failed)[1]["error"] == error


@pytest.mark.parametrize(
    ("told", "events", "first_ms"),
    [
        pytest.param({"gen_ai.response.time_to_first_chunk": 0.25}, (), 250.0, id="attribute"),
        pytest.param({}, (("First Token Stream Event", {}),), 300.0, id="openinference"),
        pytest.param({}, (("gen_ai.content.completion.chunk", {}),) * 2, 300.0, id="traceloop"),
        pytest.param({"gen_ai.response.time_to_first_chunk": "soon"}, (), None, id="text"),
    ],
)
def test_the_time_to_the_first_token(told: Json, events: Any, first_ms: float | None) -> None:
    """Told, or that of the first chunk's event."""
    assert capture_of(span({**CALL, **told}, events=events)).first_byte_ms == first_ms


@pytest.mark.parametrize(
    ("told", "target"),
    [
        pytest.param({"gen_ai.openai.api_base": "http://127.0.0.1:80/v1/"}, "http://127.0.0.1", id="base"),
        pytest.param({"server.address": "h", "server.port": 8080}, "h:8080", id="port"),
        pytest.param({"server.address": "h", "server.port": 443}, "h", id="usual-port"),
        pytest.param({}, "async-unknown-path", id="untold"),
    ],
)
def test_where_a_call_went_is_not_made_up(told: Json, target: str) -> None:
    """Only the host is known, if that."""
    assert capture_of(span({**CALL, **told})).target_url == target


def test_a_call_waits_for_the_spans_around_it() -> None:
    """They end, and are exported, after it; a call without a parent waits for nothing."""
    taking = Taking()
    taking.take(span(CALL, at=3, below=2, name="call"))
    taking.take(span({}, at=2, below=1, name="step"))
    assert (taking.paths, taking.traces.is_waiting) == ([], True)
    taking.take(span(CALL, at=9, name="alone"))
    assert taking.paths == ["/alone"]
    taking.take(span({}, at=1, name="root"))
    assert (taking.paths, taking.traces.is_waiting) == (["/alone", "/root/step/call"], False)
    taking.take(span(CALL, at=4, below=2, name="late"))
    assert taking.paths[-1] == "/root/step/late"


def test_a_call_does_not_wait_for_ever() -> None:
    """Ten seconds, or until the server ends; then what is known has to do."""
    taking = Taking()
    taking.take(span(CALL, at=3, below=2, name="call"))
    taking.clock.now = 9.9
    taking.traces.settle()
    assert taking.paths == []
    taking.clock.now = 10.0
    taking.traces.settle()
    assert taking.paths == ["/call"]
    taking.take(span(CALL, at=4, below=8))
    taking.traces.close()
    assert taking.paths == ["/call", "/call"]


def test_not_many_calls_wait() -> None:
    """Beyond a number or a size, they are recorded with what is known."""
    taking = Taking()
    taking.take(*(span(CALL, at=at, below=1) for at in range(2, 2002)))
    assert taking.paths == []
    taking.take(span(CALL, at=3000, below=1))
    assert len(taking.paths) == 2001
    big = {**CALL, "gen_ai.prompt": "x" * (33 << 20)}
    taking.take(span(big, at=4000, below=1))
    assert taking.traces.is_waiting
    taking.take(span(big, at=4001, below=1))
    assert not taking.traces.is_waiting


def test_times_come_as_text_or_number() -> None:
    """As OTLP's JSON has them, and as some exporters do."""
    for moment in (START_NS, float(START_NS)):
        assert capture_of(span(CALL, startTimeUnixNano=moment)).started_at.year == 2025


def test_spans_in_a_circle_end() -> None:
    """A span below itself waits for nothing."""
    taking = Taking()
    taking.take(span(CALL, at=5, below=5, name="own"))
    assert taking.kept.captures.pop() is not None
    taking.take(span(CALL, at=1, below=2, name="a"), span({}, at=2, below=1, name="b"))
    assert not taking.traces.is_waiting


def test_a_call_around_a_call_is_not_counted_twice() -> None:
    """A framework's span around that of the SDK below it: in one export, or in two, with a span between them."""
    inner, between, outer = span(CALL, at=3, below=2, name="in"), span({}, at=2, below=1), span(CALL, at=1, name="out")
    for exports in ([[inner, between, outer]], [[outer, between, inner]], [[inner], [between], [outer]]):
        taking = Taking()
        for spans in exports:
            taking.take(*spans)
        assert taking.paths == ["/out/call/in"]


def test_what_is_sent_again_has_the_same_id() -> None:
    """So that it makes no second record; another span has another."""
    ids = {capture_of(span(CALL, at=at)).request_id for at in (1, 1, 2)}
    assert len(ids) == 2
    assert all(uuid.UUID(one) for one in ids)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        pytest.param("text", "must be an object", id="no-object"),
        pytest.param(span(CALL, traceId="xyz"), "trace id", id="trace-id"),
        pytest.param(span(CALL, spanId="0" * 16), "span id", id="zero-id"),
        pytest.param(span(CALL, startTimeUnixNano="soon"), "startTimeUnixNano", id="no-time"),
        pytest.param(span(CALL, startTimeUnixNano="9" * 20), "startTimeUnixNano", id="far-time"),
        pytest.param(
            span({**CALL, "gen_ai.input.messages": "[" * 300 + "]" * 300}), "could not be read", id="too-deep"
        ),
    ],
)
def test_spans_that_cannot_be_read_are_refused_alone(bad: Any, reason: str) -> None:
    """The others of the export are taken, and the reason is told."""
    taking = Taking()
    outcome = taking.take(bad, span(CALL, at=9))
    assert len(taking.kept.captures) == 1
    assert len(outcome.refused) == 1
    assert reason in outcome.refused[0]


def test_odd_values_cost_themselves() -> None:
    """Attributes of the wrong kind, deep ones, bytes, a span without an end."""
    deep: Any = "x"
    for _ in range(60):
        deep = [deep]
    told = {
        "gen_ai.prompt": deep,
        "user.id": b"hi",
        "gen_ai.usage.input_tokens": float("inf"),
        "x": None,
        "y": {"a": 1},
    }
    capture = capture_of(span({**CALL, **told, "gen_ai.prompt.0": 1, "gen_ai.prompt.x.role": 2}, endTimeUnixNano=0))
    assert capture.warnings == ("the span does not say when it ended: how long the call took is not known",)
    assert said(capture)["helicone-user-id"] == "aGk="
    odd = {"attributes": [{"key": "a", "value": {"boolValue": 1}}, {"key": "b", "value": 7}, {"value": {}}, 3]}
    odd["attributes"] += [{"key": "c", "value": {"intValue": "x"}}, {"key": "d", "value": {"doubleValue": "x"}}]
    taking = Taking()
    assert taking.take({**span({}), **odd}, {**span({}), "attributes": 3, "events": [1], "status": []}).refused == []


SPANS = st.builds(
    span,
    st.dictionaries(NAMES, ANYTHING, max_size=8).map(lambda told: {**CALL, **told}),
    at=st.integers(0, 5),
    below=st.integers(0, 5),
    name=st.text(max_size=8),
    events=st.lists(
        st.tuples(
            st.sampled_from(["gen_ai.choice", "gen_ai.user.message", "exception"]), st.dictionaries(NAMES, ANYTHING)
        ),
        max_size=2,
    ).map(tuple),
)


@settings(max_examples=300, deadline=None)
@given(spans=st.lists(SPANS, max_size=4))
def test_any_attributes_are_taken_or_refused(spans: list[Json]) -> None:
    """Whatever stands where text, numbers or messages are expected: a span is a record, or refused with a reason."""
    taking = Taking()
    outcome = taking.take(*spans)
    taking.traces.close()
    assert len(taking.kept.captures) + len(outcome.refused) <= len(spans)
    assert not [reason for reason in outcome.refused if "AttributeError" in reason or "KeyError" in reason]
