"""Exports: everything that matches, as a stream, in memory only a few records at a time."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from heliconnect.errors import StoreError
from heliconnect.server.control import create_app
from heliconnect.server.rest import export as export_module
from heliconnect.store import Row, open_store
from heliconnect.store.sqlite import SqliteStore
from tests.conftest import Running
from tests.logged import Call, log_calls
from tests.records import a_record
from tests.test_rest import FINE

NOON = datetime(2025, 6, 4, 12, tzinfo=UTC)
PATH = "/v1/request/export"


@pytest.fixture(scope="module")
def user(_running: Running) -> str:
    """A user with three calls: one answered with a formula, one of which nothing is known, one with a bad name."""
    name = f"=export-{uuid.uuid4().hex[:8]}"
    log_calls(
        _running,
        [
            Call(NOON, name, "dear", first_token_ms=100, cost=0.25, answer="=HYPERLINK(1)"),
            Call(NOON + timedelta(seconds=1), name, "free", 500, tokens=None),
            Call(NOON + timedelta(seconds=2), name, "+model", tokens=(1, 1)),
        ],
    )
    return name


def where(user: str) -> dict[str, Any]:
    return {"request_response_rmt": {"user_id": {"equals": user}}}


def test_lines_of_json_are_the_records_of_a_query(live: Running, user: str) -> None:
    """Each line is what the query gives, the oldest first; by GET with the filter as JSON, and by POST."""
    answer = httpx.get(live.url + PATH, params={"filter": json.dumps(where(user))})
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert answer.headers["content-disposition"] == 'attachment; filename="requests.jsonl"'
    found = [json.loads(line) for line in answer.text.splitlines()]
    assert found == live.records(user, 3)
    assert httpx.post(live.url + PATH, json={"filter": where(user)}).text == answer.text
    bare = httpx.post(live.url + PATH, json={"filter": where(user), "includeBody": False}).text.splitlines()
    assert [json.loads(line) for line in bare] == [
        {**row, "request_body": None, "response_body": None} for row in found
    ]


def test_a_csv_has_a_head_and_guards_against_formulas(live: Running, user: str) -> None:
    """Text that begins like a formula gets an apostrophe; numbers do not; unknown is empty."""
    answer = httpx.get(live.url + PATH, params={"filter": json.dumps(where(user)), "format": "csv"})
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    first = live.records(user, 3)[0]
    assert rows[0] == {
        "request_id": first["request_id"],
        "request_created_at": "2025-06-04T12:00:00.000Z",
        "response_created_at": "2025-06-04T12:00:01.000Z",
        "status": "200",
        "ended": "done",
        "error": "",
        "provider": "OPENAI",
        "model": "dear",
        "request_model": "dear",
        "response_model": "dear",
        "target_url": "https://api.openai.com/v1/chat/completions",
        "user_id": f"'{user}",
        "properties": json.dumps(first["properties"], separators=(",", ":")),
        "delay_ms": "1000",
        "time_to_first_token": "100",
        "prompt_tokens": "10",
        "prompt_cache_read_tokens": "",
        "prompt_cache_write_tokens": "",
        "prompt_audio_tokens": "",
        "completion_tokens": "5",
        "reasoning_tokens": "",
        "completion_audio_tokens": "",
        "total_tokens": "15",
        "cost": "0.25",
        "cost_source": first["cost_source"],
        "feedback_rating": "",
        "scores": "{}",
        "warnings": json.dumps(first["warnings"], separators=(",", ":")),
        "is_stream": "false",
        "size_bytes": str(first["size_bytes"]),
        "request_body": json.dumps(first["request_body"], separators=(",", ":")),
        "response_body": json.dumps(first["response_body"], separators=(",", ":")),
    }
    assert (rows[1]["cost"], rows[1]["prompt_tokens"], rows[1]["status"]) == ("", "", "500")
    assert rows[2]["model"] == "'+model"


CELLS: list[Any] = [
    *(pytest.param(f"{sign}1", f"'{sign}1", id=f"formula-{ord(sign)}") for sign in "=+-@\t\r\n\uff1d"),
    pytest.param("1=2", "1=2", id="plain"),
    pytest.param(-3, -3, id="negative-numbers-are-numbers"),
    pytest.param(None, None, id="unknown"),
    pytest.param(True, "true", id="boolean"),
    pytest.param({"a": "=1"}, '{"a":"=1"}', id="object"),
    pytest.param({"a": "\ud800"}, '{"a":"\\ud800"}', id="half-a-surrogate-pair"),
]


@pytest.mark.parametrize(("value", "expected"), CELLS)
def test_cells(value: Any, expected: Any) -> None:
    """What a spreadsheet must not run."""
    assert export_module._cell(value) == expected


REFUSED: list[Any] = [
    pytest.param({"format": "parquet"}, 422, "format", id="format"),
    pytest.param({"filter": "all"}, 400, "filter must be JSON", id="no-json"),
    pytest.param({"filter": '{"x": {}}'}, 400, "unknown table", id="filter"),
    pytest.param({"filter": '{"request_response_rmt": {"model": {"sounds": 1}}}'}, 400, "operator", id="operator"),
]


@pytest.mark.parametrize(("params", "status", "words"), REFUSED)
def test_an_export_that_makes_no_sense_is_refused_before_it_begins(
    live: Running, params: dict[str, str], status: int, words: str
) -> None:
    """In the envelope of all errors."""
    answer = httpx.get(live.url + PATH, params=params)
    assert (answer.status_code, answer.json()["data"]) == (status, None)
    assert words in answer.json()["error"]


def test_nothing_that_matches_is_an_empty_export(live: Running) -> None:
    """No line; in CSV the head alone."""
    params = {"filter": json.dumps(where("nobody"))}
    assert httpx.get(live.url + PATH, params=params).text == ""
    head = httpx.get(live.url + PATH, params={**params, "format": "csv"}).text
    assert (head.count("\r\n"), head.startswith("request_id,")) == (1, True)


def test_all_pages_and_windows_are_exported_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Across full pages, windows without a match, and large records that stand alone."""
    monkeypatch.setattr(export_module, "_PAGE", 3)
    monkeypatch.setattr(export_module, "_WINDOW", 7)
    monkeypatch.setattr(export_module, "_MAX_BYTES", 150)
    store = open_store(tmp_path / "records.db")
    store.append([a_record(n, user_id="ada" if n % 5 else "bob", request_size_bytes=n) for n in range(50)])
    with TestClient(create_app(store, lambda: FINE, []), base_url="http://127.0.0.1") as client:
        for node, expected in (("all", range(50)), (where("bob"), range(0, 50, 5)), (where("nobody"), range(0))):
            text = client.post(PATH, json={"filter": node}).text
            assert [int(json.loads(line)["request_id"][-2:], 16) for line in text.splitlines()] == list(expected)
    store.close()


def test_an_export_holds_only_a_few_records_in_memory(tmp_path: Path) -> None:
    """Ten times the records need no more memory."""
    store = open_store(tmp_path / "records.db")

    def peak() -> int:
        tracemalloc.start()
        size = sum(len(part) for part in export_module._lines(_all_rows(store)))
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert size > 1_000_000
        return used

    store.append([a_record(n, request_body="x" * 50_000, request_size_bytes=50_000) for n in range(200)])
    first = peak()
    for start in range(200, 2_000, 200):
        store.append(
            [a_record(n, request_body="x" * 50_000, request_size_bytes=50_000) for n in range(start, start + 200)]
        )
    assert peak() < first * 1.5
    store.close()


def _all_rows(store: Any) -> Iterator[list[dict[str, Any]]]:
    return export_module._rows(store, export_module._pages(store, None, store.last_key()), with_bodies=True)


class FailingStore(SqliteStore):
    """Reads no second part."""

    parts = 0

    def with_bodies(self, rows: Any) -> list[Row]:
        self.parts += 1
        if self.parts > 1:
            raise StoreError("disk I/O error")
        return super().with_bodies(rows)


def test_an_export_that_cannot_be_read_to_its_end_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection breaks: a reader cannot take half of it for all."""
    monkeypatch.setattr(export_module, "_PAGE", 1)
    store = FailingStore(tmp_path / "records.db")
    store.append([a_record(1), a_record(2)])
    with TestClient(create_app(store, lambda: FINE, []), base_url="http://127.0.0.1") as client:
        with pytest.raises(RuntimeError, match="response already started"):
            client.get(PATH)
    store.close()
