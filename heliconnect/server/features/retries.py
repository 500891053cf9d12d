"""When a call is tried again, and after how long. Pure.

Source: worker/src/lib/clients/ProviderClient.ts of Helicone/helicone, async-retry 1.3.3.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["RetryWish", "is_retried"]


@dataclass(frozen=True, slots=True)
class RetryWish:
    """attempts counts the first one. The pause before the n-th retry grows by factor, from min_ms to max_ms at most."""

    attempts: int = 5
    factor: float = 2.0
    min_ms: float = 1_000.0
    max_ms: float = 10_000.0

    def delay_s(self, retry: int, chance: float, retry_after_s: float | None = None) -> float:
        """Seconds before the retry of this number, 1 for the first.

        chance is from 0 to 1 and stretches the pause to up to twice its length. What the provider asked for is waited
        for too, within max_ms.
        """
        pause_ms = (1 + chance) * max(self.min_ms, 1.0) * self.factor ** (retry - 1)
        asked_ms = (retry_after_s or 0.0) * 1000
        return min(max(pause_ms, asked_ms), max(self.max_ms, 0.0)) / 1000


def is_retried(status: int) -> bool:
    """Whether an answer of this status is worth another attempt."""
    return status == 429 or 500 <= status <= 599
