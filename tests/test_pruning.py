"""Removing old records: what is left is as if the others had never come."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

import heliconnect as hc
from heliconnect.exchange import Exchange
from heliconnect.store import Note, Store, open_store, tables
from heliconnect.store import pruning as pruning_module
from heliconnect.store.sqlite import SqliteStore
from tests.records import NOON, a_record
from tests.test_store import records

SUMMED = (tables.rollups, tables.latencies, tables.facets, tables.sessions, tables.session_users)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = open_store(tmp_path / "records.db")
    yield made
    made.close()


def sums(store: SqliteStore) -> dict[str, list[dict[str, Any]]]:
    """All tables that are kept on insert; sums of floats rounded."""

    def row(found: Any) -> dict[str, Any]:
        values = dict(found._mapping)
        return {name: round(value, 3) if isinstance(value, float) else value for name, value in values.items()}

    return {
        table.name: [row(one) for one in store._all(select(table).order_by(*table.primary_key))] for table in SUMMED
    }


@given(st.lists(records, max_size=25), st.integers(0, 5_000))
@settings(max_examples=25, deadline=None)
def test_what_is_left_counts_as_if_the_rest_had_never_come(
    tmp_path_factory: pytest.TempPathFactory, whole: list[Exchange], second: int
) -> None:
    """Rollups, latencies, facets, sessions and their users, after any removal."""
    before = NOON + timedelta(seconds=second)
    pruned = SqliteStore(tmp_path_factory.mktemp("pruned") / "x.db")
    fresh = SqliteStore(tmp_path_factory.mktemp("fresh") / "x.db")
    left = [one for one in whole if one.timing.started_at >= before]
    pruned.append(whole)
    fresh.append(left)
    ever = pruned.measures.by_provider_and_model()
    assert pruned.count_before(before) == len(whole) - len(left) == sum(pruned.remove_before(before))
    assert sums(pruned) == sums(fresh)
    assert pruned.measures.by_provider_and_model() == ever
    found = [row.exchange for row in pruned.with_bodies(pruned.page(newest_first=False, limit=100))]
    assert found == [row.exchange for row in fresh.with_bodies(fresh.page(newest_first=False, limit=100))]
    pruned.close()
    fresh.close()


def test_a_property_said_afterwards_leaves_with_its_record(store: Store) -> None:
    """Its facet as well, and the notes of the record; those of a record that stays stay."""
    store.append([a_record(0), a_record(60)])
    ids = [a_record(n).request_id for n in (0, 60)]
    store.annotate([Note(one, "property", "plan", "gold", 1) for one in ids])
    store.annotate([Note(one, "score", "grounded", "0.5", 1) for one in ids])
    assert sum(store.remove_before(NOON + timedelta(seconds=30))) == 1
    assert [facet.count for facet in store.facets("property", "plan")] == [1]
    assert (store.notes(ids[0]), len(store.notes(ids[1]))) == ([], 2)


def test_a_sessions_notes_leave_with_its_last_call(store: Store) -> None:
    """As long as one call is left they stay."""
    store.append([a_record(0), a_record(60)])
    store.annotate([Note("s-1", "session-tag", "", "good", 1)])
    assert sum(store.remove_before(NOON + timedelta(seconds=30))) == 1
    assert len(store.notes("s-1")) == 1
    assert sum(store.remove_before(NOON + timedelta(seconds=90))) == 1
    assert (store.notes("s-1"), store.sessions()) == ([], [])


def test_removal_goes_in_steps(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Oldest first, each step whole: others may write between two, and who stops early leaves a right store."""
    monkeypatch.setattr(pruning_module, "_STEP", 3)
    store.append([a_record(n) for n in (7, 1, 5, 3, 9)])
    steps = store.remove_before(NOON + timedelta(seconds=8))
    assert next(steps) == 3
    assert [row.exchange for row in store.with_bodies(store.page())] == [a_record(9), a_record(7)]
    store.append([a_record(20)])
    assert list(steps) == [1]
    assert store.count() == 2


def test_only_what_was_said_is_removed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bodies and previews go; who, when, headers, tokens and cost stay, and so does every count."""
    monkeypatch.setattr(pruning_module, "_STEP", 2)
    whole = [a_record(n) for n in range(5)]
    store.append(whole)
    assert isinstance(store, SqliteStore)
    counted = sums(store)
    before = NOON + timedelta(seconds=4)
    assert store.count_before(before, bodies_only=True) == 4
    assert list(store.remove_before(before, bodies_only=True)) == [2, 2]
    unsaid = {"request_body": None, "response_body": None, "request_preview": None, "response_preview": None}
    expected = [replace(one, **unsaid) for one in whole[:4]] + whole[4:]
    assert [row.exchange for row in store.with_bodies(store.page(newest_first=False))] == expected
    assert sums(store) == counted
    assert store.count_before(before, bodies_only=True) == 0
    assert list(store.remove_before(before, bodies_only=True)) == []


def test_keys_of_removed_records_are_not_given_again(store: Store) -> None:
    """Who asks for what came after a key misses nothing."""
    store.append([a_record(n) for n in range(3)])
    latest = store.last_key()
    assert sum(store.remove_before(NOON + timedelta(hours=1))) == 3
    store.append([a_record(5)])
    assert [row.key for row in store.page(after=latest)] == [latest + 1]


def test_space_is_given_back_while_others_read(tmp_path: Path, store: Store) -> None:
    """The file shrinks without being written anew."""
    path = tmp_path / "records.db"
    store.append([a_record(n, response_body=bytes(str(n) * 9_000, "ascii").hex()) for n in range(500)])
    store.shrink()
    before = path.stat().st_size
    reader = open_store(path, read_only=True)
    assert sum(store.remove_before(NOON + timedelta(seconds=490))) == 490
    assert store.shrink() == 0
    assert path.stat().st_size < before / 2
    assert reader.count() == 10
    reader.close()


def test_an_older_file_is_written_anew_when_nobody_else_uses_it(tmp_path: Path) -> None:
    """Without that, it says how much stays free for records to come; afterwards it is as a new one."""
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("CREATE TABLE first_page (a)")
        raw.execute("DROP TABLE first_page")
    store = open_store(path)
    store.append([a_record(n) for n in range(500)])
    assert sum(store.remove_before(NOON + timedelta(hours=1))) == 500
    assert store.shrink() > 100_000
    assert store.shrink(rewrite=True) == 0
    store.append([a_record(n) for n in range(500)])
    assert sum(store.remove_before(NOON + timedelta(hours=1))) == 500
    assert store.shrink() == 0
    store.close()


def test_a_reader_removes_nothing(tmp_path: Path, store: Store) -> None:
    """Read-only means read-only; a locked store is explained."""
    reader = open_store(tmp_path / "records.db", read_only=True)
    with pytest.raises(hc.StoreError, match="reading only"):
        next(reader.remove_before(NOON))
    with pytest.raises(hc.StoreError, match="reading only"):
        reader.shrink()
    reader.close()


def test_only_records_with_new_ids_are_kept(store: Store) -> None:
    """Whatever is stored, and whatever comes twice in the batch; feedback and scores come with them."""
    store.append([a_record(1, user_id="here")])
    rated = a_record(2, feedback=True, scores={"grounded": 0.5})
    assert store.append_new([a_record(1, user_id="new"), rated, a_record(2, user_id="twice")]) == 1
    assert store.append_new([rated]) == 0
    assert [row.exchange for row in store.with_bodies(store.page())] == [rated, a_record(1, user_id="here")]
