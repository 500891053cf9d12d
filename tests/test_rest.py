"""The REST API and its guard: Helicone's clients are answered, browsers of other sites are not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from heliconnect.errors import StoreError
from heliconnect.server.control import create_app
from heliconnect.server.rest.filters import read_filter
from heliconnect.server.writer import WriterStatus
from heliconnect.store import Row, Store, open_store
from heliconnect.store.filters import All, FilterError, Leaf
from heliconnect.store.filters import Any as AnyOf
from heliconnect.store.sqlite import SqliteStore
from tests.records import NOON, a_record
from tests.test_store import five_records

FINE = WriterStatus(5, 0, 0, 0, 0, None)
MS = NOON.timestamp() * 1000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = open_store(tmp_path / "records.db")
    made.append(five_records())
    yield made
    made.close()


@pytest.fixture
def client(store: Store) -> Iterator[TestClient]:
    with TestClient(create_app(store, lambda: FINE, []), base_url="http://127.0.0.1:8787") as made:
        yield made


def test_a_record_in_helicones_shape(client: TestClient) -> None:
    """Disjoint tokens, cost in dollars, session as properties, bodies inline; unknown is null."""
    data = client.get(f"/v1/request/{a_record(0).request_id}").json()
    assert data["error"] is None
    row = data["data"]
    expected = {
        "request_id": a_record(0).request_id,
        "request_created_at": "2026-03-01T12:00:00.000Z",
        "response_created_at": "2026-03-01T12:00:01.250Z",
        "request_user_id": "Zoë",
        "request_model": "gpt-4o",
        "model": "gpt-4o-2024-08-06",
        "provider": "OPENAI",
        "response_status": 200,
        "delay_ms": 1250,
        "time_to_first_token": 300,
        "prompt_tokens": 10,
        "prompt_cache_read_tokens": 4,
        "prompt_cache_write_tokens": None,
        "completion_tokens": 5,
        "reasoning_tokens": 2,
        "total_tokens": 21,
        "cost": 0.00012,
        "costUSD": 0.00012,
        "request_body": {"messages": [{"role": "user", "content": "Why?"}]},
        "response_body": "data: {}\n\n",
        "request_properties": {
            "tier": "pro",
            "app": "größe",
            "Helicone-Session-Id": "s-1",
            "Helicone-Session-Name": "trip",
            "Helicone-Session-Path": "/search",
        },
    }
    assert {name: row[name] for name in expected} == expected
    bare = client.get(f"/v1/request/{a_record(4).request_id}").json()["data"]
    assert {bare[name] for name in ("cost", "prompt_tokens", "total_tokens", "response_status", "model")} == {None}
    without = client.get(f"/v1/request/{a_record(0).request_id}?includeBody=false").json()["data"]
    assert without["request_body"] is None


def test_an_unknown_id_is_404_in_the_envelope(client: TestClient) -> None:
    """Errors have the same shape as data."""
    answer = client.get("/v1/request/nonsense")
    assert (answer.status_code, answer.json()["data"]) == (404, None)
    assert "nonsense" in answer.json()["error"]


RMT = "request_response_rmt"
QUERIES: list[Any] = [
    pytest.param("all", {0, 1, 2, 3, 4}, id="all"),
    pytest.param({}, {0, 1, 2, 3, 4}, id="empty"),
    pytest.param({RMT: {"user_id": {"equals": "ada"}}}, {1, 3}, id="user"),
    pytest.param({RMT: {"model": {"contains": "gpt"}}}, {0, 1, 2}, id="model"),
    pytest.param({RMT: {"provider": {"equals": "OPENAI"}}}, {0, 1, 2, 3}, id="provider-in-helicones-spelling"),
    pytest.param({RMT: {"status": {"gte": 400}}}, {2}, id="status"),
    pytest.param({RMT: {"request_created_at": {"gte": "2026-03-01T12:00:03Z"}}}, {3, 4}, id="time"),
    pytest.param({RMT: {"properties": {"Tier": {"equals": "gold"}}}}, {2}, id="property"),
    pytest.param({RMT: {"properties": {"Helicone-Session-Id": {"equals": "s-1"}}}}, {0, 1, 2, 3}, id="session"),
    pytest.param({RMT: {"property_key": {"equals": "tier"}}}, {0, 1, 2, 3}, id="property-key"),
    pytest.param({RMT: {"property_key": {"equals": "Helicone-Session-Id"}}}, {0, 1, 2, 3}, id="session-key"),
    pytest.param({RMT: {"cached": {"equals": True}}}, set(), id="nothing-is-cached"),
    pytest.param({RMT: {"cached": {"equals": False}}}, {0, 1, 2, 3, 4}, id="all-are-uncached"),
    pytest.param(
        {
            "left": {RMT: {"user_id": {"equals": "ada"}}},
            "operator": "and",
            "right": {"left": {RMT: {"status": {"equals": 500}}}, "operator": "or", "right": "all"},
        },
        {1, 3},
        id="branches",
    ),
]


@pytest.mark.parametrize(("node", "expected"), QUERIES)
def test_queries(node: Any, expected: set[int], client: TestClient) -> None:
    """Helicone's filter AST, and its count."""
    data = client.post("/v1/request/query-clickhouse", json={"filter": node, "limit": 100}).json()["data"]
    assert {int(row["request_id"][-2:], 16) for row in data} == expected
    assert client.post("/v1/request/count/query", json={"filter": node}).json()["data"] == len(expected)


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        pytest.param({"filter": {RMT: {"nonsense": {"equals": 1}}}}, 400, "unknown column", id="column"),
        pytest.param({"filter": {"nonsense": {"model": {"equals": 1}}}}, 400, "unknown table", id="table"),
        pytest.param({"filter": {RMT: {"model": {"sounds": 1}}}}, 400, "unknown operator", id="operator"),
        pytest.param({"filter": {RMT: {"model": {"equals": []}}}}, 400, "compared with text", id="value"),
        pytest.param({"filter": {"left": "all", "operator": "xor", "right": "all"}}, 400, "and", id="branch"),
        pytest.param({"filter": 7}, 400, "a filter is", id="type"),
        pytest.param({"sort": {"nonsense": "desc"}}, 400, "sort is one of", id="sort"),
        pytest.param({"filter": {RMT: {"model": {"gt": True}}}}, 400, "got a boolean", id="larger-than-a-boolean"),
        pytest.param(
            {"filter": {RMT: {"scores": {"\ud800": {"equals": []}}}}}, 400, "compared with", id="no-unicode-name"
        ),
        pytest.param({"limit": 5000}, 422, "limit", id="limit"),
        pytest.param({"offset": -1}, 422, "offset", id="offset"),
        pytest.param({"offset": 10**30}, 400, "64 bits", id="endless-offset"),
        pytest.param({"sort": {"created_at": []}}, 400, "sort is one of", id="sort-direction"),
        pytest.param({"filter": {RMT: {"status": {"equals": 10**30}}}}, 400, "64 bits", id="endless-number"),
        pytest.param({"filter": {RMT: {"model": {"equals": "\ud800"}}}}, 400, "UTF-8", id="no-unicode"),
        pytest.param(
            {"filter": {RMT: {"properties": {f"k{n}": {"equals": "v"} for n in range(300)}}}}, 400, "200", id="wide"
        ),
    ],
)
def test_queries_that_make_no_sense_are_explained(
    body: dict[str, Any], status: int, words: str, client: TestClient
) -> None:
    """The error says what is expected, and nothing of the inside."""
    content = json.dumps(body).encode()  # escaped, so that what is no Unicode gets through as well
    answer = client.post("/v1/request/query-clickhouse", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == status
    assert words in answer.json()["error"]
    assert "Traceback" not in answer.text


def test_deep_filters_are_refused() -> None:
    """Nesting has a bound."""
    node: Any = "all"
    for _ in range(50):
        node = {"left": {RMT: {"model": {"equals": "a"}}}, "operator": "and", "right": node}
    with pytest.raises(FilterError, match="nested"):
        read_filter(node)


def test_filters_become_ours() -> None:
    """Two leaves in one node hold together."""
    node = {RMT: {"model": {"equals": "a"}, "status": {"gt": 1}}}
    assert read_filter(node) == All((Leaf("model", "equals", "a"), Leaf("status", "gt", 1)))
    assert read_filter({RMT: {"threat": {"equals": True}}}) == AnyOf(())


def test_paging_and_sorting(client: TestClient) -> None:
    """limit, offset, and every direction of a sort."""

    def ids(**body: Any) -> list[int]:
        data = client.post("/v1/request/query-clickhouse", json=body).json()["data"]
        return [int(row["request_id"][-2:], 16) for row in data]

    assert ids(limit=2) == [4, 3]
    assert ids(limit=2, offset=2) == [2, 1]
    assert ids(sort={"created_at": "asc"}) == [0, 1, 2, 3, 4]
    assert ids(sort={"cost": "desc"})[0] == 3
    found = client.post("/v1/request/query-ids", json={"requestIds": [a_record(1).request_id, "x"]}).json()["data"]
    assert [row["request_user_id"] for row in found] == ["ada"]


def test_sessions(client: TestClient) -> None:
    """Helicone's session list: search, time, name, filter."""
    (row,) = client.post("/v1/session/query", json={}).json()["data"]
    assert row["created_at"] == "2026-03-01T12:00:00.000Z"
    assert (row["session_id"], row["session_name"], row["total_requests"]) == ("s-1", "trip", 4)
    assert (row["prompt_tokens"], row["completion_tokens"], row["total_tokens"]) == (56, 28, 84)
    assert row["user_ids"] == ["Zoë", "ada"]

    def count(**body: Any) -> int:
        return len(client.post("/v1/session/query", json=body).json()["data"])

    assert count(search="TRI") == 1
    assert count(search="x") == 0
    assert count(nameEquals="trip") == 1
    assert count(timeFilter={"startTimeUnixMs": MS + 9e6}) == 0
    assert count(filter={RMT: {"user_id": {"equals": "ada"}}}) == 1
    assert count(filter={RMT: {"user_id": {"equals": "nobody"}}}) == 0
    assert client.post("/v1/session/query", json={"timeFilter": {"startTimeUnixMs": 1e300}}).status_code == 400


def test_health_tells_the_truth(store: Store) -> None:
    """200 while records are kept, 503 while the store refuses them."""
    broken = WriterStatus(5, 1_000, 2, 0, 0, "disk full")
    with TestClient(create_app(store, lambda: FINE, []), base_url="http://localhost") as client:
        assert client.get("/healthcheck").json()["status"] == "ok"
        assert client.get("/openapi.json").json()["info"]["title"] == "heliconnect"
        assert client.get("/", follow_redirects=False).headers["location"] == "/ui/"
        assert client.get("/docs", follow_redirects=False).status_code == 307
    with TestClient(create_app(store, lambda: broken, []), base_url="http://localhost") as client:
        answer = client.get("/healthcheck")
        assert (answer.status_code, answer.json()["error"], answer.json()["dropped"]) == (503, "disk full", 2)


class BrokenStore(SqliteStore):
    def page(self, *_: Any, **__: Any) -> list[Row]:
        raise StoreError("the store records.db cannot be read: disk I/O error")


def test_a_store_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    """503, without the path of the file."""
    store = BrokenStore(tmp_path / "broken.db")
    with TestClient(create_app(store, lambda: FINE, []), base_url="http://localhost") as client:
        answer = client.post("/v1/request/query-clickhouse", json={})
    store.close()
    assert answer.status_code == 503
    assert "records.db" not in answer.text


class FaultyStore(SqliteStore):
    def count(self, *_: Any, **__: Any) -> int:
        raise RuntimeError("secret words of the inside")


def test_an_error_no_one_foresaw_keeps_the_envelope(tmp_path: Path) -> None:
    """500 in the shape of every answer, and nothing of the inside."""
    store = FaultyStore(tmp_path / "faulty.db")
    app = create_app(store, lambda: FINE, [])
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        answer = client.post("/v1/request/count/query", json={})
    store.close()
    assert answer.status_code == 500
    assert answer.json() == {"data": None, "error": "an error of the server; its log says more"}


GUARDED: list[Any] = [
    pytest.param("GET", {}, 200, id="a-client"),
    pytest.param("GET", {"host": "localhost:8787"}, 200, id="localhost"),
    pytest.param("GET", {"host": "[::1]:8787"}, 200, id="ipv6"),
    pytest.param("GET", {"host": "evil.example"}, 403, id="dns-rebinding"),
    pytest.param("GET", {"host": "127.0.0.1.evil.example"}, 403, id="lookalike"),
    pytest.param("GET", {"sec-fetch-site": "same-origin"}, 200, id="our-own-page"),
    pytest.param("GET", {"sec-fetch-site": "none", "sec-fetch-mode": "navigate"}, 200, id="typed"),
    pytest.param("GET", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, 200, id="a-link-elsewhere"),
    pytest.param("GET", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "cors"}, 403, id="another-sites-script"),
    pytest.param("POST", {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}, 403, id="another-sites-form"),
    pytest.param("POST", {"origin": "http://127.0.0.1:8787"}, 200, id="our-own-origin"),
    pytest.param("POST", {"origin": "https://evil.example"}, 403, id="another-origin"),
    pytest.param("POST", {"origin": "null"}, 403, id="no-origin-at-all"),
    pytest.param("POST", {"content-length": str(11 << 20)}, 413, id="too-large"),
]


@pytest.mark.parametrize(("method", "headers", "status"), GUARDED)
def test_the_guard(method: str, headers: dict[str, str], status: int, client: TestClient) -> None:
    """What a browser must not be talked into."""
    path = "/healthcheck" if method == "GET" else "/v1/session/query"
    body = {"json": {}} if method == "POST" else {}
    assert client.request(method, path, headers=headers, **body).status_code == status


def test_a_body_without_a_length_is_bounded_too(client: TestClient) -> None:
    """A chunked body beyond the bound ends there, and is no JSON any more."""

    def parts() -> Iterator[bytes]:
        yield b'{"search": "'
        for _ in range(12):
            yield b"x" * (1 << 20)

    assert (
        client.post("/v1/session/query", content=parts(), headers={"content-type": "application/json"}).status_code
        == 422
    )
