"""Prices of one's own: which row a call takes, what it costs, and what is not known."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

from heliconnect.errors import SettingsError
from heliconnect.exchange import Usage
from heliconnect.price_list import PriceList
from heliconnect.server.supervisor import ServerOptions, running
from heliconnect.testing import Provider
from tests.conftest import Running

ROWS = """
[[price]]
model = "house-model*"
provider = "openai"
until = 2026-06-30
input = 1
output = 2.50
cache_read = 0.1

[[price]]
model = "house-model*"
input = 10
output = 20
"""
MAY, JULY = (datetime(2026, month, 1, tzinfo=UTC) for month in (5, 7))


@pytest.fixture
def prices(tmp_path: Path) -> PriceList:
    path = tmp_path / "prices.toml"
    path.write_text(ROWS)
    return PriceList.from_file(path)


@pytest.mark.parametrize(
    ("usage", "provider", "on", "total"),
    [
        pytest.param(Usage(input_tokens=1_000_000, output_tokens=200_000), "openai", MAY, "1.5", id="first-row"),
        pytest.param(Usage(input_tokens=1_000_000, output_tokens=200_000), "openai", JULY, "14", id="its-time-is-over"),
        pytest.param(Usage(input_tokens=1_000_000, output_tokens=200_000), "groq", MAY, "14", id="other-provider"),
        pytest.param(
            Usage(input_tokens=0, cache_read_tokens=10, output_tokens=0), "openai", MAY, "0.000001", id="cache"
        ),
        pytest.param(
            Usage(input_tokens=0, output_tokens=0, reasoning_tokens=4), "openai", MAY, "0.00001", id="thought"
        ),
        pytest.param(Usage(input_tokens=1, cache_write_tokens=1), "openai", MAY, None, id="a-part-without-a-rate"),
        pytest.param(Usage(), "openai", MAY, None, id="nothing-reported"),
        pytest.param(None, "openai", MAY, None, id="no-usage"),
    ],
)
def test_what_a_call_costs(
    prices: PriceList, usage: Usage | None, provider: str, on: datetime, total: str | None
) -> None:
    """The first row that fits; unknown stays unknown."""
    cost = prices.price(usage, "House-Model-2", provider, on)
    assert (None if cost is None else cost.total_usd) == (None if total is None else Decimal(total))
    assert prices.knows("house-model-2", provider, on)
    assert not prices.knows("gpt-4o", provider, on)


def test_a_servers_records_have_these_prices(tmp_path: Path, provider: Provider) -> None:
    """Before those of the public list, which other models keep."""
    path = tmp_path / "mine.toml"
    path.write_text('[[price]]\nmodel = "gpt-4o"\ninput = 1000000\noutput = 0\n')
    options = ServerOptions(tmp_path / "data", port=0, upstreams={"openai": provider.url}, prices=path)
    with running(options) as server:
        for model in ("gpt-4o", "gpt-4o-mini"):
            body = {"model": model, "messages": [{"role": "user", "content": "hi"}], "user": "priced"}
            httpx.post(f"{server.url}/oai/v1/chat/completions", json=body)
        mine, theirs = Running(server, provider).records("priced", 2)
    assert (mine["costUSD"], mine["cost_source"]) == (mine["prompt_tokens"], "mine.toml")
    assert 0 < theirs["costUSD"] < 0.01
    assert theirs["cost_source"].startswith("genai-prices")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("[[price]]\nmodel = 'a'\ninput = '1'", "input must be US dollars", id="text"),
        pytest.param("[[price]]\nmodel = 'a'\ninput = -1", "input must be US dollars", id="negative"),
        pytest.param("[[price]]\nmodel = 'a'\ninput = nan", "input must be US dollars", id="nan"),
        pytest.param("[[price]]\nmodel = 'a'", "at least one of", id="no-rate"),
        pytest.param("[[price]]\ninput = 1", "model must be a name", id="no-model"),
        pytest.param("[[price]]\nmodel = 'a'\nsince = '2026'\ninput = 1", "must be days", id="day"),
        pytest.param("[[price]]\nmodel = 'a'\nprompt = 1", "expected cache_read", id="name"),
        pytest.param("[price]\nmodel = 'a'", "must be [[price]] tables", id="table"),
        pytest.param("[[", "cannot be read", id="no-toml"),
    ],
)
def test_prices_that_are_wrong_are_explained(tmp_path: Path, text: str, words: str) -> None:
    """Before anything is served."""
    path = tmp_path / "prices.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        PriceList.from_file(path)
    assert words in str(caught.value)
