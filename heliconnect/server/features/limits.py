"""Rate limits as token buckets: the policy's grammar, and buckets that all processes of one server share.

A bucket holds as many tokens as the policy allows in its window and fills evenly. A call takes one token; with cents
the cost is taken once it is known. Nothing here fails a call: a bucket that cannot be read lets it pass.
Source: worker/src/lib/rate-limit of Helicone/helicone.
"""

from __future__ import annotations

import logging
import math
import re
import sqlite3
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

__all__ = ["LIMITS", "Buckets", "Decision", "Policy", "bucket_key", "parse_policy"]

LIMITS = "limits.db"
"""The buckets' database in the data folder."""

_log = logging.getLogger("heliconnect")
_POLICY = re.compile(r"(\d+(?:\.\d+)?);w=(\d+)(?:;u=(request|cents))?(?:;s=([\w-]+))?", re.IGNORECASE | re.ASCII)
_UNSAFE = re.compile(r"[\x00-\x1f\x7f]")
_MAX_NAME = 256
_BUSY_S = 0.25


@dataclass(frozen=True, slots=True)
class Policy:
    """quota tokens in window_s seconds, of requests or cents; segment None: for all callers of one key together."""

    quota: float
    window_s: int
    unit: str = "request"
    segment: str | None = None

    @property
    def rate(self) -> float:
        """Tokens that come back in a second."""
        return self.quota / self.window_s

    def __str__(self) -> str:
        unit = "" if self.unit == "request" else f";u={self.unit}"
        segment = "" if self.segment is None else f";s={self.segment}"
        return f"{self.quota:g};w={self.window_s}{unit}{segment}"


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a call may go on; tokens is what the bucket holds after it, reset_s the time until it is full."""

    is_allowed: bool
    tokens: float
    reset_s: int

    def lines(self, policy: Policy) -> list[bytes]:
        """The header lines that tell the caller."""
        told = [
            f"helicone-ratelimit-limit: {policy.quota:g}",
            f"helicone-ratelimit-remaining: {max(0, math.floor(self.tokens))}",
            f"helicone-ratelimit-policy: {policy}",
        ]
        if self.reset_s > 0:
            told.append(f"helicone-ratelimit-reset: {self.reset_s}")
        return [line.encode() for line in told]


def parse_policy(text: str) -> Policy | None:
    """A `Helicone-RateLimit-Policy`, "1000;w=3600;u=cents;s=user"; None for what is none."""
    found = _POLICY.fullmatch(text.strip())
    if found is None:
        return None
    quota, window_s = float(found[1]), int(found[2])
    if quota <= 0 or not 60 <= window_s <= 31_536_000:
        return None
    segment = found[4].lower() if found[4] else None
    return Policy(quota, window_s, (found[3] or "request").lower(), segment)


def bucket_key(policy: Policy, caller: str, user_id: str | None, properties: Mapping[str, str]) -> str | None:
    """The bucket of a call; None when what it is divided by is absent, so that the call is not limited.

    caller names the Helicone key, as a hash; properties have lower-case names.
    """
    if policy.segment is None:
        part = "global"
    elif policy.segment == "user":
        if not user_id:
            return None
        part = f"user:{_safe(user_id)}"
    else:
        value = properties.get(policy.segment)
        if not value:
            return None
        part = f"prop:{policy.segment}:{_safe(value)}"
    return f"{caller}:{part}:{policy.unit}"


def _safe(text: str) -> str:
    return _UNSAFE.sub("", text.replace(":", "_"))[:_MAX_NAME]


class Buckets:
    """The buckets of one server, in a small database of their own. now gives seconds since 1970."""

    def __init__(self, path: Path, now: Callable[[], float]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        path.chmod(0o600)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=OFF")  # a bucket that is fuller after a crash does no harm
        self._db.execute("CREATE TABLE IF NOT EXISTS buckets (key TEXT PRIMARY KEY, tokens REAL, at_s REAL)")

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._db.close()

    def take(self, key: str, policy: Policy) -> Decision:
        """Let a call pass, or not. Takes one token for it, none where cents are counted: `charge` does that."""

        def change(tokens: float) -> float:
            return tokens - 1 if policy.unit == "request" and tokens >= 1 else tokens

        before, after = self._change(key, policy, change)
        is_allowed = before >= 1 if policy.unit == "request" else before > 0
        return Decision(is_allowed, after, math.ceil((policy.quota - after) / policy.rate))

    def charge(self, key: str, policy: Policy, cost_usd: Decimal) -> None:
        """Take what a call has cost; a bucket may owe."""
        cents = min(float(cost_usd) * 100, 1_000_000.0)
        self._change(key, policy, lambda tokens: tokens - cents)

    def _change(self, key: str, policy: Policy, change: Callable[[float], float]) -> tuple[float, float]:
        """The tokens before and after, refilled first. A full bucket where the database does not answer."""
        try:
            with self._lock:
                return self._changed(key, policy, change)
        except sqlite3.Error as error:
            _log.warning("a rate limit could not be counted: %s", error)
            return policy.quota, policy.quota

    def _changed(self, key: str, policy: Policy, change: Callable[[float], float]) -> tuple[float, float]:
        now_s = self._now()
        self._db.execute("BEGIN IMMEDIATE")
        try:
            row = self._db.execute("SELECT tokens, at_s FROM buckets WHERE key = ?", (key,)).fetchone()
            before = policy.quota
            if row is not None:
                # What has come back since is kept, whatever policy asks: callers with two policies starve nobody.
                before = min(policy.quota, row[0] + max(0.0, now_s - row[1]) * policy.rate)
            after = change(before)
            self._db.execute("INSERT OR REPLACE INTO buckets VALUES (?, ?, ?)", (key, after, now_s))
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        return before, after
