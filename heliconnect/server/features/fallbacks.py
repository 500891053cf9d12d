"""Other targets for a call whose first one answers with certain statuses. Pure.

Source: worker/src/routers/gatewayRouter.ts of Helicone/helicone; docs, "gateway fallbacks".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Fallback", "parse_fallbacks"]

_MAX_ENTRIES = 10
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Fallback:
    """One target: its URL, the headers that are sent instead of the caller's, the statuses that lead to the next.

    override is put over the request's JSON body, top-level key by key.
    """

    target_url: str
    headers: tuple[tuple[str, str], ...]
    codes: tuple[tuple[int, int], ...]
    override: Mapping[str, Any] = field(default_factory=dict)

    def leads_on(self, status: int) -> bool:
        """Whether this status is one after which the next target is tried."""
        return any(low <= status <= high for low, high in self.codes)

    def body(self, body: bytes) -> bytes:
        """The request's body with the override; as it is where it is no JSON object or nothing is to be put over."""
        if not self.override:
            return body
        try:
            parsed = json.loads(body)
        except ValueError:
            return body
        return json.dumps({**parsed, **self.override}).encode() if isinstance(parsed, dict) else body


def parse_fallbacks(text: str) -> tuple[Fallback, ...]:
    """The entries of a `Helicone-Fallbacks` header. Raises ValueError, saying which entry is wrong."""
    try:
        entries = json.loads(text)
    except ValueError as error:
        raise ValueError("it must be a JSON array") from error
    if not isinstance(entries, list) or not 1 <= len(entries) <= _MAX_ENTRIES:
        raise ValueError(f"it must be a JSON array of 1 to {_MAX_ENTRIES} entries")
    return tuple(_entry(number, entry) for number, entry in enumerate(entries))


def _entry(number: int, entry: object) -> Fallback:
    given: Mapping[str, Any] = entry if isinstance(entry, Mapping) else {}
    url, headers, codes = given.get("target-url"), given.get("headers"), given.get("onCodes")
    is_whole = isinstance(url, str) and isinstance(headers, Mapping) and isinstance(codes, list)
    if not is_whole:
        raise ValueError(f"entry {number} must be an object with target-url, headers and onCodes")
    override = given.get("bodyKeyOverride")
    pairs = tuple((str(name), str(value)) for name, value in dict(headers or {}).items())
    if not all(_TOKEN.fullmatch(name) and not _CONTROL.search(value) for name, value in pairs):
        raise ValueError(f"entry {number} has a header that is malformed")
    leading = tuple(_codes(number, code) for code in codes or ())
    return Fallback(str(url), pairs, leading, override if isinstance(override, dict) else {})


def _codes(number: int, code: object) -> tuple[int, int]:
    match code:
        case bool():
            pass
        case int():
            return code, code
        case {"from": int(low), "to": int(high)}:
            return low, high
    raise ValueError(f'entry {number}: onCodes holds numbers and {{"from": .., "to": ..}}')
