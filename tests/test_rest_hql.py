"""Helicone's SQL routes over a running server: one SELECT at a time reads the views, and nothing else is possible."""

from __future__ import annotations

import sqlite3
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from heliconnect.errors import StoreError
from heliconnect.store import Note, open_store
from heliconnect.store.filters import FilterError
from heliconnect.store.hql import MAX_ROWS
from heliconnect.store.sqlite_hql import SqliteHql
from tests.conftest import Running
from tests.logged import Call, ask, log_calls, refused
from tests.records import a_record

NOON = datetime(2025, 5, 7, 12, tzinfo=UTC)
EXECUTE = "/v1/helicone-sql/execute"


@pytest.fixture(scope="module")
def user(_running: Running) -> str:
    """A user with two calls."""
    name = f"sql-{uuid.uuid4().hex[:8]}"
    headers = {"Helicone-Property-Tier": "gold", "Helicone-Session-Id": f"s {name}", "Helicone-Session-Name": "trip"}
    ids = log_calls(
        _running,
        [
            Call(NOON, name, "dear", latency_ms=1_500, first_token_ms=100, cost=0.25, headers=headers),
            Call(NOON + timedelta(seconds=1), name, "free", 500, tokens=None),
        ],
    )
    for path, body in (("score", {"scores": {"taste": 4}}), ("feedback", {"rating": True})):
        httpx.post(f"{_running.url}/v1/request/{ids[0]}/{path}", json=body).raise_for_status()
    return name


def rows(live: Running, sql: str) -> list[dict[str, Any]]:
    data = ask(live, EXECUTE, {"sql": sql})
    assert data["rowCount"] == len(data["rows"])
    found: list[dict[str, Any]] = data["rows"]
    return found


def test_a_select_gives_rows_by_column_name(live: Running, user: str) -> None:
    """Helicone's names, cost in billionths, times as text; unknown is null."""
    columns = (
        "request_created_at, response_created_at, model, provider, status, latency, time_to_first_token, "
        "prompt_tokens, completion_tokens, total_tokens, cost, cost_usd, user_id, session_name, feedback, "
        "json_extract(properties, '$.tier') AS tier, request_body ->> '$.messages[0].content' AS asked"
    )
    sql = f"SELECT {columns} FROM request_response_rmt WHERE user_id = '{user}' ORDER BY started_us; -- newest last"
    data = ask(live, EXECUTE, {"sql": sql})
    assert data["elapsedMilliseconds"] > 0
    assert data["size"] > 100
    assert (data["rowCount"], data["isTruncated"]) == (2, False)
    dear, free = data["rows"]
    assert dear == {
        "request_created_at": "2025-05-07 12:00:00.000",
        "response_created_at": "2025-05-07 12:00:01.500",
        "model": "dear",
        "provider": "OPENAI",
        "status": 200,
        "latency": 1_500.0,
        "time_to_first_token": 100.0,
        "prompt_tokens": 10,
        "completion_tokens": 5,
        "total_tokens": 15,
        "cost": 250_000_000,
        "cost_usd": 0.25,
        "user_id": user,
        "session_name": "trip",
        "feedback": 1,
        "tier": "gold",
        "asked": "Why?",
    }
    assert {free[name] for name in ("cost", "cost_usd", "prompt_tokens", "feedback", "session_name", "tier")} == {None}


SELECTS: list[Any] = [
    pytest.param("SELECT count(*) AS n FROM request_response_rmt WHERE user_id = '{}'", [{"n": 2}], id="count"),
    pytest.param(
        "-- by model\n/* twice */ WITH ours AS (SELECT * FROM request_response_rmt WHERE user_id = '{}')"
        " SELECT model, sum(cost_usd) AS usd FROM ours GROUP BY model ORDER BY model",
        [{"model": "dear", "usd": 0.25}, {"model": "free", "usd": None}],
        id="with",
    ),
    pytest.param(
        "select p.value, count(*) as n from request_properties p join request_response_rmt r using (request_id)"
        " where r.user_id = '{}' and p.name = 'tier' group by 1",
        [{"value": "gold", "n": 1}],
        id="properties",
    ),
    pytest.param(
        "select s.name, s.value from request_scores s join request_response_rmt r using (request_id)"
        " where r.user_id = '{}'",
        [{"name": "taste", "value": 4.0}],
        id="scores",
    ),
    pytest.param("select value as v from json_each('[1, null]')", [{"v": 1}, {"v": None}], id="json"),
    pytest.param("with recursive n(x) as (select 1 union all select x + 1 from n limit 2) select x from n",
                 [{"x": 1}, {"x": 2}], id="recursive"),
    pytest.param("select x'00ff' as b, 9e999 as i, cast(x'ff' as text) as t", [{"b": "00ff", "i": None, "t": "�"}],
                 id="values-that-json-lacks"),
    pytest.param("select row_number() over (order by 1) as n", [{"n": 1}], id="window"),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "expected"), SELECTS)
def test_selects(live: Running, user: str, sql: str, expected: list[dict[str, Any]]) -> None:
    """What SQLite can, over the views."""
    assert rows(live, sql.format(user)) == expected


REFUSED: list[Any] = [
    pytest.param("", "expected one SELECT", id="empty"),
    pytest.param("DELETE FROM request_response_rmt", "expected one SELECT", id="delete"),
    pytest.param("-- select\nDROP TABLE requests", "expected one SELECT", id="drop-behind-a-comment"),
    pytest.param("PRAGMA writable_schema=1", "expected one SELECT", id="pragma"),
    pytest.param("ATTACH '/tmp/x.db' AS x", "expected one SELECT", id="attach"),
    pytest.param("EXPLAIN SELECT 1", "expected one SELECT", id="explain"),
    pytest.param("SELECT 1; SELECT 2", "expected one statement", id="two-statements"),
    pytest.param("WITH x AS (SELECT 1) DELETE FROM requests", "prohibited|not authorized", id="with-delete"),
    pytest.param("WITH x AS (SELECT 1) INSERT INTO requests(key) VALUES (1)", "not authorized", id="with-insert"),
    pytest.param("SELECT key_hash FROM requests", "prohibited", id="internal-table"),
    pytest.param("SELECT * FROM bodies", "prohibited", id="internal-bodies"),
    pytest.param("SELECT count(*) FROM marks", "prohibited|not authorized", id="internal-marks"),
    pytest.param("SELECT rowid FROM requests", "prohibited", id="row-ids"),
    pytest.param("SELECT sql FROM sqlite_master", "prohibited", id="schema"),
    pytest.param("SELECT name FROM sqlite_temp_master", "prohibited", id="temporary-schema"),
    pytest.param("SELECT * FROM pragma_database_list", "prohibited|not authorized|no such", id="pragma-function"),
    pytest.param("SELECT * FROM dbstat", "prohibited|not authorized|no such|failed", id="statistics"),
    pytest.param("SELECT load_extension('x')", "not authorized", id="load-extension"),
    pytest.param("SELECT randomblob(9)", "not authorized", id="blobs-out-of-nothing"),
    pytest.param("SELECT sqlite_version()", "not authorized", id="version"),
    pytest.param("SELECT unpacked(x'00')", "not authorized", id="our-own-function"),
    pytest.param(
        "WITH request_response_rmt AS (SELECT key_hash FROM main.requests) SELECT * FROM request_response_rmt",
        "prohibited",
        id="a-common-table-expression-of-a-views-name",
    ),
    pytest.param(
        "SELECT * FROM (WITH request_properties AS (SELECT heads FROM bodies) SELECT * FROM request_properties)",
        "prohibited",
        id="nested",
    ),
    pytest.param("SELECT 1 AS a, 2 AS a", "two columns are called 'a'", id="same-names"),
    pytest.param("SELECT beauty FROM request_response_rmt", "no such column: beauty", id="no-such-column"),
    pytest.param("SELECT * FROM request", "no such table: request: what can be read are", id="no-such-table"),
    pytest.param("SELECT ?", "binding", id="parameters"),
    pytest.param("SELECT '\0'", "null character", id="nul"),
    pytest.param("SELECT json_group_array(1)", "not authorized", id="memory-without-a-bound"),
    pytest.param("SELECT zeroblob(1)", "not authorized", id="zeros"),
    pytest.param("SELECT printf('%.*c', 20000000, 'x') AS x", "larger than", id="too-large-a-row"),
    pytest.param("SELECT " + "(" * 300 + "1" + ")" * 300, "depth|overflow", id="too-deep"),
]


@pytest.mark.parametrize(("sql", "words"), REFUSED)
def test_whatever_is_no_reading_of_the_views_is_refused(live: Running, sql: str, words: str) -> None:
    """400, and plain words."""
    status, said = refused(live, EXECUTE, {"sql": sql})
    assert status == 400
    assert any(word in said for word in words.split("|")), said


def test_the_schema_names_what_each_column_means(live: Running) -> None:
    """All of its columns can be selected, none of them twice."""
    answer = httpx.get(f"{live.url}/v1/helicone-sql/schema").json()
    assert answer["error"] is None
    tables = {table["table_name"]: table["columns"] for table in answer["data"]}
    assert list(tables) == ["request_response_rmt", "request_properties", "request_scores"]
    assert tables["request_scores"] == [
        {"name": "request_id", "type": "Text", "comment": "the id of the call"},
        {"name": "name", "type": "Text", "comment": "the score's name"},
        {"name": "value", "type": "Real", "comment": "its value"},
    ]
    for name, columns in tables.items():
        listed = ", ".join(column["name"] for column in columns)
        (row,) = rows(live, f"SELECT {listed} FROM {name} LIMIT 1") or [dict.fromkeys(c["name"] for c in columns)]
        assert list(row) == [column["name"] for column in columns]


def test_rows_beyond_the_limit_are_left_out_and_that_is_said(live: Running) -> None:
    """By number and by size."""
    many = "with recursive n(x) as (select 1 union all select x + 1 from n limit 2000) select x from n"
    data = ask(live, EXECUTE, {"sql": many})
    assert (data["rowCount"], data["isTruncated"], data["rows"][-1]) == (MAX_ROWS, True, {"x": MAX_ROWS})
    large = many.replace("select x from n", "select x, printf('%.*c', 1000000, 'x') as wide from n")
    data = ask(live, EXECUTE, {"sql": large})
    assert (data["rowCount"], data["isTruncated"]) == (16, True)


def test_a_statement_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    """The caller is told to narrow it."""
    open_store(tmp_path / "records.db").close()
    impatient = SqliteHql(tmp_path / "records.db", 0.05)
    with pytest.raises(FilterError, match=r"longer than 0\.05 s"):
        impatient.answer("with recursive n(x) as (select 1 union all select x + 1 from n) select max(x) from n")


def test_a_store_that_cannot_be_read_is_no_fault_of_the_statement(tmp_path: Path) -> None:
    """A file that is gone, or no database."""
    with pytest.raises(StoreError, match="unable to open"):
        SqliteHql(tmp_path / "gone.db", 1.0).answer("select 1")
    (tmp_path / "text.db").write_text("no database " * 200)
    with pytest.raises(StoreError, match="not a database"):
        SqliteHql(tmp_path / "text.db", 1.0).answer("select count(*) from request_response_rmt")


def test_bodies_and_notes_are_read_as_they_were_kept(tmp_path: Path) -> None:
    """What is no Unicode is replaced; feedback of a record that was noted before it came."""
    store = open_store(tmp_path / "records.db")
    store.annotate([Note(a_record(1).request_id, "feedback", "", "false", 0)])
    store.append([a_record(1, request_body="lone \ud800 half", response_body=None)])
    (row,) = store.hql.answer("select request_body, response_body, feedback from request_response_rmt").rows
    assert row == {"request_body": "lone ? half", "response_body": None, "feedback": 0}
    store.close()


def test_nothing_can_be_written_even_without_the_authorizer(tmp_path: Path) -> None:
    """The file is opened read-only, which holds by itself."""
    open_store(tmp_path / "records.db").close()
    connection = SqliteHql(tmp_path / "records.db", 1.0)._open()
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        connection.execute("DELETE FROM requests")
    connection.close()
