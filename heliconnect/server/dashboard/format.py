"""Numbers, money, durations and times as people read them. Pure; an unknown value is the en dash, never 0."""

from __future__ import annotations

import zlib
from datetime import UTC, datetime
from decimal import Decimal

from heliconnect.exchange import End

__all__ = [
    "UNKNOWN",
    "colour",
    "cost",
    "count",
    "duration",
    "end_explained",
    "instant",
    "iso",
    "outcome",
    "size",
    "speed",
    "status_label",
    "tokens",
]

UNKNOWN = "\u2013"
_SMALLEST_USD = Decimal("0.0000001")


def count(number: int | None) -> str:
    """A whole number with thousands separated: 12,345."""
    return UNKNOWN if number is None else f"{number:,}"


def cost(usd: Decimal | None) -> str:
    """US dollars with as many digits as small sums need: $8.71, $0.0040, $0.00042, $0."""
    if usd is None:
        return UNKNOWN
    if usd == 0:
        return "$0"
    sign, amount = ("-", -usd) if usd < 0 else ("", usd)
    if amount >= 1:
        return f"{sign}${amount:,.2f}"
    if amount >= Decimal("0.001"):
        return f"{sign}${amount:.4f}"
    if amount < _SMALLEST_USD:
        return f"<{sign}${_SMALLEST_USD:f}"
    digits = 1 - amount.adjusted()
    return f"{sign}${amount:.{digits}f}"


def duration(ms: float | None) -> str:
    """A span of time: 132 ms, 1.33 s, 41.2 s, 2m 05s, 3h 07m."""
    if ms is None:
        return UNKNOWN
    if ms < 999.5:
        return f"{ms:.0f} ms"
    seconds = ms / 1000
    if seconds < 59.95:
        return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m {rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02d}m" if hours < 48 else f"{hours // 24}d {hours % 24:02d}h"


def tokens(given: int | None, answered: int | None) -> str:
    """Input and output tokens: 1,229 → 246; one dash when neither is known."""
    return UNKNOWN if given is None and answered is None else f"{count(given)} → {count(answered)}"


def speed(output_tokens: int | None, generation_ms: float | None) -> str | None:
    """Tokens a second while the answer was written; None when unknown or too short to mean anything."""
    if not output_tokens or generation_ms is None or generation_ms < 20:
        return None
    return f"{output_tokens * 1000 / generation_ms:,.0f} tok/s"


def size(number: int) -> str:
    """Bytes: 512 B, 38 kB, 2.4 MB."""
    if number < 1000:
        return f"{number} B"
    if number < 999_500:
        return f"{number / 1000:.1f} kB" if number < 9950 else f"{number / 1000:.0f} kB"
    return f"{number / 1_000_000:.1f} MB"


def instant(moment: datetime | None) -> str:
    """A moment in UTC to the second: 2026-11-24 02:38:15. The page's script turns it into the reader's own zone."""
    return UNKNOWN if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def iso(moment: datetime) -> str:
    """A moment for `<time datetime>` and URLs: 2026-11-24T02:38:15.120Z."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def status_label(status: int | None) -> str:
    """What the status chip says: the HTTP status, or in a word what Helicone's negative ones mean."""
    if status is None:
        return "none"
    return {-1: "timeout", -3: "cancel"}.get(status, str(status))


def outcome(status: int | None, end: End) -> str:
    """ok, warn (the client left) or bad: how a call is coloured. Agrees with what the store counts as an error."""
    if end in {End.CUT, End.TIMEOUT, End.UNREACHABLE}:
        return "bad"
    if end is End.CANCELLED:
        return "warn"
    return "bad" if status is None or status >= 400 else "ok"


def end_explained(end: End) -> str | None:
    """Why an answer is not whole; None for one that is."""
    return {
        End.CANCELLED: "The client went away before the answer was complete; what had come until then is shown.",
        End.CUT: "The provider's answer broke off; what had come until then was passed on and is shown.",
        End.TIMEOUT: "The provider did not answer in time.",
        End.UNREACHABLE: "No connection to the provider: nothing of the request reached it.",
    }.get(end)


_FAMILIES = (
    (("gpt", "o1", "o3", "o4", "chatgpt", "text-embedding", "davinci", "openai"), 3),
    (("claude", "anthropic"), 4),
    (("gemini", "gemma", "google"), 1),
    (("llama", "meta"), 5),
    (("mistral", "codestral", "ministral", "magistral", "pixtral", "mixtral"), 2),
)


def colour(model: str | None) -> int:
    """The series colour of a model, 1 to 5, the same for a family and always; 0 (grey) for an unknown model."""
    if not model:
        return 0
    name = model.lower().rpartition("/")[2]
    for starts, number in _FAMILIES:
        if name.startswith(starts):
            return number
    return 1 + zlib.crc32(name.encode()) % 5
