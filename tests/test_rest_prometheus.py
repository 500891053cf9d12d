"""`/metrics`: counters that never fall, few labels, and the truth about the writer."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from heliconnect.errors import StoreError
from heliconnect.exchange import Cost, Usage
from heliconnect.server.control import create_app
from heliconnect.server.rest.prometheus import MAX_PAIRS
from heliconnect.server.writer import WriterStatus
from heliconnect.store import open_store
from tests.conftest import Running
from tests.logged import Call, log_calls
from tests.records import a_record

NOON = datetime(2025, 7, 2, 12, tzinfo=UTC)
BUSY = WriterStatus(stored=7, waiting_bytes=123, dropped=2, damaged=1, set_aside=3, error="disk full")


def scraped(text: str) -> dict[str, float]:
    """The samples of a page by their names and labels."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_calls_are_counted_by_provider_and_model(live: Running) -> None:
    """Requests, errors, tokens, cost; no cost where none is known."""
    dear, free = f"dear-{uuid.uuid4().hex}", f"free-{uuid.uuid4().hex}"
    log_calls(live, [Call(NOON, model=dear, cost=0.25), Call(NOON, model=dear, status=500, cost=0.5)])
    log_calls(live, [Call(NOON, model=free, tokens=None)])
    answer = httpx.get(f"{live.url}/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    ours = {name: value for name, value in scraped(answer.text).items() if dear in name or free in name}

    def labelled(name: str, model: str, more: str = "") -> str:
        return f'heliconnect_{name}{{provider="openai",model="{model}"{more}}}'

    assert ours == {
        labelled("requests_total", dear): 2,
        labelled("requests_total", free): 1,
        labelled("errors_total", dear): 1,
        labelled("errors_total", free): 0,
        labelled("unpriced_requests_total", dear): 0,
        labelled("unpriced_requests_total", free): 1,
        labelled("tokens_total", dear, ',direction="input"'): 20,
        labelled("tokens_total", dear, ',direction="output"'): 10,
        labelled("cost_usd_total", dear): 0.75,
    }


def test_the_whole_page(tmp_path: Path) -> None:
    """Names, types and what the writer does, line by line; unknown names are called so; quotes are escaped."""
    store = open_store(tmp_path / "records.db")
    store.append([a_record(1, model='a"b\\c\nd', cost=Cost(Decimal("0.1"))), a_record(2, provider=None, model=None)])
    with TestClient(create_app(store, lambda: BUSY, []), base_url="http://127.0.0.1") as client:
        found = client.get("/metrics").text
    store.close()
    odd, unknown = r'provider="openai",model="a\"b\\c\nd"', 'provider="unknown",model="unknown"'
    assert found == (
        "# HELP heliconnect_requests_total Calls recorded.\n"
        "# TYPE heliconnect_requests_total counter\n"
        f"heliconnect_requests_total{{{unknown}}} 1\n"
        f"heliconnect_requests_total{{{odd}}} 1\n"
        "# HELP heliconnect_errors_total Calls that failed.\n"
        "# TYPE heliconnect_errors_total counter\n"
        f"heliconnect_errors_total{{{unknown}}} 0\n"
        f"heliconnect_errors_total{{{odd}}} 0\n"
        "# HELP heliconnect_unpriced_requests_total Calls whose cost is unknown.\n"
        "# TYPE heliconnect_unpriced_requests_total counter\n"
        f"heliconnect_unpriced_requests_total{{{unknown}}} 0\n"
        f"heliconnect_unpriced_requests_total{{{odd}}} 0\n"
        "# HELP heliconnect_tokens_total Tokens that providers reported.\n"
        "# TYPE heliconnect_tokens_total counter\n"
        f'heliconnect_tokens_total{{{unknown},direction="input"}} 14\n'
        f'heliconnect_tokens_total{{{unknown},direction="output"}} 7\n'
        f'heliconnect_tokens_total{{{odd},direction="input"}} 14\n'
        f'heliconnect_tokens_total{{{odd},direction="output"}} 7\n'
        "# HELP heliconnect_cost_usd_total Cost in US dollars, of the calls where it is known.\n"
        "# TYPE heliconnect_cost_usd_total counter\n"
        f"heliconnect_cost_usd_total{{{unknown}}} 0.00012\n"
        f"heliconnect_cost_usd_total{{{odd}}} 0.1\n"
        "# HELP heliconnect_spool_waiting_bytes Bytes that wait to be stored.\n"
        "# TYPE heliconnect_spool_waiting_bytes gauge\n"
        "heliconnect_spool_waiting_bytes 123\n"
        "# HELP heliconnect_records_stored_total Records stored since the server began.\n"
        "# TYPE heliconnect_records_stored_total counter\n"
        "heliconnect_records_stored_total 7\n"
        "# HELP heliconnect_records_dropped_total Records lost because the spool was full.\n"
        "# TYPE heliconnect_records_dropped_total counter\n"
        "heliconnect_records_dropped_total 2\n"
        "# HELP heliconnect_records_damaged_total Spool frames that could not be read.\n"
        "# TYPE heliconnect_records_damaged_total counter\n"
        "heliconnect_records_damaged_total 1\n"
        "# HELP heliconnect_records_set_aside_total Records that the store refused.\n"
        "# TYPE heliconnect_records_set_aside_total counter\n"
        "heliconnect_records_set_aside_total 3\n"
        "# HELP heliconnect_store_takes_records 1 while the store takes records.\n"
        "# TYPE heliconnect_store_takes_records gauge\n"
        "heliconnect_store_takes_records 0\n"
        "# HELP heliconnect_store_readable 1 while the store can be read.\n"
        "# TYPE heliconnect_store_readable gauge\n"
        "heliconnect_store_readable 1\n"
    )


def test_invented_model_names_make_no_endless_series(tmp_path: Path) -> None:
    """The first pairs keep their series, all later ones are "other"; long names of one beginning are one series."""
    store = open_store(tmp_path / "records.db")
    timed = [a_record(n * 3_600, model=f"m{n}") for n in range(MAX_PAIRS + 50)]
    store.append(timed)
    app = create_app(store, lambda: replace(BUSY, error=None), [])
    with TestClient(app, base_url="http://127.0.0.1") as client:
        before = scraped(client.get("/metrics").text)
        store.append([a_record(10**7 + n, model=f"m{MAX_PAIRS + 1}") for n in range(100)])
        after = scraped(client.get("/metrics").text)
    store.close()
    assert before.keys() == after.keys()
    counted = {name: value for name, value in before.items() if name.startswith("heliconnect_requests_total")}
    assert len(counted) == MAX_PAIRS + 1
    assert counted['heliconnect_requests_total{provider="other",model="other"}'] == 50
    assert after['heliconnect_requests_total{provider="other",model="other"}'] == 150
    assert all(after[name] >= value for name, value in before.items())


def test_long_names_of_one_beginning_are_one_series(tmp_path: Path) -> None:
    """A series never stands twice on the page."""
    store = open_store(tmp_path / "records.db")
    store.append([a_record(1, model="x" * 200 + "a"), a_record(2, model="x" * 200 + "b")])
    with TestClient(create_app(store, lambda: BUSY, []), base_url="http://127.0.0.1") as client:
        found = scraped(client.get("/metrics").text)
    store.close()
    assert found[f'heliconnect_requests_total{{provider="openai",model="{"x" * 128}"}}'] == 2


def test_large_counters_are_told_to_their_last_digit(tmp_path: Path) -> None:
    """A counter that is rounded seems to stand still."""
    store = open_store(tmp_path / "records.db")
    store.append([a_record(1, usage=Usage(input_tokens=123_456_789_012_345), cost=Cost(Decimal("1234567.000001")))])
    with TestClient(create_app(store, lambda: BUSY, []), base_url="http://127.0.0.1") as client:
        lines = client.get("/metrics").text.splitlines()
    store.close()
    labels = 'provider="openai",model="gpt-4o-2024-08-06"'
    assert f'heliconnect_tokens_total{{{labels},direction="input"}} 123456789012345' in lines
    assert f"heliconnect_cost_usd_total{{{labels}}} 1234567.000001" in lines


def test_a_store_that_cannot_be_read_is_told_and_the_writer_is_still_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scrape succeeds: its alerts must work when the store does not."""
    store = open_store(tmp_path / "records.db")

    def broken() -> None:
        raise StoreError("disk I/O error")

    monkeypatch.setattr(store.measures, "by_provider_and_model", broken)
    with TestClient(create_app(store, lambda: BUSY, []), base_url="http://127.0.0.1") as client:
        answer = client.get("/metrics")
    store.close()
    found = scraped(answer.text)
    assert answer.status_code == 200
    assert (found["heliconnect_store_readable"], found["heliconnect_spool_waiting_bytes"]) == (0, 123)
