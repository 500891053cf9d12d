"""Measures: questions that make no sense are explained, spans hold each moment once, sums agree with what they sum."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heliconnect.server.rest.filters import read_user_filter
from heliconnect.store import Store, measures, open_store
from heliconnect.store.filters import All, Filter, FilterError, Leaf
from heliconnect.store.filters import Any as AnyOf
from heliconnect.store.grid import INCREMENTS, Grid
from heliconnect.store.histogram import Bin
from heliconnect.store.measures import KEYS, MEASURES, Group, Question
from heliconnect.store.session_measures import SessionChoice
from heliconnect.store.tables import micros
from tests.records import NOON, a_record
from tests.test_store import five_records

DAYS = Grid.over(NOON, NOON, "day")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = open_store(tmp_path / "records.db")
    made.append(five_records())
    yield made
    made.close()


NONSENSE: list[Any] = [
    pytest.param(Question(of=("beauty",)), "unknown measure 'beauty'", id="measure"),
    pytest.param(Question(of=(), by=("beauty",)), "unknown key 'beauty'", id="key"),
    pytest.param(Question(of=(), by=("time",)), "expected a grid", id="no-grid"),
    pytest.param(Question(of=(), sort="beauty"), "unknown sort 'beauty'", id="sort"),
    pytest.param(Question(of=(), having=Leaf("beauty", "gt", 1)), "unknown measure 'beauty'", id="having"),
    pytest.param(Question(of=(), having=Leaf("requests", "sounds", 1)), "unknown operator 'sounds'", id="operator"),
    pytest.param(Question(of=(), having=Leaf("first_at", "gt", "noon")), "ISO 8601", id="time"),
]


@pytest.mark.parametrize(("question", "words"), NONSENSE)
def test_a_question_that_makes_no_sense_is_explained(store: Store, question: Question, words: str) -> None:
    """The error lists what exists."""
    with pytest.raises(FilterError, match=words):
        store.measures.groups(question)


def test_values_that_do_not_exist_are_explained(store: Store) -> None:
    """Quantiles and histograms know a few values only."""
    with pytest.raises(FilterError, match="unknown metric 'beauty'"):
        store.measures.quantiles("beauty", None, DAYS)
    with pytest.raises(FilterError, match="unknown value 'beauty'"):
        store.measures.sessions.histogram("beauty", SessionChoice(), 0.5)


def test_a_grid_that_makes_no_sense_is_explained() -> None:
    """An increment that does not exist, a time zone that cannot be, too deep a filter of users."""
    with pytest.raises(FilterError, match="expected an increment of min, hour"):
        Grid.over(NOON, NOON, "moon")
    with pytest.raises(FilterError, match="1440 minutes"):
        Grid.over(NOON, NOON, "day", 2_000)
    node: Any = "all"
    for _ in range(50):
        node = {"left": {"users_view": {"user_cost": {"gt": 1}}}, "operator": "and", "right": node}
    with pytest.raises(FilterError, match="nested"):
        read_user_filter(node)


HAVINGS: list[Any] = [
    pytest.param(Leaf("requests", "gt", 1), ["gpt-4o-2024-08-06"], id="count"),
    pytest.param(Leaf("cost_usd", "gte", 0.5), ["claude"], id="dollars"),
    pytest.param(All((Leaf("requests", "gte", 1), Leaf("cost_usd", "lt", 0.5))), ["gpt-4o-2024-08-06"], id="and"),
    pytest.param(AnyOf((Leaf("requests", "gt", 9), Leaf("cost_usd", "is-unknown", True))), [None], id="or"),
    pytest.param(Leaf("last_at", "gte", "2026-03-01T12:00:04Z"), [None], id="time"),
]


@pytest.mark.parametrize(("having", "expected"), HAVINGS)
def test_groups_are_filtered_by_their_measures(store: Store, having: Filter, expected: list[str | None]) -> None:
    """Joined as filters of calls are."""
    found = store.measures.groups(Question(of=(), by=("model",), having=having))
    assert [group.by[0] for group in found] == expected


def test_every_measure_by_every_key(store: Store) -> None:
    """No name is without its column, and no group is lost or counted twice."""
    for key in KEYS:
        question = Question(of=MEASURES, by=(key,), property="tier", grid=DAYS, sort=key)
        found = store.measures.groups(question)
        assert sum(group.of["requests"] for group in found) == (4 if key == "property" else 5)
        assert store.measures.count(question) == len(found)


def test_more_groups_than_can_be_given_are_an_error(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never a part that looks like the whole; a limit of one's own is no error."""
    monkeypatch.setattr(measures, "MAX_GROUPS", 2)
    with pytest.raises(FilterError, match="more than 2 groups"):
        store.measures.groups(Question(of=(), by=("model",)))
    assert store.measures.groups(Question(of=(), by=("model",), limit=1)) == [
        Group(("gpt-4o-2024-08-06",), {"requests": 3})
    ]


def test_a_filter_by_a_property_does_not_touch_the_grouping_by_one(store: Store) -> None:
    """Both look into the same table, each at rows of its own."""
    for where in (Leaf("property", "like", "größe", "app"), Leaf("property", "equals", "größe", "app")):
        found = store.measures.groups(Question(of=(), by=("property",), property="Tier", where=where))
        assert [(group.by[0], group.of["requests"]) for group in found] == [("pro", 3)]


def test_quantiles_are_values_that_occur(store: Store) -> None:
    """The smallest that at least so many of a hundred do not exceed."""
    timed = [replace(a_record(n).timing, latency_ms=float(n)) for n in range(1, 101)]
    store.append([a_record(n, model="timed", timing=timing) for n, timing in enumerate(timed)])
    found = store.measures.quantiles("latency_ms", Leaf("model", "equals", "timed"), DAYS)
    assert found == {0: (75.0, 90.0, 95.0, 99.0)}


def test_a_histogram_has_ten_bins_of_one_width(tmp_path: Path) -> None:
    """What lies beyond the quantile is left out, on both sides where that is asked for."""
    store = open_store(tmp_path / "sessions.db")
    store.append([a_record(n, session_id=f"s{n}-{part}") for n in range(3) for part in range(n)])
    store.append([a_record(9, session_id=f"s{n}") for n in range(20) for _ in range(n + 1)])
    spread = store.measures.sessions.histogram("requests", SessionChoice(search="s"), 0.95)
    assert sum(one.count for one in spread.bins) == 22
    assert (spread.bins[0].start, spread.bins[-1].end, len(spread.bins)) == (1.0, 19.0, 10)
    assert all(one.end == pytest.approx(after.start) for one, after in pairwise(spread.bins))
    narrow = store.measures.sessions.histogram("requests", SessionChoice(), 0.5, is_two_sided=True)
    assert narrow.bins == (Bin(9.0, 9.0, 1),)
    store.close()


moments = st.datetimes(datetime(1990, 1, 1), datetime(2050, 1, 1), timezones=st.just(UTC))


@given(moments, st.timedeltas(timedelta(0), timedelta(days=15)), st.sampled_from(INCREMENTS), st.integers(-840, 840))
@settings(max_examples=200, deadline=None)
def test_a_grid_holds_each_moment_once(start: datetime, length: timedelta, increment: str, offset: int) -> None:
    """Its spans follow one another without a gap, begin at the reader's midnights, and none is beyond the end."""
    end = start + length
    grid = Grid.over(start, end, increment, offset)
    assert grid.edges_us == tuple(sorted(set(grid.edges_us)))
    assert grid.edges_us[0] <= micros(start) < grid.edges_us[1]
    assert grid.edges_us[-2] <= micros(end) < grid.edges_us[-1]
    clock = timezone(timedelta(minutes=-offset))
    first = grid.starts[0].astimezone(clock)
    assert (first.second, first.microsecond) == (0, 0)
    if increment not in {"min", "hour"}:
        assert (first.hour, first.minute) == (0, 0)
    if increment == "week":
        assert first.weekday() == 0
    if increment in {"month", "year"}:
        assert first.day == 1
    if increment == "year":
        assert first.month == 1


def test_months_and_years_are_counted_where_they_belong(store: Store) -> None:
    """At their first and last moment."""
    at = [datetime(2027, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC)]
    store.append([a_record(timing=replace(a_record().timing, started_at=one)) for one in at])
    for increment, first in (("month", datetime(2027, 12, 1, tzinfo=UTC)), ("year", datetime(2027, 1, 1, tzinfo=UTC))):
        grid = Grid.over(at[0], at[1], increment)
        assert grid.starts == [first, at[1]]
        found = store.measures.groups(Question(of=(), by=("time",), grid=grid, sort="time", descending=False))
        assert [(group.by[0], group.of["requests"]) for group in found] == [(0, 1), (1, 1)]
