"""The store: records come back as they went in, lists are fast and filtered, sums agree with what they sum."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, func, select, text

import heliconnect as hc
from heliconnect.exchange import Cost, End, Exchange, Timing, Usage
from heliconnect.store import Facet, Mark, Store, migrations, open_store, tables
from heliconnect.store import sqlite as sqlite_module
from heliconnect.store.filters import All, Filter, FilterError, Leaf
from heliconnect.store.filters import Any as AnyOf
from heliconnect.store.migrations import MIGRATIONS
from heliconnect.store.rollups import latency_bin
from heliconnect.store.sqlite import SqliteStore
from tests.records import NOON, WHOLE, a_record


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = open_store(tmp_path / "records.db")
    yield made
    made.close()


BARE = Exchange("id", Timing(NOON, 1.0), "GET", "https://x/", None, End.UNREACHABLE)


@pytest.mark.parametrize("record", [pytest.param(WHOLE, id="whole"), pytest.param(BARE, id="nothing-known")])
def test_a_record_comes_back_as_it_was(record: Exchange, store: Store) -> None:
    """Every field, Decimal and time to the last digit; unknown stays unknown."""
    store.append([record])
    row = store.get(record.request_id)
    assert row is not None
    assert row.exchange == record
    (listed,) = store.page()
    narrow = replace(record, request_headers=(), response_headers=(), request_body=None, response_body=None)
    assert listed.exchange == narrow
    assert store.with_bodies([listed]) == [row]


def test_pages_go_by_key(store: Store) -> None:
    """Newest first; before and after a key; neighbours; the largest key."""
    store.append([a_record(n) for n in range(10)])
    keys = [row.key for row in store.page(limit=4)]
    assert keys == sorted(keys, reverse=True)
    assert [row.key for row in store.page(before=keys[-1], limit=2)] == [keys[-1] - 1, keys[-1] - 2]
    assert [row.key for row in store.page(after=keys[1])] == [keys[0]]
    assert store.last_key() == keys[0]
    newest = store.page(limit=1)[0]
    older, newer = store.neighbours(newest.key)
    assert (older, newer) == (a_record(8).request_id, None)
    assert store.get("unknown") is None


def test_the_same_id_twice_is_two_records(store: Store) -> None:
    """Both calls happened; the id names the later one."""
    store.append([a_record(1, user_id="first")])
    store.append([a_record(1, user_id="second")])
    assert store.count() == 2
    row = store.get(a_record(1).request_id)
    assert row is not None
    assert row.exchange.user_id == "second"


FILTERS: list[Any] = [
    pytest.param(Leaf("user_id", "equals", "ada"), {1, 3}, id="equals"),
    pytest.param(Leaf("user_id", "not-equals", "ada"), {0, 2, 4}, id="not-equals-holds-for-unknown"),
    pytest.param(Leaf("user_id", "is-unknown", True), {4}, id="unknown"),
    pytest.param(Leaf("user_id", "is-unknown", False), {0, 1, 2, 3}, id="known"),
    pytest.param(Leaf("model", "contains", "GPT"), {0, 1, 2}, id="contains-in-any-case"),
    pytest.param(Leaf("model", "not-contains", "gpt"), {3, 4}, id="not-contains"),
    pytest.param(Leaf("model", "contains", "%"), set(), id="wildcards-are-text"),
    pytest.param(Leaf("model", "like", "gpt%"), {0, 1, 2}, id="like"),
    pytest.param(Leaf("status", "gte", 400), {2}, id="status"),
    pytest.param(Leaf("latency_ms", "lt", 100), {4}, id="latency"),
    pytest.param(Leaf("cost_usd", "gt", 0.001), {3}, id="cost"),
    pytest.param(Leaf("started_at", "gte", "2026-03-01T12:00:03Z"), {3, 4}, id="time-as-text"),
    pytest.param(Leaf("started_at", "lt", NOON.timestamp() * 1000 + 1500), {0, 1}, id="time-as-milliseconds"),
    pytest.param(Leaf("session_id", "equals", "s-1"), {0, 1, 2, 3}, id="session"),
    pytest.param(Leaf("property", "equals", "gold", "Tier"), {2}, id="property-by-name-in-any-case"),
    pytest.param(Leaf("property", "not-equals", "gold", "tier"), {0, 1, 3, 4}, id="property-not-equals"),
    pytest.param(Leaf("property", "is-unknown", True, "tier"), {4}, id="property-absent"),
    pytest.param(Leaf("text", "contains", "because"), {0, 1, 2, 3}, id="text-of-previews"),
    pytest.param(Leaf("request_body", "contains", "why?"), {0, 1, 2, 3}, id="request-body"),
    pytest.param(Leaf("response_body", "contains", "needle"), {3}, id="response-body"),
    pytest.param(All((Leaf("user_id", "equals", "ada"), Leaf("model", "contains", "gpt"))), {1}, id="and"),
    pytest.param(AnyOf((Leaf("status", "equals", 500), Leaf("user_id", "is-unknown", True))), {2, 4}, id="or"),
    pytest.param(All(()), {0, 1, 2, 3, 4}, id="everything"),
    pytest.param(AnyOf(()), set(), id="nothing"),
]


def five_records() -> list[Exchange]:
    dear = Cost(Decimal("0.5"), source="provider")
    return [
        a_record(0),
        a_record(1, user_id="ada"),
        a_record(2, status=500, properties={"tier": "gold"}),
        a_record(3, user_id="ada", model="claude", cost=dear, response_body="a needle"),
        replace(BARE, request_id=a_record(4).request_id, timing=Timing(NOON + timedelta(seconds=4), 1.0)),
    ]


@pytest.mark.parametrize(("where", "expected"), FILTERS)
def test_filters(where: Filter, expected: set[int], store: Store) -> None:
    """One comparison each, and their joining."""
    store.append(five_records())
    found = {int(row.exchange.request_id[-2:], 16) for row in store.page(where)}
    assert found == expected
    assert store.count(where) == len(expected)


@pytest.mark.parametrize(
    "where",
    [
        pytest.param(Leaf("nonsense", "equals", 1), id="column"),
        pytest.param(Leaf("model", "sounds-like", 1), id="operator"),
        pytest.param(Leaf("started_at", "gt", "yesterday"), id="time"),
        pytest.param(Leaf("started_at", "gt", float("inf")), id="endless-time"),
        pytest.param(Leaf("status", "equals", 10**30), id="number-beyond-64-bits"),
        pytest.param(Leaf("status", "gt", True), id="larger-than-a-boolean"),
        pytest.param(Leaf("model", "equals", "\ud800"), id="no-unicode"),
        pytest.param(Leaf("model", "contains", "\0"), id="nul"),
        pytest.param(Leaf("model", "contains", "x" * 60_000), id="endless-text"),
    ],
)
def test_filters_that_make_no_sense_are_explained(where: Filter, store: Store) -> None:
    """The error lists what exists."""
    with pytest.raises(FilterError, match=r"expected"):
        store.page(where)


def test_a_filter_has_a_bounded_number_of_comparisons(store: Store) -> None:
    """Two hundred, however they are joined; the engine's own limits are never met."""
    leaf = Leaf("model", "equals", "a")
    assert store.page(All((leaf,) * 200)) == []
    with pytest.raises(FilterError, match="200"):
        store.page(AnyOf((All((leaf,) * 150), All((leaf,) * 51))))


def test_times_without_a_zone_are_utc(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the machine's own zone is."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    store.append(five_records())
    assert store.count(Leaf("started_at", "gte", "2026-03-01T12:00:03")) == 2
    monkeypatch.undo()
    time.tzset()


def test_a_query_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    """The caller is told to narrow it; the store goes on."""
    slow = SqliteStore(tmp_path / "slow.db", read_s=0.001)
    slow.append([a_record(n, response_body="x" * 10_000) for n in range(3_000)])
    with pytest.raises(FilterError, match="narrow it by time"):
        slow.page(Leaf("response_body", "contains", "nowhere"))
    slow.close()


def test_sessions_with_a_call_that_matches_are_found_in_one_pass(tmp_path: Path) -> None:
    """Not by going through all calls of a model once for each session."""
    store = SqliteStore(tmp_path / "many.db", read_s=0.5)
    store.append([a_record(n, session_id=f"s{n % 3_000}") for n in range(6_000)])
    where = All((Leaf("model", "equals", a_record().model or ""), Leaf("latency_ms", "gt", 10**6)))
    assert store.sessions(where=where) == []
    store.close()


def test_sorting_puts_the_unknown_last(store: Store) -> None:
    """By cost, by latency, in either direction."""
    store.append(five_records())
    costs = [row.exchange.cost for row in store.page(sort="cost_usd")]
    assert costs[0] is not None
    assert costs[0].total_usd == Decimal("0.5")
    assert costs[-1] is None
    rising = [row.exchange.timing.latency_ms for row in store.page(sort="latency_ms", newest_first=False)]
    assert rising == sorted(rising)
    with pytest.raises(FilterError):
        store.page(sort="nonsense")


def test_counting_stops_at_the_cap(store: Store) -> None:
    """A list may say "10+" without counting all."""
    store.append([a_record(n) for n in range(20)])
    assert (store.count(cap=10), store.count()) == (10, 20)


def test_sessions_are_kept_on_insert(store: Store) -> None:
    """Grouped by id and name; sums of what is known; users; the one used last first."""
    store.append([a_record(0), a_record(5, user_id="ada", cost=None, status=503), a_record(2, session_id="s-2")])
    store.append([a_record(7, session_name=None, usage=None)])
    first, second, third = store.sessions()
    assert [(row.session_id, row.session_name) for row in (first, second, third)] == [
        ("s-1", None),
        ("s-1", "trip"),
        ("s-2", "trip"),
    ]
    assert (second.requests, second.errors, second.unpriced, second.users) == (2, 1, 1, ("Zoë", "ada"))
    assert (second.cost_usd, second.input_tokens, second.output_tokens) == (Decimal("0.00012"), 28, 14)
    assert second.started_at == NOON
    assert second.ended_at == NOON + timedelta(seconds=5, milliseconds=1250.5)
    assert (first.input_tokens, first.cost_usd) == (None, Decimal("0.00012"))
    assert [row.session_id for row in store.sessions(search="S-2")] == ["s-2"]
    assert [row.session_id for row in store.sessions(where=Leaf("user_id", "equals", "ada"))] == ["s-1"]
    assert store.sessions(start=NOON + timedelta(hours=1)) == []
    assert len(store.session("s-1")) == 3
    assert [row.exchange.request_id for row in store.session("s-1", "trip")] == [a_record(n).request_id for n in (0, 5)]


def test_facets_count_what_occurs(store: Store) -> None:
    """Models, users, property names and values, the most frequent first."""
    store.append(five_records())
    assert store.facets("user") == [Facet("Zoë", 2), Facet("ada", 2)]
    assert store.facets("property-name") == [Facet("tier", 4), Facet("app", 3)]
    assert store.facets("property", "tier") == [Facet("pro", 3), Facet("gold", 1)]
    assert store.facets("model", prefix="cl") == [Facet("claude", 1)]
    assert store.facets("nonsense") == []


records = st.builds(
    a_record,
    st.integers(0, 5_000),
    model=st.sampled_from(["a", "b", None]),
    status=st.sampled_from([200, 429, None]),
    end=st.sampled_from(list(End)),
    cost=st.none() | st.builds(Cost, st.decimals(0, 10, places=9)),
    usage=st.none() | st.builds(Usage, input_tokens=st.integers(0, 99), output_tokens=st.none() | st.integers(0, 99)),
    session_id=st.sampled_from(["s", "t", None]),
)


@given(st.lists(st.lists(records, max_size=5), max_size=4))
@settings(max_examples=25, deadline=None)
def test_sums_agree_with_what_they_sum(tmp_path_factory: pytest.TempPathFactory, batches: list[list[Exchange]]) -> None:
    """Rollups of both grains, latencies and sessions, however the records were batched."""
    store = SqliteStore(tmp_path_factory.mktemp("sums") / "x.db")
    for batch in batches:
        store.append(batch)
    whole = [record for batch in batches for record in batch]
    cost = sum((record.cost.total_usd for record in whole if record.cost), Decimal(0))
    tokens = sum(record.usage.total_input or 0 for record in whole if record.usage)
    for grain in (60, 3600):
        r = tables.rollups.c
        sums = store._one(
            select(func.sum(r.count), func.sum(r.cost_nano), func.sum(r.input_tokens), func.sum(r.unpriced)).where(
                r.grain_s == grain
            )
        )
        unpriced = sum(record.cost is None for record in whole)
        assert tuple(value or 0 for value in sums) == (len(whole), cost * 10**9, tokens, unpriced)
        bins = store._one(select(func.sum(tables.latencies.c.count)).where(tables.latencies.c.grain_s == grain))
        assert (bins[0] or 0) == len(whole)
    assert sum(row.requests for row in store.sessions()) == sum(record.session_id is not None for record in whole)
    store.close()


def test_latency_bins_are_eight_to_an_octave() -> None:
    """Bins grow by the eighth root of two from 0.1 ms on."""
    assert [latency_bin(ms) for ms in (0.0, 0.1, 0.2, 0.4, 102.4)] == [0, 0, 8, 16, 80]


def test_a_batch_and_its_mark_are_stored_together_or_not_at_all(store: Store) -> None:
    """A record that cannot be stored takes its batch and the mark with it."""
    store.append([a_record(1)], Mark("seg", 10))
    impossible = a_record(2, request_size_bytes=10**30)
    with pytest.raises(hc.StoreError):
        store.append([a_record(3), impossible], Mark("seg", 20))
    assert (store.count(), store.mark("seg"), store.mark("other")) == (1, 10, 0)
    assert (store.would_take(impossible), store.would_take(a_record(4))) == (False, True)
    assert store.count() == 1
    store.forget_segment("seg")
    assert store.mark("seg") == 0


def test_would_take_says_nothing_about_a_record_while_the_store_is_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trouble of the store is no fault of the record: it must not be set aside for it."""
    monkeypatch.setattr(sqlite_module, "_BUSY_MS", 10)
    impatient = SqliteStore(tmp_path / "locked.db")
    other = sqlite3.connect(tmp_path / "locked.db")
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(hc.StoreError, match="locked"):
        impatient.would_take(a_record(1))
    other.close()
    impatient.close()


def test_a_migration_is_applied_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Schema changes are undone with the step that made them."""
    path = tmp_path / "records.db"
    open_store(path).close()

    def m002_breaks_off(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE half (a)"))
        raise RuntimeError("killed")

    monkeypatch.setattr(migrations, "MIGRATIONS", (*MIGRATIONS, m002_breaks_off))
    with pytest.raises(RuntimeError, match="killed"):
        SqliteStore(path)
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("SELECT name FROM sqlite_master WHERE name = 'half'").fetchall() == []
        assert len(raw.execute("SELECT name FROM migrations").fetchall()) == len(MIGRATIONS)


def test_the_file_is_for_its_owner_only(tmp_path: Path, store: Store) -> None:
    """Records hold what was said: the file and those beside it are not for others to read."""
    store.append([a_record(1)])
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.glob("records.db*")}
    assert modes == dict.fromkeys(("records.db", "records.db-wal", "records.db-shm"), 0o600)


def test_reading_goes_on_while_another_process_writes(tmp_path: Path, store: Store) -> None:
    """A second connection that holds the write lock does not hold up readers."""
    store.append([a_record(1)])
    other = sqlite3.connect(tmp_path / "records.db")
    other.execute("BEGIN IMMEDIATE")
    assert store.count() == 1
    other.rollback()
    other.close()


def test_many_threads_read_while_one_writes(store: Store) -> None:
    """No error, no half batch."""
    problems: list[object] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            if store.count() % 10:
                problems.append("half a batch")

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(20):
        store.append([a_record(number * 10 + n) for n in range(10)])
    stop.set()
    for thread in threads:
        thread.join()
    assert problems == []
