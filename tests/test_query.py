"""The filters of the requests page, from the URL and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliconnect.server.dashboard.query import RANGES, Query
from heliconnect.store.filters import All, Any, Leaf

NOW = datetime(2026, 3, 14, 12, 0, tzinfo=UTC)


def read(text: str) -> Query:
    return Query.read(parse_qsl(text, keep_blank_values=True))


@pytest.mark.parametrize(
    ("text", "query"),
    [
        pytest.param("", Query(), id="nothing"),
        pytest.param("q=&model=&property=", Query(), id="empty-fields-of-the-form"),
        pytest.param("q=+hello+&model=gpt-4o", Query(text="hello", model="gpt-4o"), id="text-and-model"),
        pytest.param("status=errors", Query(status="errors"), id="errors"),
        pytest.param("status=-3", Query(status="-3"), id="cancelled"),
        pytest.param("status=teapot", Query(), id="no-status"),
        pytest.param("status=%C2%B2", Query(), id="a-digit-that-is-no-number"),
        pytest.param(
            "property=tier%3Dpro&property=a%3Db%3Dc", Query(properties=(("tier", "pro"), ("a", "b=c"))), id="properties"
        ),
        pytest.param("property=tier%3D", Query(properties=(("tier", ""),)), id="an-empty-value"),
        pytest.param("property=tier&property=%3Dx", Query(), id="no-property"),
        pytest.param("range=24h", Query(range="24h"), id="range"),
        pytest.param("range=99y&since=yesterday", Query(), id="no-time"),
        pytest.param("since=2026-03-01", Query(since=datetime(2026, 3, 1, tzinfo=UTC)), id="a-day-is-utc"),
        pytest.param("since=0001-01-01T00:00%2B14:00", Query(), id="before-all-time"),
        pytest.param("after=3&tab=json", Query(), id="not-a-filter"),
    ],
)
def test_what_cannot_be_read_is_ignored(text: str, query: Query) -> None:
    """A link from anywhere never breaks the page."""
    assert read(text) == query


texts = st.one_of(
    st.none(),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=9)
    .map(str.strip)
    .filter(bool),
)
names = st.text("abc é&", min_size=1, max_size=5).map(str.strip).filter(bool)
values = st.text("abc =&%é", max_size=5).map(str.strip)


@given(
    st.builds(
        Query,
        text=texts,
        model=texts,
        status=st.sampled_from([None, "ok", "errors", "429", "-1"]),
        user=texts,
        session=texts,
        properties=st.lists(st.tuples(names, values), max_size=3, unique=True).map(tuple),
        range=st.sampled_from([None, *RANGES]),
        since=st.one_of(st.none(), st.datetimes(datetime(1980, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))),
    )
)
def test_a_view_is_its_url(query: Query) -> None:
    """Reading the link of a view gives that view; taking away every chip leaves none."""
    assert read(query.encoded()) == query
    rest = query
    for _ in query.chips():
        rest = rest.chips()[0].without
    assert rest == Query()


def test_all_filters_hold_at_once() -> None:
    """Every choice becomes one condition; text is looked for in previews and ids."""
    query = read("q=hi&model=m&status=429&user=u&session=s&property=Tier%3Dpro&range=1h&until=2026-03-14T11:59:00Z")
    assert query.where(NOW) == All(
        (
            Leaf("model", "equals", "m"),
            Leaf("user_id", "equals", "u"),
            Leaf("session_id", "equals", "s"),
            Any((Leaf("text", "contains", "hi"), Leaf("request_id", "contains", "hi"))),
            Leaf("status", "equals", 429),
            Leaf("property", "equals", "pro", "Tier"),
            Leaf("started_at", "gte", (NOW - timedelta(hours=1)).isoformat()),
            Leaf("started_at", "lte", "2026-03-14T11:59:00+00:00"),
        )
    )
    assert Query().where(NOW) is None
