"""Logs: calls that did not pass through the proxy become records like all others, once each."""

from __future__ import annotations

import uuid
from typing import Any

import httpx
import pytest

from tests.conftest import Running

CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
ANSWER = {
    "object": "chat.completion",
    "model": "gpt-4o-2024-08-06",
    "choices": [{"message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
}
TIMING = {
    "startTime": {"seconds": 1_760_000_000, "milliseconds": 250},
    "endTime": {"seconds": 1_760_000_001, "milliseconds": 500},
    "timeToFirstToken": 300,
}


def log_of(request: Any, answer: Any, **more: Any) -> dict[str, Any]:
    """A log as Helicone's loggers send it; `more` changes the response."""
    return {
        "providerRequest": {"url": "https://api.openai.com/v1/chat/completions", "json": request, "meta": {}},
        "providerResponse": {"json": answer, "status": 200, "headers": {"x-ratelimit": "1"}, **more},
        "timing": TIMING,
    }


def send(live: Running, user: str, log: Any, path: str = "/oai/v1/log", **headers: str) -> httpx.Response:
    own = {"Authorization": "Bearer sk-helicone-secret", "Helicone-User-Id": user, "Helicone-Property-Tier": "pro"}
    return httpx.post(live.url + path, json=log, headers={**own, **headers})


@pytest.mark.parametrize("path", ["/oai/v1/log", "/v1/trace/oai/v1/log", "/v1/trace/oai/log"])
def test_a_logged_call_is_a_record_like_any_other(live: Running, path: str) -> None:
    """User, session, property, model, tokens, cost, times, bodies; its id in the answer, its key nowhere."""
    user, session = f"log {uuid.uuid4()}", {"Helicone-Session-Id": "s-1", "Helicone-Session-Path": "/a/b"}
    answer = send(live, user, log_of(CHAT, ANSWER), path, **session)
    assert (answer.status_code, answer.text) == (200, "ok")
    (record,) = live.records(user, 1)
    assert record["request_id"] == answer.headers["helicone-id"]
    assert (record["response_status"], record["model"], record["provider"]) == (200, "gpt-4o-2024-08-06", "OPENAI")
    assert (record["prompt_tokens"], record["completion_tokens"]) == (10, 5)
    assert record["costUSD"] == pytest.approx(10 * 2.5e-6 + 5 * 1e-5)
    assert (record["delay_ms"], record["time_to_first_token"]) == (1250, 300)
    assert record["request_properties"]["tier"] == "pro"
    assert record["request_properties"]["Helicone-Session-Path"] == "/a/b"
    assert record["request_body"]["messages"] == CHAT["messages"]
    assert record["response_body"]["choices"][0]["message"]["content"] == "hello"
    assert "secret" not in str(record)


def test_a_log_that_comes_twice_is_one_record(live: Running) -> None:
    """By its request id, before and after it was stored."""
    user, request_id = f"log {uuid.uuid4()}", str(uuid.uuid4())
    for _ in range(2):
        assert send(live, user, log_of(CHAT, ANSWER), **{"Helicone-Request-Id": request_id}).status_code == 200
    live.records(user, 1)
    assert send(live, user, log_of(CHAT, ANSWER), **{"Helicone-Request-Id": request_id}).status_code == 200
    send(live, user, log_of(CHAT, ANSWER))
    assert {record["request_id"] for record in live.records(user, 2)} >= {request_id}


def test_streams_are_read_as_streams(live: Running) -> None:
    """As a list of chunks, or as text."""
    chunk = {
        "object": "chat.completion.chunk",
        "model": "gpt-4o",
        "choices": [{"index": 0, "delta": {"content": "hel"}}],
    }
    last = {**chunk, "choices": [{"index": 0, "delta": {"content": "lo"}}], "usage": ANSWER["usage"]}
    text = "".join(f"data: {one}\n\n" for one in ('{"a": 1}', "[DONE]"))
    user = f"log {uuid.uuid4()}"
    send(live, user, log_of(CHAT, {"streamed_data": [chunk, last]}))
    send(live, user, log_of(CHAT, {}, textBody=text))
    first, second = live.records(user, 2)
    assert (first["prompt_tokens"], first["completion_tokens"]) == (10, 5)
    assert second["prompt_tokens"] is None


@pytest.mark.parametrize(
    ("request_json", "model"),
    [
        ({"_type": "tool", "toolName": "weather", "input": {"city": "Lisbon"}}, "tool:weather"),
        ({"_type": "vector_db", "operation": "search", "text": "sights", "topK": 3}, "vector_db"),
        ({"_type": "data", "name": "prices", "meta": {"n": 1}}, "data:prices"),
    ],
)
def test_steps_that_are_no_model_calls(live: Running, request_json: dict[str, Any], model: str) -> None:
    """Tools, vector searches and data: named as Helicone names them, with no token and no cost made up."""
    user = f"log {uuid.uuid4()}"
    send(live, user, log_of(request_json, {"_type": "unknown", "toolName": "unknown", "result": 1}), "/custom/v1/log")
    (record,) = live.records(user, 1)
    assert record["model"] == model
    assert record["response_body"] == {"result": 1}
    assert (record["prompt_tokens"], record["completion_tokens"], record["costUSD"]) == (None, None, None)


def test_a_tool_without_a_name_gets_none(live: Running) -> None:
    """Helicone's Python logger calls the tool of a vector search "unknown"."""
    user, search = f"log {uuid.uuid4()}", {"_type": "vector_db", "operation": "search", "text": "sights"}
    send(live, user, log_of(search, {"_type": "vector_db", "toolName": "unknown", "result": 1}), "/custom/v1/log")
    (record,) = live.records(user, 1)
    assert record["response_body"] == {"_type": "vector_db", "result": 1}


def test_what_the_caller_knows_is_kept(live: Running) -> None:
    """A cost that is told, a failure's status, and omitted bodies."""
    user, omit = f"log {uuid.uuid4()}", {"Helicone-Omit-Request": "true", "Helicone-Omit-Response": "true"}
    send(live, user, log_of(CHAT, ANSWER, cost=0.25, status=500))
    send(live, user, log_of(CHAT, ANSWER, status=-3), **omit)
    first, second = live.records(user, 2)
    assert (first["costUSD"], first["response_status"]) == (0.25, 500)
    assert (second["response_status"], second["prompt_tokens"]) == (-3, 10)
    assert "hello" not in str(second)
    assert "'hi'" not in str(second)


@pytest.mark.parametrize(
    ("body", "path", "status", "words"),
    [
        pytest.param("nonsense", "/oai/v1/log", 400, "must be an object", id="text"),
        pytest.param({"providerRequest": {}}, "/oai/v1/log", 400, "providerResponse", id="no-response"),
        pytest.param(log_of(CHAT, ANSWER, status="ok"), "/oai/v1/log", 400, "status", id="status"),
        pytest.param(log_of("x" * (11 << 20), ANSWER), "/custom/v1/log", 413, "10485760", id="too-large"),
        pytest.param(log_of(CHAT, ANSWER), "/v1/trace/nobody/v1/log", 400, "/nobody", id="unknown-kind"),
    ],
)
def test_a_log_that_is_none_is_explained(live: Running, body: Any, path: str, status: int, words: str) -> None:
    """The message names what was expected."""
    answer = send(live, "nobody", body, path)
    assert answer.status_code == status
    assert words in answer.json()["error"]


def test_odd_values_harm_nothing(live: Running) -> None:
    """Times, metas and headers of the wrong kind cost themselves."""
    user = f"log {uuid.uuid4()}"
    odd = log_of(None, None, headers=[1], textBody=None)
    odd["timing"] = {"startTime": {"seconds": 1e300}, "endTime": "x", "timeToFirstToken": None}
    odd["providerRequest"]["meta"] = {"Helicone-Property-N": 3, "user_id": "x"}
    assert send(live, user, odd).status_code == 200
    (record,) = live.records(user, 1)
    assert record["request_properties"]["n"] == "3"
    assert record["delay_ms"] is not None
