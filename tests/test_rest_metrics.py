"""Metrics over a running server: totals, averages and charts, in the shapes of Helicone's dashboard."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.conftest import Running
from tests.logged import Call, ask, log_calls, refused

NOON = datetime(2025, 3, 5, 12, tzinfo=UTC)  # a Wednesday
DAY = {"start": "2025-03-05T00:00:00Z", "end": "2025-03-05T23:59:59.999Z"}
AFTERNOON = {"start": "2025-03-05T12:00:00Z", "end": "2025-03-05T13:30:00Z"}


@pytest.fixture(scope="module")
def calls(_running: Running) -> str:
    """The property value that marks this module's calls: four in the hour of noon, one the next day."""
    mark = uuid.uuid4().hex
    own = {"Helicone-Property-Mark": mark}
    made = [
        Call(NOON, "ada", "dear", latency_ms=1_000, first_token_ms=100, cost=0.25, headers=own),
        Call(NOON + timedelta(minutes=1), "ada", "dear", latency_ms=2_000, cost=0.5, headers=own),
        Call(NOON + timedelta(minutes=2), "bob", "free", latency_ms=3_000, tokens=None, headers=own),
        Call(NOON + timedelta(minutes=3), None, "dear", 429, 6_000, 300, None, headers=own),
        Call(NOON + timedelta(days=1), "eve", "dear", 500, 4_000, headers=own),
    ]
    log_calls(_running, made)
    return mark


def body_of(mark: str, time: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    where = {"request_response_rmt": {"properties": {"mark": {"equals": mark}}}}
    return {"filter": where, "timeFilter": time or DAY, "timeZoneDifference": 0, **more}


TOTALS = [
    pytest.param("totalRequests", 4, id="requests"),
    pytest.param("requestCount", 4, id="request-count"),
    pytest.param("totalCost", 0.75, id="cost-of-what-is-known"),
    pytest.param("averageLatency", 3_000.0, id="latency"),
    pytest.param("averageTimeToFirstToken", 200.0, id="first-token-of-what-is-known"),
    pytest.param("activeUsers", 2, id="users"),
    pytest.param("totalThreats", None, id="threats-are-unknown"),
    pytest.param("country", [], id="no-country-is-known"),
    pytest.param(
        "averageTokensPerRequest",
        {
            "average_prompt_tokens_per_response": 10.0,
            "average_completion_tokens_per_response": 5.0,
            "average_total_tokens_per_response": 15.0,
        },
        id="tokens-of-what-is-known",
    ),
]


@pytest.mark.parametrize(("name", "expected"), TOTALS)
def test_a_total_counts_the_calls_of_its_time_and_filter(live: Running, calls: str, name: str, expected: Any) -> None:
    """One number each; averages and sums are of what is known."""
    assert ask(live, f"/v1/metrics/{name}", body_of(calls)) == expected


NOTHING = [
    pytest.param("totalRequests", 0, id="requests"),
    pytest.param("totalCost", 0.0, id="no-calls-cost-nothing"),
    pytest.param("averageLatency", None, id="no-average-of-no-calls"),
    pytest.param("averageTimeToFirstToken", None, id="no-first-token"),
    pytest.param("activeUsers", 0, id="users"),
]


@pytest.mark.parametrize(("name", "expected"), NOTHING)
def test_no_calls_have_sums_of_zero_and_no_average(live: Running, name: str, expected: Any) -> None:
    """The sum over nothing is known; an average over nothing is not."""
    assert ask(live, f"/v1/metrics/{name}", body_of("nobody")) == expected


def test_the_cost_of_calls_that_have_no_known_price_is_null(live: Running, calls: str) -> None:
    """Not 0: nobody knows what they cost."""
    where = {
        "left": body_of(calls)["filter"],
        "operator": "and",
        "right": {"request_response_rmt": {"model": {"equals": "free"}}},
    }
    assert ask(live, "/v1/metrics/totalCost", {**body_of(calls), "filter": where}) is None


TWO_HOURS = ("2025-03-05T12:00:00.000Z", "2025-03-05T13:00:00.000Z")
CHARTS: list[Any] = [
    pytest.param("requestOverTime", [{"count": 4}, {"count": 0}], id="requests"),
    pytest.param("costOverTime", [{"cost": 0.75}, {"cost": 0.0}], id="cost"),
    pytest.param(
        "tokensOverTime",
        [{"prompt_tokens": 20, "completion_tokens": 10}, {"prompt_tokens": 0, "completion_tokens": 0}],
        id="tokens",
    ),
    pytest.param(
        "detailedTokensOverTime",
        [
            {
                "prompt_tokens": 20,
                "completion_tokens": 10,
                "reasoning_tokens": None,
                "prompt_cache_read_tokens": None,
                "prompt_cache_write_tokens": None,
            },
            {
                "prompt_tokens": 0,
                "completion_tokens": 0,
                "reasoning_tokens": 0,
                "prompt_cache_read_tokens": 0,
                "prompt_cache_write_tokens": 0,
            },
        ],
        id="detailed-tokens",
    ),
    pytest.param("latencyOverTime", [{"duration": 3_000.0}, {"duration": None}], id="latency"),
    pytest.param("timeToFirstToken", [{"ttft": 200.0}, {"ttft": None}], id="first-token"),
    pytest.param("usersOverTime", [{"count": 2}, {"count": 0}], id="users"),
    pytest.param("errorOverTime", [{"count": 1}, {"count": 0}], id="errors"),
    pytest.param("threatsOverTime", [{"count": None}, {"count": None}], id="threats"),
    pytest.param(
        "quantiles",
        [
            {"p75": 3_000.0, "p90": 6_000.0, "p95": 6_000.0, "p99": 6_000.0},
            {"p75": None, "p90": None, "p95": None, "p99": None},
        ],
        id="quantiles",
    ),
]


@pytest.mark.parametrize(("name", "expected"), CHARTS)
def test_a_chart_has_a_row_for_each_span_with_and_without_calls(
    live: Running, calls: str, name: str, expected: list[dict[str, Any]]
) -> None:
    """By the hour where nothing else is said."""
    rows = [{"time": time, **row} for time, row in zip(TWO_HOURS, expected, strict=True)]
    assert ask(live, f"/v1/metrics/{name}", body_of(calls, AFTERNOON)) == rows


def test_charts_by_status_and_by_model_have_the_groups_that_occur(live: Running, calls: str) -> None:
    """One row for each span and value."""
    found = ask(live, "/v1/metrics/requestStatusOverTime", body_of(calls, AFTERNOON))
    assert found == [
        {"time": TWO_HOURS[0], "count": 3, "status": 200},
        {"time": TWO_HOURS[0], "count": 1, "status": 429},
    ]
    found = ask(live, "/v1/metrics/modelUsageOverTime", body_of(calls, AFTERNOON))
    assert found == [
        {"time": TWO_HOURS[0], "model": "dear", "request_count": 3, "total_tokens": 30},
        {"time": TWO_HOURS[0], "model": "free", "request_count": 1, "total_tokens": None},
    ]


def test_models_are_listed_by_their_calls(live: Running, calls: str) -> None:
    """With Helicone's spelling of total_prompt_token; what is unknown is null; limit and offset."""
    body = body_of(calls, offset=0, limit=10)
    dear = {
        "model": "dear",
        "total_requests": 3,
        "total_completion_tokens": 10,
        "total_prompt_token": 20,
        "total_tokens": 30,
        "cost": 0.75,
    }
    free = {**dict.fromkeys(dear), "model": "free", "total_requests": 1}
    assert ask(live, "/v1/metrics/models", body) == [dear, free]
    assert ask(live, "/v1/metrics/models", {**body, "offset": 1, "limit": 1}) == [free]


INCREMENTS = [
    pytest.param("day", 0, ["2025-03-05T00:00:00.000Z", "2025-03-06T00:00:00.000Z"], [4, 1], id="days-of-utc"),
    pytest.param(
        "day",
        780,
        ["2025-03-04T13:00:00.000Z", "2025-03-05T13:00:00.000Z"],
        [4, 1],
        id="days-of-a-clock-behind-utc",
    ),
    pytest.param(
        "day",
        -720,
        ["2025-03-04T12:00:00.000Z", "2025-03-05T12:00:00.000Z", "2025-03-06T12:00:00.000Z"],
        [0, 4, 1],
        id="days-of-a-clock-ahead-of-utc",
    ),
    pytest.param("week", 0, ["2025-03-03T00:00:00.000Z"], [5], id="weeks-begin-on-monday"),
    pytest.param("month", 0, ["2025-03-01T00:00:00.000Z"], [5], id="months"),
    pytest.param("year", 0, ["2025-01-01T00:00:00.000Z"], [5], id="years"),
]


@pytest.mark.parametrize(("increment", "offset", "times", "counts"), INCREMENTS)
def test_spans_begin_where_the_readers_clock_says(
    live: Running, calls: str, increment: str, offset: int, times: list[str], counts: list[int]
) -> None:
    """timeZoneDifference is minutes behind UTC, as JavaScript counts them."""
    two_days = {"start": "2025-03-05T00:00:00Z", "end": "2025-03-06T23:00:00Z"}
    body = body_of(calls, two_days, dbIncrement=increment, timeZoneDifference=offset)
    expected = [{"time": time, "count": count} for time, count in zip(times, counts, strict=True)]
    assert ask(live, "/v1/metrics/requestOverTime", body)[: len(expected)] == expected


REFUSED: list[Any] = [
    pytest.param("requestOverTime", {"dbIncrement": "moon"}, 400, "expected an increment of min", id="increment"),
    pytest.param("requestOverTime", {"timeZoneDifference": 9_999}, 422, "timeZoneDifference", id="time-zone"),
    pytest.param("requestOverTime", {"timeFilter": {"start": "noon", "end": 0}}, 400, "ISO 8601", id="no-time"),
    pytest.param("requestOverTime", {"timeFilter": {"start": 9, "end": 1}}, 400, "ends after it starts", id="backward"),
    pytest.param("requestOverTime", {"timeFilter": {"start": 0, "end": 1e300}}, 400, "since 1970", id="endless"),
    pytest.param(
        "requestOverTime",
        {"timeFilter": {"start": "2000-01-01", "end": "2025-01-01"}, "dbIncrement": "min"},
        400,
        "choose a longer increment",
        id="too-many-spans",
    ),
    pytest.param(
        "requestOverTime",
        {"timeFilter": {"start": "1980-01-01", "end": "2900-01-01"}, "dbIncrement": "month"},
        400,
        "1200 months",
        id="too-many-months",
    ),
    pytest.param("requestOverTime", {"timeFilter": {"start": "1066-10-14", "end": 0}}, 400, "1970 and", id="too-early"),
    pytest.param("quantiles", {"metric": "beauty"}, 400, "metric is one of latency", id="metric"),
    pytest.param("totalCost", {"filter": {"nonsense": {}}}, 400, "unknown table", id="filter"),
    pytest.param("nonsense", {}, 404, "Not Found", id="route"),
]


@pytest.mark.parametrize(("name", "change", "status", "words"), REFUSED)
def test_a_metric_that_makes_no_sense_is_explained(
    live: Running, name: str, change: dict[str, Any], status: int, words: str
) -> None:
    """The error says what is expected."""
    found, said = refused(live, f"/v1/metrics/{name}", {**body_of("nobody"), **change})
    assert (found, words in said) == (status, True), said


def test_scores_are_averaged_over_time(live: Running) -> None:
    """Helicone calls the average score_sum."""
    user = f"scored {uuid.uuid4()}"
    ids = log_calls(live, [Call(NOON, user), Call(NOON, user)])
    for request_id, value in zip(ids, (2, 5), strict=True):
        httpx.post(f"{live.url}/v1/request/{request_id}/score", json={"scores": {"taste": value}}).raise_for_status()
    where = {"request_response_rmt": {"user_id": {"equals": user}}}
    body = {"userFilter": where, "timeFilter": AFTERNOON, "dbIncrement": "hour", "timeZoneDifference": 0}
    assert ask(live, "/v1/dashboard/scores/query", body) == [
        {"created_at_trunc": TWO_HOURS[0], "score_key": "taste", "score_sum": 3.5}
    ]
    scored = {"request_response_rmt": {"scores": {"taste": {"gte": 3}}}}
    assert ask(live, "/v1/dashboard/scores/query", {**body, "filter": scored})[0]["score_sum"] == 5.0
