"""Retention: old records go by themselves, and nothing ends that."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from heliconnect.errors import StoreError
from heliconnect.exchange import Timing
from heliconnect.server.retention import Retention, prune
from heliconnect.server.supervisor import ServerOptions, running
from heliconnect.store import Store, open_store
from heliconnect.store import pruning as pruning_module
from heliconnect.store.sqlite import SqliteStore
from tests.records import NOON, a_record

WaitUntil = Callable[..., None]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = open_store(tmp_path / "records.db")
    yield made
    made.close()


def test_each_round_removes_what_has_become_old(store: Store, wait_until: WaitUntil) -> None:
    """By the clock of the round."""
    now = NOON + timedelta(days=30)
    store.append([a_record(0), a_record(60), a_record(7_200)])
    retention = Retention(store, timedelta(days=30), every_s=0.01, now=lambda: now)
    retention.start()
    now += timedelta(seconds=30)
    wait_until(lambda: store.count() == 2)
    now += timedelta(hours=1)
    wait_until(lambda: store.count() == 1)
    retention.stop()


class Flaky(SqliteStore):
    """Refuses one round."""

    is_broken = True

    def remove_before(self, moment: datetime, *, bodies_only: bool = False) -> Iterator[int]:
        if self.is_broken:
            self.is_broken = False
            raise StoreError("locked")
        return super().remove_before(moment, bodies_only=bodies_only)


def test_a_round_that_fails_is_said_and_tried_again(
    tmp_path: Path, wait_until: WaitUntil, caplog: pytest.LogCaptureFixture
) -> None:
    """The thread lives on."""
    flaky = Flaky(tmp_path / "flaky.db")
    flaky.append([a_record(0)])
    with caplog.at_level(logging.ERROR, "heliconnect"):
        retention = Retention(flaky, timedelta(days=1), every_s=0.01, now=lambda: NOON + timedelta(days=2))
        retention.start()
        wait_until(lambda: flaky.count() == 0)
        retention.stop()
    flaky.close()
    assert ["locked" in record.message for record in caplog.records] == [True]


def test_stopping_ends_a_removal_between_two_steps(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is removed by then is removed rightly."""
    monkeypatch.setattr(pruning_module, "_STEP", 2)
    store.append([a_record(n) for n in range(6)])
    assert prune(store, NOON + timedelta(hours=1), pause=lambda _: store.count() == 2) == 4
    assert store.sessions()[0].requests == 2


def test_a_server_keeps_records_as_long_as_it_was_told(tmp_path: Path, wait_until: WaitUntil) -> None:
    """`keep` reaches the control plane: what is older is gone soon after the start, the rest stays."""
    store = open_store(tmp_path / "heliconnect.db")
    now = datetime.now(UTC)
    days = {0: 300, 1: 8, 2: 6}
    store.append([a_record(n, timing=Timing(now - timedelta(days=ago), 1.0)) for n, ago in days.items()])
    store.close()
    with running(ServerOptions(tmp_path, port=0, keep=timedelta(days=7))) as server:

        def ids() -> list[str]:
            data = httpx.post(f"{server.url}/v1/request/query-clickhouse", json={}).json()["data"]
            return [row["request_id"] for row in data]

        wait_until(lambda: ids() == [a_record(2).request_id])
