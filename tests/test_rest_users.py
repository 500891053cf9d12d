"""Users, properties and sessions over a running server, in Helicone's shapes."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.conftest import Running
from tests.logged import Call, ask, log_calls, refused

NOON = datetime(2025, 4, 2, 12, tzinfo=UTC)
SPAN = {"start": "2025-04-01T00:00:00Z", "end": "2025-04-30T00:00:00Z"}
SECONDS = {"startTimeUnixSeconds": 1_743_552_000, "endTimeUnixSeconds": 1_743_724_800}  # 2 and 3 April
Named = Callable[[str], str]


@pytest.fixture(scope="module")
def named(_running: Running) -> Named:
    """Names of users, sessions and properties that no other test has; their calls are stored."""
    mark = uuid.uuid4().hex[:8]

    def name(plain: str) -> str:
        return f"{plain}-{mark}"

    trip = {"Helicone-Session-Id": name("s1"), "Helicone-Session-Name": name("trip")}
    walk = {"Helicone-Session-Id": name("s2"), "Helicone-Session-Name": name("walk")}

    def of(value: str, headers: dict[str, str]) -> dict[str, str]:
        return {f"Helicone-Property-{name('tier')}": value, **headers}

    log_calls(
        _running,
        [
            Call(NOON, name("ada"), cost=0.5, headers=of("gold", trip)),
            Call(NOON + timedelta(hours=1), name("ada"), cost=0.25, headers=of("gold", trip)),
            Call(NOON + timedelta(days=1), name("ada"), status=429, tokens=None, headers=of("plain", walk)),
            Call(NOON + timedelta(hours=2), name("bob"), tokens=None, latency_ms=3_000, headers=of("free", {})),
            Call(NOON, None, cost=8.0, headers={f"Helicone-Property-{name('other')}": "x"}),
        ],
    )
    return name


def ours(named: Named) -> dict[str, Any]:
    return {"request_response_rmt": {"user_id": {"contains": named("")}}}


def ada_and_bob(named: Named) -> list[dict[str, Any]]:
    ada = {
        "id": named("ada"),
        "user_id": named("ada"),
        "active_for": 2,
        "first_active": "2025-04-02T12:00:00.000Z",
        "last_active": "2025-04-03T12:00:00.000Z",
        "total_requests": 3,
        "average_requests_per_day_active": 1.5,
        "average_tokens_per_request": 15.0,
        "total_completion_tokens": 10,
        "total_prompt_tokens": 20,
        "cost": 0.75,
        "rate_limited_count": 1,
    }
    bob = {
        **dict.fromkeys(ada),
        "id": named("bob"),
        "user_id": named("bob"),
        "active_for": 1,
        "first_active": "2025-04-02T14:00:00.000Z",
        "last_active": "2025-04-02T14:00:00.000Z",
        "total_requests": 1,
        "average_requests_per_day_active": 1.0,
        "rate_limited_count": 0,
    }
    return [ada, bob]


def test_users_have_their_measures(live: Running, named: Named) -> None:
    """The one active last first; what is unknown is null; rate limited calls are counted."""
    found = ask(live, "/v1/user/metrics/query", {"filter": ours(named), "offset": 0, "limit": 10})
    assert found == {"users": ada_and_bob(named), "count": 2, "hasUsers": True}


def test_users_are_sorted_paged_and_limited_to_a_time(live: Running, named: Named) -> None:
    """count is of all, not of the page; times are in seconds."""
    ada, bob = ada_and_bob(named)
    body = {"filter": ours(named), "offset": 0, "limit": 1}
    assert ask(live, "/v1/user/metrics/query", {**body, "sort": {"total_requests": "asc"}}) == {
        "users": [bob],
        "count": 2,
        "hasUsers": True,
    }
    assert ask(live, "/v1/user/metrics/query", {**body, "offset": 1})["users"] == [bob]
    early = {**SECONDS, "endTimeUnixSeconds": 1_743_552_000 + 45_000}
    (only,) = ask(live, "/v1/user/metrics/query", {**body, "timeFilter": early})["users"]
    assert only == {
        **ada,
        "active_for": 1,
        "last_active": "2025-04-02T12:00:00.000Z",
        "total_requests": 1,
        "average_requests_per_day_active": 1.0,
        "total_completion_tokens": 5,
        "total_prompt_tokens": 10,
        "cost": 0.5,
        "rate_limited_count": 0,
    }


USER_FILTERS: list[Any] = [
    pytest.param({"user_total_requests": {"gt": 1}}, ["ada"], id="requests"),
    pytest.param({"user_cost": {"gte": 0.75}}, ["ada"], id="cost"),
    pytest.param({"user_active_for": {"lt": 2}}, ["bob"], id="days"),
    pytest.param({"user_last_active": {"lt": "2025-04-03T00:00:00Z"}}, ["bob"], id="time"),
    pytest.param({"user_total_requests": {"gte": 1}, "user_user_id": {"contains": "bob"}}, ["bob"], id="with-its-id"),
]


@pytest.mark.parametrize(("columns", "expected"), USER_FILTERS)
def test_users_are_filtered_by_their_own_measures(
    live: Running, named: Named, columns: dict[str, Any], expected: list[str]
) -> None:
    """Helicone's table users_view, joined by "and" to filters of calls."""
    where = {"left": ours(named), "operator": "and", "right": {"users_view": columns}}
    found = ask(live, "/v1/user/metrics/query", {"filter": where})
    assert [user["user_id"] for user in found["users"]] == [named(name) for name in expected]
    assert found["count"] == len(expected)


def test_a_users_measure_within_an_or_is_refused(live: Running, named: Named) -> None:
    """What holds for a user cannot be an alternative to what holds for a call."""
    where = {"left": ours(named), "operator": "or", "right": {"users_view": {"user_cost": {"gt": 1}}}}
    status, said = refused(live, "/v1/user/metrics/query", {"filter": where})
    assert (status, "unknown column 'user_cost'" in said) == (400, True)
    status, said = refused(live, "/v1/user/metrics/query", {"sort": {"beauty": "asc"}})
    assert (status, "sort is one of active_for" in said) == (400, True)


def test_users_by_their_ids(live: Running, named: Named) -> None:
    """In Unix seconds; all users where no ids are given."""
    ada = {"user_id": named("ada"), "count": 3, "prompt_tokens": 20, "completion_tokens": 10, "cost": 0.75}
    bob = {"user_id": named("bob"), "count": 1, "prompt_tokens": None, "completion_tokens": None, "cost": None}
    ids = [named("ada"), named("bob"), "nobody"]
    assert ask(live, "/v1/user/query", {"userIds": ids, "timeFilter": SECONDS}) == [ada, bob]
    assert ask(live, "/v1/user/query", {"userIds": ["nobody"]}) == []
    everyone = ask(live, "/v1/user/query", {"timeFilter": SECONDS})
    assert everyone == ask(live, "/v1/user/query", {"userIds": [], "timeFilter": SECONDS})
    assert ada in everyone
    assert None not in {user["user_id"] for user in everyone}


def test_the_spread_of_users(live: Running, named: Named) -> None:
    """Histograms of calls and of cost, where it is known."""
    body = {"filter": ours(named), "pSize": "p99", "useInterquartile": False}
    found = ask(live, "/v1/user/metrics-overview/query", body)
    assert [(row["range_start"], row["value"]) for row in found["request_count"] if row["value"]] == [
        ("1.0", 1),
        ("2.8", 1),
    ]
    assert found["user_cost"] == [{"range_start": "0.75", "range_end": "0.75", "value": 1}]
    body = {"filter": {"request_response_rmt": {"user_id": {"equals": "nobody"}}}, "pSize": "p50"}
    assert ask(live, "/v1/user/metrics-overview/query", body) == {"request_count": [], "user_cost": []}


def test_property_names_and_values_are_found(live: Running, named: Named) -> None:
    """All names; values that contain a text in any case; session names as well."""
    assert {"property": named("tier")} in ask(live, "/v1/property/query", {})
    tier = named("Tier")
    assert ask(live, f"/v1/property/{tier}/search", {"searchTerm": ""}) == ["gold", "free", "plain"]
    assert ask(live, f"/v1/property/{tier}/search", {"searchTerm": "OL"}) == ["gold"]
    assert ask(live, f"/v1/property/{tier}/search", {"searchTerm": "%"}) == []
    found = ask(live, "/v1/property/Helicone-Session-Name/search", {"searchTerm": named("")})
    assert found == [named("trip"), named("walk")]


def test_the_top_values_of_a_property(live: Running, named: Named) -> None:
    """By cost, null where no call's cost is known, and by calls; calls without the property are left out."""
    body, path = {"timeFilter": SPAN}, f"/v1/property/{named('tier')}"
    assert ask(live, f"{path}/top-costs/query", body) == [
        {"value": "gold", "cost": 0.75},
        {"value": "free", "cost": None},
        {"value": "plain", "cost": None},
    ]
    assert ask(live, f"{path}/top-requests/query", body) == [
        {"value": "gold", "count": 2},
        {"value": "free", "count": 1},
        {"value": "plain", "count": 1},
    ]
    early = {"timeFilter": {"start": "2025-04-02T00:00:00Z", "end": "2025-04-02T12:30:00Z"}}
    assert ask(live, f"{path}/top-requests/query", early) == [{"value": "gold", "count": 1}]
    found = ask(live, "/v1/property/Helicone-Session-Name/top-requests/query", {**body, "filter": ours(named)})
    assert found == [{"value": named("trip"), "count": 2}, {"value": named("walk"), "count": 1}]


def test_what_is_beyond_the_top_ten_is_other(live: Running) -> None:
    """Its calls and its cost, so that the parts sum to the whole."""
    name = f"many-{uuid.uuid4().hex[:8]}"
    one = Call(NOON, cost=0.25)
    log_calls(live, [replace(one, headers={f"Helicone-Property-{name}": f"v{n:02}"}) for n in range(13)])
    for kind, column, whole in (("costs", "cost", 13 * 0.25), ("requests", "count", 13)):
        found = ask(live, f"/v1/property/{name}/top-{kind}/query", {"timeFilter": SPAN})
        assert [row["value"] for row in found] == [*(f"v{n:02}" for n in range(10)), "Other"]
        assert sum(row[column] for row in found) == whole


def test_a_property_over_time(live: Running, named: Named) -> None:
    """Cost and calls of each value by the day."""
    body = {"timeFilter": SPAN, "dbIncrement": "day", "timeZoneDifference": 0, "propertyKey": named("tier")}
    gold = {"property": "gold", "total_cost": 0.75, "request_count": 2}
    free = {"property": "free", "total_cost": None, "request_count": 1}
    plain = {"property": "plain", "total_cost": None, "request_count": 1}
    expected = [
        {"created_at_trunc": "2025-04-02T00:00:00.000Z", **free},
        {"created_at_trunc": "2025-04-02T00:00:00.000Z", **gold},
        {"created_at_trunc": "2025-04-03T00:00:00.000Z", **plain},
    ]
    assert ask(live, "/v1/property/properties/over-time", {**body, "userFilter": "all"}) == expected
    only = {"request_response_rmt": {"properties": {named("tier"): {"equals": "gold"}}}}
    assert ask(live, "/v1/property/properties/over-time", {**body, "userFilter": only}) == [expected[1]]


def test_sessions_are_counted(live: Running, named: Named) -> None:
    """Their number, cost and averages; the average cost is of those whose cost is known."""
    body = {"search": named(""), "timeFilter": {}, "timezoneDifference": 0, "filter": "all"}
    assert ask(live, "/v1/session/count", body) == {
        "count": 2,
        "total_cost": 0.75,
        "avg_cost": 0.75,
        "avg_latency": 1_000.0,
        "avg_requests": 1.5,
    }
    assert ask(live, "/v1/session/count", {**body, "search": "nothing like it"}) == {
        "count": 0,
        "total_cost": 0.0,
        "avg_cost": None,
        "avg_latency": None,
        "avg_requests": None,
    }
    assert ask(live, "/v1/session/count", {**body, "nameEquals": named("walk")})["total_cost"] is None


def test_session_names(live: Running, named: Named) -> None:
    """The name used last first."""
    trip = {
        "name": named("trip"),
        "created_at": "2025-04-02T12:00:00.000Z",
        "first_used": "2025-04-02T12:00:00.000Z",
        "last_used": "2025-04-02T13:00:01.000Z",
        "session_count": 1,
        "avg_latency": 1_000.0,
    }
    walk = {
        "name": named("walk"),
        "created_at": "2025-04-03T12:00:00.000Z",
        "first_used": "2025-04-03T12:00:00.000Z",
        "last_used": "2025-04-03T12:00:01.000Z",
        "session_count": 1,
        "avg_latency": 1_000.0,
    }
    body = {"nameContains": named(""), "timezoneDifference": 0}
    assert ask(live, "/v1/session/name/query", body) == [walk, trip]
    span = {"startTimeUnixMs": NOON.timestamp() * 1000, "endTimeUnixMs": NOON.timestamp() * 1000 + 1}
    assert ask(live, "/v1/session/name/query", {**body, "timeFilter": span}) == [trip]
    assert ask(live, "/v1/session/name/query", {**body, "filter": ours(lambda _: named("bob"))}) == []


def test_the_spread_of_sessions(live: Running, named: Named) -> None:
    """Calls, duration in seconds, and cost where it is known, with averages."""
    body = {"nameContains": named(""), "timezoneDifference": 0, "pSize": "p99"}
    found = ask(live, "/v1/session/metrics/query", body)
    assert found["session_cost"] == [{"range_start": "0.75", "range_end": "0.75", "value": 1}]
    assert [row["value"] for row in found["session_count"]] == [1, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    assert [row["value"] for row in found["session_duration"]] == [1, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    assert found["average"] == {
        "session_count": [{"average": 1.5}],
        "session_duration": [{"average": (3_601 + 1) / 2}],
        "session_cost": [{"average": 0.75}],
    }
    narrow = ask(live, "/v1/session/metrics/query", {**body, "pSize": "p50", "useInterquartile": True})
    assert narrow["session_count"] == [{"range_start": "1.0", "range_end": "1.0", "value": 1}]
    assert refused(live, "/v1/session/metrics/query", {**body, "pSize": "p42"})[0] == 422
