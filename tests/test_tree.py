"""A session's requests as a tree: what hangs under what, and where the bars are."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliconnect.server.dashboard.tree import MAX_DEPTH, Row, Step, grow, segments

START = datetime(2026, 3, 14, tzinfo=UTC)


def step(name: str, path: str | None, at_ms: float, latency_ms: float | None = 100.0, **facts: float) -> Step:
    cost = facts.get("cost")
    return Step(
        name,
        path,
        START + timedelta(milliseconds=at_ms),
        latency_ms,
        facts.get("first"),
        None if cost is None else Decimal(str(cost)),
    )


def outline(steps: list[Step]) -> list[str]:
    """Each row as its indentation, its name, and its request; folders end in a slash."""
    return [f"{'  ' * row.depth}{row.name}{f' {row.request_id}' if row.request_id else '/'}" for row in grow(steps)]


@pytest.mark.parametrize(
    ("steps", "rows"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([step("a", None, 0), step("b", "/", 1), step("c", "", 2)], ["/ a", "/ b", "/ c"], id="no-path"),
        pytest.param(
            [step("a", "/plan", 0), step("b", "/plan/search", 1), step("c", "/plan/search/rank", 2)],
            ["plan a", "  search b", "    rank c"],
            id="steps-hang-under-steps",
        ),
        pytest.param(
            [step("a", "/plan", 0), step("b", "/plan/go", 1), step("c", "/plan", 2), step("d", "/plan/go", 3)],
            ["plan a", "  go b", "plan c", "  go d"],
            id="a-second-round-begins-anew",
        ),
        pytest.param(
            [step("b", "/tools/weather", 1), step("c", "/tools/weather", 2)],
            ["tools/", "  weather b", "  weather c"],
            id="a-folder-stands-in-for-a-missing-step",
        ),
        pytest.param(
            [step("b", "/plan/search", 1), step("a", "/plan", 2), step("c", "/plan/rank", 3)],
            ["plan/", "  search b", "  plan a", "  rank c"],
            id="a-parent-that-comes-later-joins-its-folder",
        ),
        pytest.param([step("late", "/b", 9), step("early", "/a", 1)], ["a early", "b late"], id="ordered-by-start"),
        pytest.param([step("x", "b//c/", 0)], ["b/", "  c x"], id="untidy-path"),
    ],
)
def test_steps_find_their_place(steps: list[Step], rows: list[str]) -> None:
    """Under the latest earlier step of the parent path, else in a folder; in the order of their start."""
    assert outline(steps) == rows


def test_bars_are_shares_of_the_whole_session() -> None:
    """Waiting and generation add up to the request; a folder spans what is inside and sums what is known."""
    steps = [
        step("a", "/x/y", 0, 400.0, first=100.0, cost=0.5),
        step("b", "/x/z", 500, 500.0),
        step("c", "/w", 900, 100.0, first=300.0, cost=0.25),
    ]
    assert grow(steps) == [
        Row(0, "x", "/x", None, 0.0, 1.0, 0.0, 1000.0, Decimal("0.5"), 2),
        Row(1, "y", "/x/y", "a", 0.0, 0.1, 0.3, 400.0, Decimal("0.5"), 1),
        Row(1, "z", "/x/z", "b", 0.5, 0.5, 0.0, 500.0, None, 1),
        Row(0, "w", "/w", "c", 0.9, 0.1, 0.0, 100.0, Decimal("0.25"), 1),
    ]


def test_an_unknown_duration_stays_unknown() -> None:
    """A request that has not told how long it took has no bar and no number."""
    (row,) = grow([step("a", "/x", 0, None)])
    assert (row.duration_ms, row.wait, row.generation, row.cost_usd) == (None, 0.0, 0.0, None)


def test_a_bottomless_path_is_cut() -> None:
    """What lies below the deepest level is one name."""
    assert len(segments("/".join("abcdefghijklmnopqrstuvwxyz"))) == MAX_DEPTH
    assert max(row.depth for row in grow([step("a", "/x" * 500, 0)])) == MAX_DEPTH - 1


PATHS = st.one_of(st.none(), st.text("/ab", max_size=8))


@given(st.lists(st.tuples(PATHS, st.integers(0, 50), st.one_of(st.none(), st.integers(0, 50))), max_size=30))
def test_every_request_is_in_the_tree_once(drawn: list[tuple[str | None, int, int | None]]) -> None:
    """Whatever the paths: nothing is lost or doubled, no level is skipped, and every bar is inside."""
    steps = [step(str(at), path, start, latency) for at, (path, start, latency) in enumerate(drawn)]
    rows = grow(steps)
    assert sorted(row.request_id for row in rows if row.request_id) == sorted(one.request_id for one in steps)
    assert all(row.start >= 0 and row.start + row.wait + row.generation <= 1 + 1e-9 for row in rows)
    assert all(b.depth <= a.depth + 1 for a, b in itertools.pairwise(rows))
    assert rows == [] or rows[0].depth == 0
