"""Records taken over the running server's API."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from starlette.testclient import TestClient

import heliconnect as hc
from heliconnect.server.control import create_app
from heliconnect.server.rest.importing import Imported, Problem, take
from heliconnect.server.rest.rows import request_row
from heliconnect.store import Store, open_store
from heliconnect.store.sqlite import SqliteStore
from tests.records import a_record
from tests.test_rest import FINE


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = open_store(tmp_path / "records.db")
    yield made
    made.close()


def line(number: int) -> bytes:
    return orjson.dumps(request_row(a_record(number)))


def test_lines_are_taken_once(store: Store) -> None:
    """A bad line is named by its number, the others are kept; the same again changes nothing."""
    lines = [(1, line(1)), (3, b"{"), (4, line(2)), (9, line(1))]
    found = take(store, lines)
    assert (found.new, found.known, [problem.line for problem in found.problems]) == (2, 1, [3])
    again = take(store, lines)
    assert (again.new, again.known) == (0, 3)
    assert store.count() == 2


def test_a_line_of_several_records_is_taken(store: Store) -> None:
    """An answer of the API as it stands; the one that is bad is named by its place."""
    answer = b'{"data": [' + b", ".join([line(1), b"{}", line(2)]) + b'], "error": null}'
    found = take(store, [(7, answer)])
    assert (found.new, len(found.problems), found.problems[0].line) == (2, 1, 7)
    assert found.problems[0].reason.startswith("record 2: request_created_at")


def test_a_record_the_store_refuses_holds_up_no_other(store: Store) -> None:
    """It is named as the other bad lines are."""
    huge = orjson.dumps({**request_row(a_record(2)), "prompt_tokens": "1" + "0" * 30})
    problem = Problem(2, "the store cannot hold one of its values")
    assert take(store, [(1, line(1)), (2, huge), (3, line(3))]) == Imported(2, 0, (problem,))


def test_trouble_of_the_store_is_no_fault_of_the_lines(tmp_path: Path) -> None:
    """It is raised, so that the sender may try again."""
    open_store(tmp_path / "records.db").close()
    reader = SqliteStore(tmp_path / "records.db", read_only=True)
    reader.would_take = lambda _: True  # type: ignore[method-assign]  # as if the record were fine
    with pytest.raises(hc.StoreError, match="reading only"):
        take(reader, [(1, line(1))])
    reader.close()


def test_the_api_takes_lines(store: Store) -> None:
    """Numbered from 1, empty ones left out; the envelope says what became of them."""
    body = b"\n".join([line(1), b"", b"nonsense", line(2)])
    with TestClient(create_app(store, lambda: FINE, []), base_url="http://127.0.0.1") as client:
        data = client.post("/v1/request/import", content=body).json()["data"]
    assert (data["new"], data["known"], [problem["line"] for problem in data["problems"]]) == (2, 0, [3])
    assert {row.exchange.request_id for row in store.page()} == {a_record(n).request_id for n in (1, 2)}


def test_ratings_come_with_their_records(store: Store) -> None:
    """A rating said here afterwards is not put back by the same lines again."""
    rated = orjson.dumps(request_row(replace(a_record(1), feedback=True, scores={"grounded": 0.5})))
    take(store, [(1, rated)])
    row = store.get(a_record(1).request_id)
    assert row is not None
    assert (row.exchange.feedback, row.exchange.scores) == (True, {"grounded": 0.5})
