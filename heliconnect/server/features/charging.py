"""What calls have cost, taken from the rate limits that count cents, once their records are stored."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from heliconnect.exchange import Exchange
from heliconnect.server.features.limits import Buckets, bucket_key, parse_policy

__all__ = ["Charges"]

_POLICY = "helicone-ratelimit-policy"


class Charges:
    """Charges to the buckets of `path`, which the data plane takes from. No method raises."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @cached_property
    def _buckets(self) -> Buckets:
        return Buckets(self._path, time.time)

    def charge(self, exchanges: Sequence[Exchange]) -> None:
        """Take the cost of each call whose policy counts cents; what is unknown costs nothing."""
        for exchange in exchanges:
            text = next((value for name, value in exchange.request_headers if name == _POLICY), None)
            policy = None if text is None else parse_policy(text)
            if policy is None or policy.unit != "cents" or exchange.cost is None or not exchange.cost.total_usd:
                continue
            key = bucket_key(policy, exchange.key_hash or "-", exchange.user_id, exchange.properties)
            if key is not None:
                self._buckets.charge(key, policy, exchange.cost.total_usd)
