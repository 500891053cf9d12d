"""Backups: a whole copy of one moment, checked, and never in the place of something else."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

import heliconnect as hc
from heliconnect.store import back_up, open_store
from tests.records import a_record


def test_a_copy_made_while_the_store_is_written_is_of_one_moment(tmp_path: Path) -> None:
    """Whole batches, sums that agree, one file for its owner only."""
    store = open_store(tmp_path / "records.db")
    store.append([a_record(n) for n in range(10)])
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            store.append([a_record(n) for n in range(10)])

    thread = threading.Thread(target=write)
    thread.start()
    for number in range(5):
        back_up(tmp_path / "records.db", tmp_path / f"{number}.db")
    stop.set()
    thread.join()
    for number in range(5):
        target = tmp_path / f"{number}.db"
        assert target.stat().st_mode & 0o777 == 0o600
        copy = open_store(target, read_only=True)
        count = copy.count()
        assert (count > 0, count % 10, copy.sessions()[0].requests) == (True, 0, count)
        copy.close()
    assert {path.name for path in tmp_path.iterdir()} == {
        *("records.db", "records.db-wal", "records.db-shm"),
        *(f"{number}.db" for number in range(5)),
    }
    store.close()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """What stands at the target stays as it is."""
    open_store(tmp_path / "records.db").close()
    (tmp_path / "there.db").write_text("mine")
    with pytest.raises(hc.StoreError, match=r"exists already.*another name"):
        back_up(tmp_path / "records.db", tmp_path / "there.db")
    assert (tmp_path / "there.db").read_text() == "mine"


def test_a_copy_of_a_damaged_store_gets_no_name(tmp_path: Path) -> None:
    """The damage is said; nothing that looks like a backup is left."""
    path = tmp_path / "records.db"
    store = open_store(path)
    store.append([a_record(n) for n in range(200)])
    store.close()
    with closing(sqlite3.connect(path)) as raw:
        root = raw.execute("SELECT rootpage FROM sqlite_master WHERE name = 'requests_by_user'").fetchone()[0]
        size = raw.execute("PRAGMA page_size").fetchone()[0]
    with path.open("r+b") as file:
        file.seek((root - 1) * size + 200)
        file.write(b"\xff" * 2_000)
    with pytest.raises(hc.StoreError, match=r"damaged|malformed"):
        back_up(path, tmp_path / "copy.db")
    assert [one.name for one in tmp_path.glob("copy*")] == []


def test_what_cannot_be_copied_is_explained(tmp_path: Path) -> None:
    """A missing store, a folder that is not there."""
    with pytest.raises(hc.StoreError, match="could not be copied"):
        back_up(tmp_path / "missing.db", tmp_path / "copy.db")
    open_store(tmp_path / "records.db").close()
    with pytest.raises(hc.StoreError, match="could not be copied"):
        back_up(tmp_path / "records.db", tmp_path / "no" / "copy.db")
