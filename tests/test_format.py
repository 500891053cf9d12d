"""Numbers, money, durations and times as the pages show them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from heliconnect.exchange import End, Exchange, Timing
from heliconnect.server.dashboard import format as form
from heliconnect.store.rollups import is_error


@pytest.mark.parametrize(
    ("usd", "shown"),
    [
        pytest.param(None, "\u2013", id="unknown"),
        pytest.param(Decimal(0), "$0", id="free"),
        pytest.param(Decimal("8.7149"), "$8.71", id="dollars"),
        pytest.param(Decimal("12345.6"), "$12,345.60", id="thousands"),
        pytest.param(Decimal("0.0102"), "$0.0102", id="cents"),
        pytest.param(Decimal("0.001"), "$0.0010", id="a-tenth-of-a-cent"),
        pytest.param(Decimal("0.00042"), "$0.00042", id="less"),
        pytest.param(Decimal("0.0001"), "$0.00010", id="two-digits-always"),
        pytest.param(Decimal("0.0000261"), "$0.000026", id="tiny"),
        pytest.param(Decimal("0.000000001"), "<$0.0000001", id="next-to-nothing"),
        pytest.param(Decimal("-0.5"), "-$0.5000", id="credit"),
    ],
)
def test_money_keeps_the_digits_that_matter(usd: Decimal | None, shown: str) -> None:
    """Large sums have cents, small ones two digits that say something, and an unknown cost is no zero."""
    assert form.cost(usd) == shown


@pytest.mark.parametrize(
    ("ms", "shown"),
    [
        pytest.param(None, "\u2013", id="unknown"),
        pytest.param(0.2, "0 ms", id="nothing"),
        pytest.param(132.4, "132 ms", id="ms"),
        pytest.param(999.6, "1.00 s", id="rounds-to-a-second"),
        pytest.param(1330.0, "1.33 s", id="s"),
        pytest.param(41_200.0, "41.2 s", id="tens"),
        pytest.param(59_990.0, "1m 00s", id="rounds-to-a-minute"),
        pytest.param(125_000.0, "2m 05s", id="minutes"),
        pytest.param(3 * 3_600_000.0 + 420_000, "3h 07m", id="hours"),
        pytest.param(75 * 3_600_000.0, "3d 03h", id="days"),
    ],
)
def test_durations_are_short(ms: float | None, shown: str) -> None:
    """Two units at most, and never sixty of the smaller one."""
    assert form.duration(ms) == shown


@pytest.mark.parametrize(
    ("given", "made", "shown"),
    [
        pytest.param(1229, 246, "1,229 → 246", id="both"),
        pytest.param(19, None, "19 → \u2013", id="output-unknown"),
        pytest.param(None, None, "\u2013", id="unknown"),
        pytest.param(3, 0, "3 → 0", id="a-known-zero"),
    ],
)
def test_unknown_tokens_are_not_zero(given: int | None, made: int | None, shown: str) -> None:
    """A dash stands for what the provider did not say."""
    assert form.tokens(given, made) == shown


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        pytest.param(512, "512 B", id="bytes"),
        pytest.param(1100, "1.1 kB", id="small"),
        pytest.param(38_400, "38 kB", id="kilo"),
        pytest.param(999_900, "1.0 MB", id="rounds-to-mega"),
        pytest.param(9_000_000, "9.0 MB", id="mega"),
    ],
)
def test_sizes_have_a_unit(number: int, shown: str) -> None:
    """Bytes, kilobytes, megabytes."""
    assert form.size(number) == shown


def test_speed_is_shown_only_where_it_means_something() -> None:
    """Neither without tokens nor for a generation that took no time."""
    assert form.speed(246, 1000.0) == "246 tok/s"
    assert form.speed(None, 1000.0) is None
    assert form.speed(10, None) is None
    assert form.speed(10, 3.0) is None


def test_times_are_shown_in_utc() -> None:
    """Whatever zone a moment comes in; the page's script turns it into the reader's own."""
    moment = datetime(2026, 11, 24, 3, 5, 21, 120_000, tzinfo=timezone(timedelta(hours=2)))
    assert form.instant(moment) == "2026-11-24 01:05:21"
    assert form.iso(moment) == "2026-11-24T01:05:21.120Z"
    assert form.instant(None) == form.UNKNOWN


@pytest.mark.parametrize(
    ("status", "end", "tone", "label"),
    [
        pytest.param(200, End.DONE, "ok", "200", id="ok"),
        pytest.param(304, End.DONE, "ok", "304", id="not-modified"),
        pytest.param(429, End.DONE, "bad", "429", id="refused"),
        pytest.param(200, End.CUT, "bad", "200", id="cut"),
        pytest.param(-1, End.TIMEOUT, "bad", "timeout", id="timeout"),
        pytest.param(-3, End.CANCELLED, "warn", "cancel", id="cancelled"),
        pytest.param(None, End.UNREACHABLE, "bad", "none", id="unreachable"),
        pytest.param(None, End.DONE, "bad", "none", id="no-status"),
    ],
)
def test_a_call_is_red_exactly_when_the_store_counts_it_as_an_error(
    status: int | None, end: End, tone: str, label: str
) -> None:
    """One idea of what an error is, on the page and in the sums."""
    exchange = Exchange("r", Timing(datetime(2026, 1, 1, tzinfo=UTC), 1.0), "POST", "https://x", status, end)
    assert (form.outcome(status, end), form.status_label(status)) == (tone, label)
    assert is_error(exchange) == (tone == "bad")
    assert (form.end_explained(end) is None) == (end is End.DONE)


def test_a_model_has_one_colour_and_its_family_the_same() -> None:
    """Versions and vendors' prefixes do not change it; no name is grey."""
    assert form.colour("gpt-4o") == form.colour("openai/gpt-4o-mini-2024-07-18") == 3
    assert form.colour("claude-sonnet-4-5") == 4
    assert form.colour(None) == form.colour("") == 0
    assert 1 <= form.colour("my-own-model") <= 5
