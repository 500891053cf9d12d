"""What a request's headers ask of the gateway besides being passed on. Pure.

A malformed value never fails a call: the feature is left out, and a warning goes into the record. Sources: the header
directory of Helicone's documentation; worker/src/lib/models/HeliconeHeaders.ts and util/cache/cacheSettings.ts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from heliconnect.server.features.fallbacks import Fallback, parse_fallbacks
from heliconnect.server.features.limits import Policy, parse_policy
from heliconnect.server.features.retries import RetryWish

__all__ = ["CacheWish", "Wishes", "wishes_of"]

_PREFIXES = (b"helicone-cache-", b"helicone-retry-", b"helicone-ratelimit-policy", b"helicone-fallbacks")
_STREAM_USAGE = "helicone-stream-usage"
# What Helicone's cloud does by models of its own or of others; here a call that asks for it is passed on without.
_NOT_AVAILABLE = {
    "helicone-llm-security-enabled": "Helicone-LLM-Security-Enabled",
    "helicone-prompt-security-enabled": "Helicone-Prompt-Security-Enabled",
    "helicone-moderations-enabled": "Helicone-Moderations-Enabled",
    "helicone-token-limit-exception-handler": "Helicone-Token-Limit-Exception-Handler",
}
_OTHERS = frozenset(name.encode() for name in (_STREAM_USAGE, "cache-control", *_NOT_AVAILABLE))
_WEEK_S = 604_800
_YEAR_S = 31_536_000
_MAX_BUCKET = 20
_AGE = re.compile(r"(?:^|[\s,])(s-maxage|max-age)=(\d{1,12})(?=$|[\s,])")
_DIRECTIVE = re.compile(r"(?:^|[\s,])no-(?:store|cache)(?=$|[\s,])")


@dataclass(frozen=True, slots=True)
class CacheWish:
    """Answer from the cache (reads), keep the answer in it (saves), for ttl_s seconds.

    bucket_size is how many different answers are kept for one question before any is given; seed and ignored, the
    top-level JSON keys left out of the comparison, say which questions are the same.
    """

    reads: bool
    saves: bool
    ttl_s: int = _WEEK_S
    bucket_size: int = 1
    seed: str = ""
    ignored: tuple[str, ...] = ()
    control: str = ""


@dataclass(frozen=True, slots=True)
class Wishes:
    """All that is asked for; warnings say what could not be understood."""

    cache: CacheWish | None = None
    retry: RetryWish | None = None
    policy: Policy | None = None
    fallbacks: tuple[Fallback, ...] = ()
    wants_usage: bool = False
    warnings: tuple[str, ...] = field(default=())

    @property
    def needs_body(self) -> bool:
        """Whether the request's whole body is needed before anything is sent."""
        found = (self.cache, self.retry, self.policy)
        return any(one is not None for one in found) or bool(self.fallbacks) or self.wants_usage


def wishes_of(lines: Iterable[tuple[bytes, bytes, bytes]]) -> Wishes | None:
    """What header lines (name in lower case, as sent, value) ask for; None when they ask for nothing."""
    asked = [
        (lower.decode("latin-1"), value.decode("utf-8", "replace"))
        for lower, _, value in lines
        if lower.startswith(_PREFIXES) or lower in _OTHERS
    ]
    if not any(name != "cache-control" for name, _ in asked):
        return None
    given = dict(asked)
    warnings = [
        f"{name} is not available in this gateway: the call was passed on without it"
        for header, name in _NOT_AVAILABLE.items()
        if given.get(header, "").strip().lower() not in {"", "false"}
    ]
    found = Wishes(
        cache=_cache(given, warnings),
        retry=_retry(given, warnings),
        policy=_policy(given, warnings),
        fallbacks=_fallbacks(given, warnings),
        wants_usage=_is_true(given, _STREAM_USAGE),
        warnings=tuple(warnings),
    )
    return None if found == Wishes() else found


def _is_true(given: Mapping[str, str], name: str) -> bool:
    return given.get(name, "").strip().lower() == "true"


def _cache(given: Mapping[str, str], warnings: list[str]) -> CacheWish | None:
    is_enabled = _is_true(given, "helicone-cache-enabled")
    reads = is_enabled or _is_true(given, "helicone-cache-read")
    saves = is_enabled or _is_true(given, "helicone-cache-save")
    if not reads and not saves:
        return None
    size = given.get("helicone-cache-bucket-max-size", "1").strip()
    if not size.isdecimal() or not 1 <= int(size) <= _MAX_BUCKET:
        warnings.append(f"Helicone-Cache-Bucket-Max-Size must be 1 to {_MAX_BUCKET}, got {size!r}: 1 was used")
        size = "1"
    control = given.get("cache-control", "").lower()
    if _DIRECTIVE.search(control) is not None:
        saves, reads = saves and "no-store" not in control, False
        if not saves:
            return None
    ages = {name: int(number) for name, number in _AGE.findall(control)}
    return CacheWish(
        reads=reads,
        saves=saves,
        ttl_s=min(ages.get("s-maxage", ages.get("max-age", _WEEK_S)), _YEAR_S),
        bucket_size=int(size),
        seed=given.get("helicone-cache-seed", ""),
        ignored=_ignored(given.get("helicone-cache-ignore-keys", "")),
        control=given.get("helicone-cache-control", ""),
    )


def _ignored(text: str) -> tuple[str, ...]:
    """Both spellings: a,b and "a","b"."""
    try:
        parsed = json.loads(f"[{text}]")
        names = [name for name in parsed if isinstance(name, str)]
    except ValueError:
        names = [name.strip().strip('"') for name in text.split(",")]
    return tuple(sorted({name for name in names if name}))


def _retry(given: Mapping[str, str], warnings: list[str]) -> RetryWish | None:
    enabled = given.get("helicone-retry-enabled", "").strip().lower()
    if not enabled or enabled == "false":
        return None
    wish = RetryWish()
    numbers: dict[str, float] = {}
    for name in ("num", "factor", "min-timeout", "max-timeout"):
        text = given.get(f"helicone-retry-{name}")
        if text is None:
            continue
        try:
            number = float(text)
        except ValueError:
            number = -1.0
        if not 0 <= number <= 1e7:
            warnings.append(f"Helicone-Retry-{name.title()} must be a number, got {text[:40]!r}: its default was used")
        else:
            numbers[name] = number
    return RetryWish(
        attempts=max(1, min(int(numbers.get("num", wish.attempts)), 20)),
        factor=numbers.get("factor", wish.factor),
        min_ms=numbers.get("min-timeout", wish.min_ms),
        max_ms=numbers.get("max-timeout", wish.max_ms),
    )


def _policy(given: Mapping[str, str], warnings: list[str]) -> Policy | None:
    text = given.get("helicone-ratelimit-policy")
    if text is None:
        return None
    policy = parse_policy(text)
    if policy is None:
        warnings.append(f"Helicone-RateLimit-Policy is not understood: {text[:80]!r}; the call was not limited")
    return policy


def _fallbacks(given: Mapping[str, str], warnings: list[str]) -> tuple[Fallback, ...]:
    text = given.get("helicone-fallbacks")
    if text is None:
        return ()
    try:
        return parse_fallbacks(text)
    except ValueError as error:
        warnings.append(f"Helicone-Fallbacks is not understood: {error}; the call went to its own target")
        return ()
