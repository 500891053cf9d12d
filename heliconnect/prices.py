"""Usage and a model's name -> what it cost, or None: a guess would be a lie.

Prices come from genai-prices, which is maintained and dated, each with a link to the provider's page. Here it is only
asked with the provider known, so that no other provider's price for a model of that name is taken.
"""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache

from heliconnect.errors import MissingExtraError
from heliconnect.exchange import Cost, Usage

try:
    import genai_prices
    from genai_prices.data_snapshot import get_snapshot
    from genai_prices.types import ModelInfo, ModelPrice
    from genai_prices.types import Provider as PricedProvider
except ImportError as exc:
    raise MissingExtraError("heliconnect.prices", "server") from exc

__all__ = ["price"]

# Our name of a provider -> its id in genai-prices, where they differ.
_IDS = {"xai": "x-ai", "bedrock": "aws", "vertex": "google"}
_SOURCE = f"genai-prices {genai_prices.__version__}"
# A part of usage -> the price it needs; a part without its own price would be charged at another part's rate.
_NEEDED = (
    ("cache_read_tokens", "cache_read_mtok"),
    ("cache_write_tokens", "cache_write_mtok"),
    ("cache_write_1h_tokens", "cache_write_1h_mtok"),
    ("input_audio_tokens", "input_audio_mtok"),
    ("output_audio_tokens", "output_audio_mtok"),
)


def price(usage: Usage | None, model: str | None, provider: str | None, on: datetime) -> Cost | None:
    """Price `usage` in US dollars, with the rates valid at `on`.

    None when usage, provider or model is unknown, or a unit that was used has no known price.
    Source: https://github.com/pydantic/genai-prices, a link per model.
    """
    if usage is None or usage.total is None or not model or not provider:
        return None
    found = _find(model, _IDS.get(provider, provider))
    if found is None:
        return None
    info, priced_by = found
    try:
        calculated = info.calc_price(_priced(usage), priced_by, genai_request_timestamp=on)
    except (ValueError, LookupError):
        return None
    if not _covers(calculated.model_price, usage):
        return None
    return Cost(
        total_usd=calculated.total_price,
        input_usd=calculated.input_price,
        output_usd=calculated.output_price,
        source=_SOURCE,
        priced_on=on.date(),
    )


def _covers(prices: ModelPrice, usage: Usage) -> bool:
    """Whether every part of `usage` that was used has a price of its own."""
    if usage.total_input and getattr(prices, "input_mtok", None) is None:
        return False
    if usage.total_output and getattr(prices, "output_mtok", None) is None:
        return False
    return all(getattr(prices, key, None) is not None for part, key in _NEEDED if getattr(usage, part))


def _priced(usage: Usage) -> genai_prices.Usage:
    """`usage` as genai-prices counts: totals first, the parts within them."""
    return genai_prices.Usage(
        input_tokens=usage.total_input,
        cache_read_tokens=usage.cache_read_tokens or None,
        cache_write_tokens=(usage.cache_write_tokens or 0) + (usage.cache_write_1h_tokens or 0) or None,
        cache_write_1h_tokens=usage.cache_write_1h_tokens or None,
        input_audio_tokens=usage.input_audio_tokens or None,
        output_tokens=usage.total_output,
        output_audio_tokens=usage.output_audio_tokens or None,
    )


@lru_cache(maxsize=2048)
def _find(model: str, provider: str) -> tuple[ModelInfo, PricedProvider] | None:
    try:
        priced_by, info = get_snapshot().find_provider_model(model, None, provider, None)
    except LookupError:
        return None
    return info, priced_by
