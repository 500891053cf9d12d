"""Prices of one's own: for models that no public list knows, or with rates that were negotiated.

A file in TOML, `heliconnect up --prices prices.toml`; the first row that fits a call is its price:

    [[price]]
    model = "llama-3.3-70b*"            # * stands for anything
    provider = "openai"                 # optional: whose API it is called by
    since = 2026-01-01                  # optional, and until: the days on which it holds, both included
    input = 0.60                        # US dollars for a million tokens
    output = 2.40
    cache_read = 0.06                   # also cache_write, cache_write_1h, input_audio, output_audio

A call that used a part without a price here has no known price: it is not charged at another part's rate. Reasoning is
priced as output.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from heliconnect.errors import SettingsError
from heliconnect.exchange import Cost, Usage

__all__ = ["PriceList"]

_MILLION = Decimal(1_000_000)
# A part of usage, and the rate that prices it.
_INPUT = (
    ("input_tokens", "input"),
    ("cache_read_tokens", "cache_read"),
    ("cache_write_tokens", "cache_write"),
    ("cache_write_1h_tokens", "cache_write_1h"),
    ("input_audio_tokens", "input_audio"),
)
_OUTPUT = (("output_tokens", "output"), ("reasoning_tokens", "output"), ("output_audio_tokens", "output_audio"))
_RATES = frozenset(rate for _, rate in (*_INPUT, *_OUTPUT))
_OTHERS = frozenset({"model", "provider", "since", "until"})


@dataclass(frozen=True, slots=True)
class _Row:
    model: str
    provider: str | None
    since: date
    until: date
    rates: Mapping[str, Decimal]

    def fits(self, model: str, provider: str | None, day: date) -> bool:
        is_providers = self.provider is None or self.provider == provider
        return is_providers and self.since <= day <= self.until and fnmatchcase(model.lower(), self.model)


class PriceList:
    """The rows of one file, in its order."""

    def __init__(self, rows: Iterable[_Row], name: str) -> None:
        self._rows = tuple(rows)
        self._name = name

    @classmethod
    def from_file(cls, path: Path) -> PriceList:
        """Raises SettingsError, saying which row is wrong."""
        try:
            told = tomllib.loads(path.read_text(), parse_float=Decimal)
        except (OSError, ValueError) as error:
            raise SettingsError(f"the prices in {path} cannot be read: {error}") from error
        rows = told.get("price")
        if not isinstance(rows, list) or told.keys() != {"price"}:
            raise SettingsError(f"the prices in {path} must be [[price]] tables, and nothing else")
        return cls([_row(number, row) for number, row in enumerate(rows, 1)], path.name)

    def knows(self, model: str, provider: str | None, on: datetime) -> bool:
        """Whether a row fits: then this list alone says what the call has cost, or that it is not known."""
        return any(row.fits(model, provider, on.date()) for row in self._rows)

    def price(self, usage: Usage | None, model: str, provider: str | None, on: datetime) -> Cost | None:
        """What `usage` has cost in US dollars; None when no row fits or a part that was used has no rate."""
        row = next((row for row in self._rows if row.fits(model, provider, on.date())), None)
        if row is None or usage is None or usage.total is None:
            return None
        spent = _sum(usage, row, _INPUT), _sum(usage, row, _OUTPUT)
        if spent[0] is None or spent[1] is None:
            return None
        return Cost(spent[0] + spent[1], spent[0], spent[1], source=self._name, priced_on=on.date())


def _sum(usage: Usage, row: _Row, parts: Iterable[tuple[str, str]]) -> Decimal | None:
    total = Decimal(0)
    for part, name in parts:
        count = getattr(usage, part)
        if not count:
            continue
        rate = row.rates.get(name)
        if rate is None:
            return None
        total += count * rate / _MILLION
    return total


def _row(number: int, given: Any) -> _Row:
    if not isinstance(given, Mapping) or not given.keys() <= _RATES | _OTHERS:
        raise SettingsError(f"price {number}: expected {', '.join(sorted(_RATES | _OTHERS))}, got {given!r}")
    model, provider = given.get("model"), given.get("provider")
    if not isinstance(model, str) or not model or not isinstance(provider, str | None):
        raise SettingsError(f"price {number}: model must be a name, and provider one or absent")
    days = given.get("since", date.min), given.get("until", date.max)
    if not all(type(day) is date for day in days):
        raise SettingsError(f"price {number}: since and until must be days such as 2026-01-31, without quotes")
    rates = {name: _rate(number, name, given[name]) for name in _RATES & given.keys()}
    if not rates:
        raise SettingsError(f"price {number}: expected at least one of {', '.join(sorted(_RATES))}")
    return _Row(model.lower(), provider, days[0], days[1], rates)


def _rate(number: int, name: str, given: Any) -> Decimal:
    try:
        rate = Decimal(given) if isinstance(given, int | Decimal) and not isinstance(given, bool) else Decimal("NaN")
    except InvalidOperation:
        rate = Decimal("NaN")
    if not rate.is_finite() or rate < 0:
        raise SettingsError(f"price {number}: {name} must be US dollars for a million tokens, got {given!r}")
    return rate
