"""The writer: each capture is stored exactly once, whatever dies, locks or breaks."""

from __future__ import annotations

import logging
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from heliconnect.exchange import Capture, Exchange
from heliconnect.recorder import finish
from heliconnect.server.writer import Writer
from heliconnect.spool import SpoolReader, SpoolWriter
from heliconnect.store import Mark, Store, open_store
from heliconnect.store.sqlite import SqliteStore
from tests.test_spool import a_capture

WaitUntil = Callable[..., None]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = open_store(tmp_path / "records.db")
    yield made
    made.close()


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[SpoolWriter]:
    made = SpoolWriter(tmp_path / "spool")
    yield made
    made.close()


def a_writer(tmp_path: Path, store: Store, reading: Callable[[Capture], Exchange] = finish) -> Writer:
    return Writer(SpoolReader(tmp_path / "spool"), store, reading, tmp_path)


def test_captures_are_stored_soon(tmp_path: Path, store: Store, spool: SpoolWriter, wait_until: WaitUntil) -> None:
    """A running writer stores what is appended, and counts it."""
    writer = a_writer(tmp_path, store)
    writer.start()
    for number in range(5):
        spool.append(a_capture(str(number)))
    wait_until(lambda: store.count() == 5, 2)
    wait_until(lambda: writer.status().stored == 5)
    assert (writer.status().waiting_bytes, writer.status().error) == (0, None)
    writer.stop()


def test_stopping_drains_first(tmp_path: Path, store: Store, spool: SpoolWriter) -> None:
    """What is in the spool when the writer is told to stop is stored before it ends; its segment is gone."""
    for number in range(3_000):
        spool.append(a_capture(str(number)))
    spool.close()
    writer = a_writer(tmp_path, store)
    writer.start()
    writer.stop()
    assert store.count() == 3_000
    assert SpoolReader(tmp_path / "spool").segments() == []


def test_a_held_segment_is_kept_and_not_read_twice(tmp_path: Path, store: Store, spool: SpoolWriter) -> None:
    """A segment that is still appended to stays; a new writer goes on where the last one ended."""
    spool.append(a_capture("a"))
    assert a_writer(tmp_path, store).drain() == 1
    spool.append(a_capture("b"))
    again = a_writer(tmp_path, store)
    assert [again.drain(), again.drain()] == [1, 0]
    assert store.count() == 2
    assert len(SpoolReader(tmp_path / "spool").segments()) == 1


def test_a_locked_store_loses_nothing(
    tmp_path: Path, store: Store, spool: SpoolWriter, wait_until: WaitUntil, caplog: pytest.LogCaptureFixture
) -> None:
    """While another process holds the store, records wait; one log line when it begins, one when it ends."""
    other = sqlite3.connect(tmp_path / "records.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    writer = a_writer(tmp_path, store)
    with caplog.at_level(logging.WARNING, "heliconnect"):
        spool.append(a_capture("a"))
        writer.start()
        wait_until(lambda: writer.status().error is not None, 15)
        assert writer.status().waiting_bytes > 0
        other.execute("ROLLBACK")
        wait_until(lambda: store.count() == 1, 15)
    writer.stop()
    other.close()
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


def test_a_record_the_store_refuses_holds_up_no_other(
    tmp_path: Path, store: Store, spool: SpoolWriter, caplog: pytest.LogCaptureFixture
) -> None:
    """It is set aside, whole, and counted."""

    def reading(capture: Capture) -> Exchange:
        exchange = finish(capture)
        if capture.request_id == "bad":
            object.__setattr__(exchange, "request_size_bytes", 10**30)
        return exchange

    for name in ("a", "bad", "b"):
        spool.append(a_capture(name))
    writer = a_writer(tmp_path, store, reading)
    assert writer.drain() == 3
    assert {row.exchange.request_id for row in store.page()} == {"a", "b"}
    assert (writer.status().stored, writer.status().set_aside) == (2, 1)
    assert set_aside(tmp_path) == [a_capture("bad")]
    spool.append(replace(a_capture("bad"), request_body=b"again"))
    assert writer.drain() == 1
    assert writer.status().set_aside == 2
    assert len(set_aside(tmp_path)) == 2


def test_a_capture_that_cannot_be_read_holds_up_no_other(tmp_path: Path, store: Store, spool: SpoolWriter) -> None:
    """Whatever reading it raises, the others are stored and the thread lives; its id makes no path."""

    def reading(capture: Capture) -> Exchange:
        if capture.request_id == "../../bad":
            raise RuntimeError("unforeseen")
        return finish(capture)

    for name in ("a", "../../bad", "b"):
        spool.append(a_capture(name))
    writer = a_writer(tmp_path, store, reading)
    writer.start()
    writer.stop()
    assert {row.exchange.request_id for row in store.page()} == {"a", "b"}
    assert (writer.status().stored, writer.status().set_aside) == (2, 1)
    assert set_aside(tmp_path) == [a_capture("../../bad")]


class Flaky(SqliteStore):
    """Fails once in a way that no one foresaw, then works."""

    broken = True

    def append(self, batch: Sequence[Exchange], mark: Mark | None = None) -> None:
        if self.broken:
            self.broken = False
            raise RuntimeError("unforeseen")
        super().append(batch, mark)


def test_an_error_no_one_foresaw_does_not_end_the_writer(
    tmp_path: Path, spool: SpoolWriter, wait_until: WaitUntil
) -> None:
    """It is shown in the status, and the batch is tried again."""
    flaky = Flaky(tmp_path / "flaky.db")
    spool.append(a_capture("a"))
    writer = a_writer(tmp_path, flaky)
    writer.start()
    wait_until(lambda: writer.status().error == "unforeseen")
    wait_until(lambda: flaky.count() == 1)
    writer.stop()
    flaky.close()


def set_aside(folder: Path) -> list[Capture]:
    reader = SpoolReader(folder / "aside")
    return [capture for name in reader.segments() for capture in reader.read(name, 0).captures]


CHILD = """
import sys
from pathlib import Path
from heliconnect.recorder import finish
from heliconnect.server.writer import Writer
from heliconnect.spool import SpoolReader
from heliconnect.store import open_store
folder = Path(sys.argv[1])
writer = Writer(SpoolReader(folder / "spool"), open_store(folder / "records.db"), finish, folder)
print("ready", flush=True)
while True:
    writer.drain()
"""


def test_killing_the_writer_stores_each_capture_exactly_once(tmp_path: Path, spool: SpoolWriter) -> None:
    """SIGKILL at ten random moments: nothing lost, nothing twice."""
    dice = random.Random(11)
    open_store(tmp_path / "records.db").close()
    sent = 0
    for _ in range(10):
        child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE)
        with child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"ready\n"
            for _ in range(dice.randint(20, 200)):
                assert spool.append(a_capture(str(sent)))
                sent += 1
            time.sleep(dice.random() * 0.05)
            os.kill(child.pid, signal.SIGKILL)
    store = open_store(tmp_path / "records.db")
    writer = a_writer(tmp_path, store)
    while writer.drain():
        pass
    ids = [row.exchange.request_id for row in store.page(limit=10_000)]
    store.close()
    assert len(ids) == len(set(ids)) == sent
