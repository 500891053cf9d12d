"""Helicone keys that stand where a provider's key belongs: they name the caller and are not passed on. Pure.

Clients of Helicone's AI gateway send theirs so, and Helicone documents `Bearer <provider key>, Bearer <Helicone key>`.
Source: https://docs.helicone.ai/helicone-headers/helicone-auth
"""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["has_provider_key", "helicone_key", "provider_part"]

_HEADERS = frozenset({b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key"})
_OURS = re.compile(rb"(?:bearer[ \t]+)?((?:sk|pk)-helicone[a-z0-9-]*)", re.IGNORECASE)
Lines = Iterable[tuple[bytes, bytes, bytes]]


def helicone_key(lines: Lines) -> str | None:
    """The first Helicone key in the header lines that hold provider keys; None for none."""
    values = (value for lower, _, value in lines if lower in _HEADERS and b"-helicone" in value.lower())
    found = (_OURS.fullmatch(part.strip()) for value in values for part in value.split(b","))
    return next((one[1].decode("ascii") for one in found if one is not None), None)


def has_provider_key(lines: Lines) -> bool:
    """Whether a provider key is left in the header lines once Helicone's are taken out."""
    return any(lower in _HEADERS and provider_part(lower, value) for lower, _, value in lines)


def provider_part(lower: bytes, value: bytes) -> bytes | None:
    """What of a header's value goes to the provider; None where it is a Helicone key alone. lower is its name."""
    if lower not in _HEADERS or b"-helicone" not in value.lower():
        return value
    parts = (part.strip() for part in value.split(b","))
    return b", ".join(part for part in parts if _OURS.fullmatch(part) is None) or None
