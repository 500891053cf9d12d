"""Costs: right to the last digit, with their source, or unknown."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from heliconnect.exchange import Usage
from heliconnect.prices import price

DAY = datetime(2026, 3, 1, tzinfo=UTC)


def test_parts_are_priced_each_at_its_own_rate() -> None:
    """Sonnet 4.6: 3, 0.30, 3.75, 6 and 15 dollars per million tokens of each part."""
    usage = Usage(
        input_tokens=1_000,
        cache_read_tokens=10_000,
        cache_write_tokens=2_000,
        cache_write_1h_tokens=1_000,
        output_tokens=500,
    )
    cost = price(usage, "claude-sonnet-4-6", "anthropic", DAY)
    assert cost is not None
    assert cost.input_usd == Decimal("0.003") + Decimal("0.003") + Decimal("0.0075") + Decimal("0.006")
    assert cost.output_usd == Decimal("0.0075")
    assert cost.total_usd == cost.input_usd + cost.output_usd
    assert cost.source.startswith("genai-prices ")
    assert cost.priced_on == date(2026, 3, 1)


def test_reasoning_is_charged_as_output() -> None:
    """Thinking tokens cost what visible ones cost."""
    thought = price(Usage(input_tokens=1, output_tokens=10, reasoning_tokens=90), "gpt-5-mini", "openai", DAY)
    spoken = price(Usage(input_tokens=1, output_tokens=100), "gpt-5-mini", "openai", DAY)
    assert thought == spoken
    assert thought is not None


@pytest.mark.parametrize(
    ("usage", "model", "provider"),
    [
        pytest.param(Usage(input_tokens=1, output_tokens=1), "house-model-7b", "openai", id="unknown-model"),
        pytest.param(Usage(input_tokens=1, output_tokens=1), "gpt-4o", "mine", id="unknown-provider"),
        pytest.param(Usage(input_tokens=1, output_tokens=1), "gpt-4o", None, id="no-provider"),
        pytest.param(Usage(input_tokens=1, output_tokens=1), "gpt-4o", "anthropic", id="another-providers-model"),
        pytest.param(Usage(input_tokens=1), None, "openai", id="no-model"),
        pytest.param(Usage(), "gpt-4o", "openai", id="no-counts"),
        pytest.param(None, "gpt-4o", "openai", id="no-usage"),
        pytest.param(Usage(input_tokens=1, input_audio_tokens=5), "gpt-4o", "openai", id="part-without-a-price"),
    ],
)
def test_what_is_not_known_has_no_cost(usage: Usage | None, model: str | None, provider: str | None) -> None:
    """Unknown is None: never 0, never another model's price."""
    assert price(usage, model, provider, DAY) is None


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        pytest.param("gpt-4o-2024-08-06", "openai", id="dated"),
        pytest.param("ft:gpt-4o-mini-2024-07-18:org::x", "openai", id="fine-tuned"),
        pytest.param("gpt-4o-mini", "azure", id="azure"),
        pytest.param("gemini-2.5-flash", "vertex", id="vertex"),
        pytest.param("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "bedrock", id="bedrock-profile"),
        pytest.param("openai/gpt-4o", "openrouter", id="openrouter"),
        pytest.param("llama-3.3-70b-versatile", "groq", id="groq"),
        pytest.param("text-embedding-3-small", "openai", id="embedding"),
    ],
)
def test_the_names_providers_use_are_found(model: str, provider: str) -> None:
    """Dated, regional and tuned names have a price."""
    cost = price(Usage(input_tokens=1_000_000), model, provider, DAY)
    assert cost is not None
    assert cost.total_usd > 0
