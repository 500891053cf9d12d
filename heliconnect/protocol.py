"""Helicone's protocol: the header names, and the one place where values become header text.

Any value of any type gives a valid header or is left out: never an exception. On the wire values are raw UTF-8 (the
real Helicone takes those bytes intact and decodes neither percent nor RFC 2047 encoding). Control characters become
one blank, edge blanks go, long values are cut and end in a hash of the whole, property names become lower-case tokens.
Lone surrogates become "?". Of two properties whose names become the same token the last wins, and the first counts as
left out.

Source of the names: https://docs.helicone.ai/helicone-headers/header-directory
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from enum import Enum
from functools import lru_cache
from urllib.parse import quote

from heliconnect.callcontext import CallContext
from heliconnect.exchange import Pairs

__all__ = [
    "ascii_headers",
    "context_headers",
    "header_text",
    "is_secret",
    "key_hash",
    "property_name",
    "read_context",
    "redact",
    "redact_url",
]

PREFIX = "helicone-"
AUTH = "Helicone-Auth"
REQUEST_ID = "Helicone-Request-Id"
USER_ID = "Helicone-User-Id"
SESSION_ID = "Helicone-Session-Id"
SESSION_NAME = "Helicone-Session-Name"
SESSION_PATH = "Helicone-Session-Path"
PROPERTY_PREFIX = "Helicone-Property-"
TARGET_URL = "Helicone-Target-URL"
OPENAI_API_BASE = "Helicone-OpenAI-Api-Base"
OMIT_REQUEST = "Helicone-Omit-Request"
OMIT_RESPONSE = "Helicone-Omit-Response"
MODEL_OVERRIDE = "Helicone-Model-Override"

ID = "helicone-id"
STATUS = "helicone-status"
ERROR = "helicone-error"
UNSENT = "helicone-unsent"
"""Our own: this answer is the gateway's, and nothing of the request reached the provider."""
CONTEXT_REF = "Helicone-Context-Ref"
"""Our own, never sent: names a context that an adapter left with `references.leave`."""

MAX_VALUE_BYTES = 2_000
MAX_PROPERTIES_BYTES = 16_000
REDACTED = "[redacted]"

# One row for each single-valued field of CallContext and the header that carries it.
_FIELD_HEADERS = (
    ("user_id", USER_ID),
    ("session_id", SESSION_ID),
    ("session_name", SESSION_NAME),
    ("session_path", SESSION_PATH),
    ("cache", "Helicone-Cache-Enabled"),
    ("cache_seed", "Helicone-Cache-Seed"),
    ("cache_bucket_max_size", "Helicone-Cache-Bucket-Max-Size"),
    ("rate_limit", "Helicone-RateLimit-Policy"),
    ("omit_request", OMIT_REQUEST),
    ("omit_response", OMIT_RESPONSE),
    ("prompt_id", "Helicone-Prompt-Id"),
    ("model_override", MODEL_OVERRIDE),
)
_SECRETS = frozenset(
    {
        "authorization",
        "proxy-authorization",
        "x-api-key",
        "api-key",
        "x-goog-api-key",
        "ocp-apim-subscription-key",
        "helicone-auth",
        "aws-access-key",
        "aws-secret-key",
        "aws-session-token",
        "x-amz-security-token",
        "cookie",
        "set-cookie",
    }
)
_CONTROL = re.compile(r"[\x00-\x20\x7f-\x9f]*[\x00-\x1f\x7f-\x9f][\x00-\x20\x7f-\x9f]*")
_NOT_TOKEN = re.compile(r"[^a-z0-9_.-]+")
_HELICONE_KEY = re.compile(r"\b(?:sk|pk)-helicone-[A-Za-z0-9-]+")
_SECRET_QUERY = re.compile(r"(?i)([?&](?:key|api[-_]?key|access_token|token)=)[^&#]*")


def header_text(value: object) -> str | None:
    """`value` as text that is valid in a header; None for None and for what has no text form.

    Text of printable characters comes back as it was. Booleans are "true"/"false", bytes are read as UTF-8, lists and
    mappings become JSON. At most 2,000 bytes of UTF-8: longer text is cut and ends in "…#" and 12 hex digits of its
    SHA-256, so that different values stay different.
    """
    if type(value) is str and value.isascii() and value.isprintable() and len(value) <= MAX_VALUE_BYTES:
        return value.strip(" ")  # as most are, and as the rest of this would leave it
    try:
        text = _text(value)
    except Exception:  # noqa: BLE001 - a value's own __str__ may raise anything; the call must go on
        return None
    if text is None:
        return None
    plain = str.encode(text, "utf-8", "replace").decode()  # a __str__ may give a subclass, with methods of its own
    clean = _CONTROL.sub(" ", plain).strip(" ")
    encoded = clean.encode()
    if len(encoded) <= MAX_VALUE_BYTES:
        return clean
    digest = hashlib.sha256(encoded).hexdigest()[:12]
    return encoded[: MAX_VALUE_BYTES - 16].decode("utf-8", "ignore") + "…#" + digest


def _text(value: object) -> str | None:
    match value:
        case None:
            return None
        case str() if type(value) is str:
            return value
        case bool():
            return "true" if value else "false"
        case Enum():
            return _text(value.value)
        case bytes() | bytearray() | memoryview():
            return bytes(value).decode("utf-8", "replace")
        case Mapping() | list() | tuple():
            return json.dumps(value, ensure_ascii=False, default=str)
        case _:
            return str(value)


def property_name(name: object) -> str | None:
    """`name` as a lower-case header token: "Customer Tier" -> "customer-tier", "größe" -> "grosse".

    A name without any usable character becomes "p-" and 8 hex digits of its hash; None for an empty one.
    """
    text = header_text(name)
    if not text:
        return None
    folded = unicodedata.normalize("NFKD", text.casefold())
    token = _NOT_TOKEN.sub("-", "".join(c for c in folded if not unicodedata.combining(c))).strip("-")[:100]
    return token or "p-" + hashlib.sha256(text.encode()).hexdigest()[:8]


def context_headers(context: CallContext) -> tuple[Pairs, int]:
    """The headers that carry `context`, one line for each name, and how many values had to be left out.

    Names in Helicone's spelling, values as text to be sent as UTF-8. Empty values are not sent, but for properties.
    """
    found: list[tuple[str, str]] = []
    dropped = 0
    for name, header in _FIELD_HEADERS:
        value = getattr(context, name)
        if value is None:
            continue
        text = header_text(value)
        if text:
            found.append((header, text))
        elif text is None:
            dropped += 1
    if context.retries is not None:
        found += [("Helicone-Retry-Enabled", "true"), ("Helicone-Retry-Num", str(context.retries))]
    properties, left_out = _property_headers(context.properties)
    return (*found, *properties), dropped + left_out


def _property_headers(properties: Mapping[str, object]) -> tuple[list[tuple[str, str]], int]:
    named: dict[str, str] = {}
    dropped, size = 0, 0
    for raw_name, value in properties.items():
        if value is None:
            continue
        name = _known_name(raw_name) if type(raw_name) is str else property_name(raw_name)
        text = header_text(value)
        if name is None or text is None or size + len(name) + len(text.encode()) > MAX_PROPERTIES_BYTES:
            dropped += 1
            continue
        size += len(name) + len(text.encode())
        dropped += name in named
        named[name] = text
    return [(_property_header(name), text) for name, text in named.items()], dropped


@lru_cache(maxsize=1024)
def _known_name(name: str) -> str | None:
    return property_name(name)


@lru_cache(maxsize=1024)
def _property_header(name: str) -> str:
    return PROPERTY_PREFIX + name.title()


def ascii_headers(pairs: Pairs) -> dict[str, str]:
    """`pairs` as a dictionary for HTTP libraries that refuse non-ASCII text: such characters are percent-encoded."""
    return {name: quote(value, safe=_PRINTABLE) for name, value in pairs}


_PRINTABLE = "".join(chr(code) for code in range(0x20, 0x7F))


def read_context(pairs: Iterable[tuple[str, str]]) -> CallContext:
    """The context that received headers carry: the other direction of `context_headers`, as a gateway reads it.

    Names in any case; property names come out in lower case; a repeated header is joined with ", ", as Helicone does.
    Only user, session, properties, omit flags, prompt id and model override are read; empty values count as absent,
    but for properties.
    """
    joined: dict[str, str] = {}
    for raw_name, value in pairs:
        name = raw_name.lower()
        if name.startswith(PREFIX):
            joined[name] = f"{joined[name]}, {value}" if name in joined else value
    start = len(PROPERTY_PREFIX)
    properties = {
        name[start:]: value
        for name, value in joined.items()
        if name.startswith(PROPERTY_PREFIX.lower()) and name[start:]
    }
    return CallContext(
        user_id=joined.get(USER_ID.lower()) or None,
        session_id=joined.get(SESSION_ID.lower()) or None,
        session_name=joined.get(SESSION_NAME.lower()) or None,
        session_path=joined.get(SESSION_PATH.lower()) or None,
        properties=properties,
        omit_request=joined.get(OMIT_REQUEST.lower(), "").lower() == "true" or None,
        omit_response=joined.get(OMIT_RESPONSE.lower(), "").lower() == "true" or None,
        prompt_id=joined.get("helicone-prompt-id") or None,
        model_override=joined.get(MODEL_OVERRIDE.lower()) or None,
    )


def is_secret(name: str) -> bool:
    """Whether a header of this name can hold a credential."""
    return name.lower() in _SECRETS


def redact(pairs: Iterable[tuple[str, str]]) -> Pairs:
    """`pairs` with the values of credentials replaced by "[redacted]"."""
    return tuple((name, REDACTED if name.lower() in _SECRETS else value) for name, value in pairs)


def redact_url(url: str) -> str:
    """`url` without credentials: Helicone keys in the path and key parameters in the query are replaced."""
    return _HELICONE_KEY.sub(REDACTED, _SECRET_QUERY.sub(rf"\g<1>{REDACTED}", url))


def key_hash(authorization: str) -> str | None:
    """Helicone's form of a key at rest: the SHA-256, in hex, of "Bearer <key>"; None for an empty value."""
    key = authorization.strip()
    scheme, _, rest = key.partition(" ")
    key = rest.strip() if scheme.lower() == "bearer" else key
    return hashlib.sha256(f"Bearer {key}".encode()).hexdigest() if key else None
