"""Opening a store: other schemas, files that are none, reading only."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import heliconnect as hc
from heliconnect.store import open_store
from heliconnect.store.filters import All, Leaf, both
from heliconnect.store.migrations import MIGRATIONS
from tests.records import a_record


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    """A file from a later version is left alone, and the error says what to do."""
    path = tmp_path / "records.db"
    open_store(path).close()
    with sqlite3.connect(path) as raw:
        assert [name for (name,) in raw.execute("SELECT name FROM migrations")] == [m.__name__ for m in MIGRATIONS]
        raw.execute("INSERT INTO migrations VALUES ('m999_future', '')")
    raw.close()
    with pytest.raises(hc.StoreError, match=r"newer heliconnect.*m999_future"):
        open_store(path)


def test_an_older_schema_is_not_read_as_it_stands(tmp_path: Path) -> None:
    """Who may not change the file says who can."""
    path = tmp_path / "records.db"
    open_store(path).close()
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("DELETE FROM migrations WHERE name = 'm003_cache_references'")
    with pytest.raises(hc.StoreError, match=r"older heliconnect.*up to date"):
        open_store(path, read_only=True)
    open_store(path).close()
    open_store(path, read_only=True).close()


def test_what_cannot_be_opened_is_explained(tmp_path: Path) -> None:
    """A file that is no database, an engine that does not exist, a missing file read-only."""
    (tmp_path / "text.db").write_text("this is no database, but it is long enough to be taken for one" * 20)
    with pytest.raises(hc.StoreError, match="not a database"):
        open_store(tmp_path / "text.db")
    with pytest.raises(hc.StoreError, match="not available yet"):
        open_store("clickhouse://host/db")
    with pytest.raises(hc.StoreError, match="cannot be opened"):
        open_store(tmp_path / "missing.db", read_only=True)


def test_read_only_means_read_only(tmp_path: Path) -> None:
    """A reader of a live store changes nothing."""
    with_writer = open_store(tmp_path / "records.db")
    with_writer.append([a_record(1)])
    reader = open_store(tmp_path / "records.db", read_only=True)
    assert reader.count() == 1
    with pytest.raises(hc.StoreError, match="reading only"):
        reader.append([a_record(2)])
    reader.close()
    with_writer.close()


def test_filters_are_joined_where_there_are_any() -> None:
    """both() leaves out what is None."""
    leaf = Leaf("model", "equals", "a")
    assert both(None, None) is None
    assert both(None, leaf) is leaf
    assert both(leaf, leaf) == All((leaf, leaf))
