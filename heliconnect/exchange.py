"""What is known of one LLM call: first as captured bytes, then as a record with meaning.

A `Capture` is what the data plane saw: two heads, two bodies, times, and how it ended. It holds no secrets (provider
keys are removed before it is made) and no interpretation. `recorder.finish(capture)` turns it into an `Exchange`:
who caused it, which model, which usage, which cost. Both are frozen; unknown is always None, never 0 or "".

Units are in the names: *_ms milliseconds, *_usd US dollars (Decimal), started_at aware UTC.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

__all__ = ["Capture", "Cost", "End", "Exchange", "Pairs", "Timing", "Usage"]

Pairs = tuple[tuple[str, str], ...]
"""Headers in the order of the wire: a name may come twice. Names lower-case, values decoded as UTF-8, else Latin-1."""


class End(StrEnum):
    """How an exchange ended, seen from the gateway."""

    DONE = "done"
    """The provider's answer was passed on whole."""
    CANCELLED = "cancelled"
    """The client went away first; recorded as status -3, as Helicone does."""
    CUT = "cut"
    """The provider's answer broke off; the client's answer was cut at the same place."""
    TIMEOUT = "timeout"
    """The provider did not answer in time; recorded as status -1."""
    UNREACHABLE = "unreachable"
    """No connection to the provider: nothing of the request reached it."""


@dataclass(frozen=True, slots=True)
class Timing:
    """When an exchange began and how long its parts took, measured at the gateway.

    first_byte_ms is the time from the request's first byte until the first byte of the answer's body (Helicone's
    "time to first token"); None when no body byte came. latency_ms is the time until the end of the answer.
    """

    started_at: datetime
    latency_ms: float
    first_byte_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts as the provider reported them, in disjoint parts; None where it reported none.

    input_tokens excludes cache and audio parts, output_tokens excludes reasoning and audio, so that `total_input` and
    `total_output` equal the provider's own totals. cache_write_tokens excludes cache_write_1h_tokens (Anthropic's
    dearer one-hour writes). `estimated` marks counts made by a tokenizer instead of the provider.
    """

    input_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_write_1h_tokens: int | None = None
    input_audio_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    output_audio_tokens: int | None = None
    estimated: bool = False

    @property
    def total_input(self) -> int | None:
        """All tokens the provider counted as input, caches and audio included; None when it reported none."""
        return _sum(
            self.input_tokens,
            self.cache_read_tokens,
            self.cache_write_tokens,
            self.cache_write_1h_tokens,
            self.input_audio_tokens,
        )

    @property
    def total_output(self) -> int | None:
        """All tokens the provider counted as output, reasoning and audio included; None when it reported none."""
        return _sum(self.output_tokens, self.reasoning_tokens, self.output_audio_tokens)

    @property
    def total(self) -> int | None:
        """Input and output together; None when the provider reported neither."""
        return _sum(self.total_input, self.total_output)


def _sum(*counts: int | None) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


@dataclass(frozen=True, slots=True)
class Cost:
    """What an exchange cost, in US dollars, and where that knowledge comes from.

    source names the price list and its version ("genai-prices 0.2.3") or "provider" when the answer itself stated
    the cost; priced_on is the day whose rates were used. The parts are None when only the total is known.
    """

    total_usd: Decimal
    input_usd: Decimal | None = None
    output_usd: Decimal | None = None
    source: str = ""
    priced_on: date | None = None


@dataclass(frozen=True, slots=True)
class Capture:
    """One exchange as the data plane saw it, without secrets and without interpretation.

    target_url is where the request went, its secrets removed. request_headers are those the gateway received,
    `helicone-*` included, with the values of secrets replaced; response_headers those of the provider. Bodies are
    the bytes of the wire without transfer coding (still content-encoded); `*_size_bytes` counts all of them even where
    only the first part was kept. status is the HTTP status passed on, None when the provider sent none.
    told_cost is the cost in US dollars that the caller of a call logged by hand says it had.
    """

    request_id: str
    started_at: datetime
    method: str
    target_url: str
    provider: str | None
    request_headers: Pairs
    request_body: bytes
    request_size_bytes: int
    end: End
    latency_ms: float
    status: int | None = None
    response_headers: Pairs = ()
    response_body: bytes = b""
    response_size_bytes: int = 0
    first_byte_ms: float | None = None
    key_hash: str | None = None
    error: str | None = None
    warnings: tuple[str, ...] = ()
    told_cost: str | None = None


@dataclass(frozen=True, slots=True)
class Exchange:
    """One recorded LLM call.

    status is the HTTP status, or Helicone's -1 (timed out), -3 (cancelled by the client); None when the provider never
    answered. model is the best known name: override, else the answer's, else the request's. Bodies are decoded text of
    what was sent and answered (None where omitted or not kept); base64 text when `*_is_base64`. Previews are
    short plain text for lists. properties have lower-case names.
    cache_reference_id is the record whose answer was given again from the cache; such a call used no tokens and cost
    nothing. feedback and scores were said of it afterwards.
    """

    request_id: str
    timing: Timing
    method: str
    target_url: str
    status: int | None
    end: End
    provider: str | None = None
    flavor: str | None = None
    is_stream: bool = False
    model: str | None = None
    request_model: str | None = None
    response_model: str | None = None
    user_id: str | None = None
    session_id: str | None = None
    session_name: str | None = None
    session_path: str | None = None
    properties: dict[str, str] = field(default_factory=dict)
    usage: Usage | None = None
    cost: Cost | None = None
    request_headers: Pairs = ()
    response_headers: Pairs = ()
    request_body: str | None = None
    response_body: str | None = None
    request_is_base64: bool = False
    response_is_base64: bool = False
    request_size_bytes: int = 0
    response_size_bytes: int = 0
    request_preview: str | None = None
    response_preview: str | None = None
    key_hash: str | None = None
    cache_reference_id: str | None = None
    error: str | None = None
    warnings: tuple[str, ...] = ()
    feedback: bool | None = None
    scores: dict[str, float] = field(default_factory=dict)
