"""Helicone's headers: any value becomes a valid header or is left out, and comes back as it was."""

from __future__ import annotations

import enum
from datetime import date
from decimal import Decimal
from uuid import UUID

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from heliconnect.callcontext import CallContext
from heliconnect.protocol import (
    ascii_headers,
    context_headers,
    header_text,
    key_hash,
    property_name,
    read_context,
    redact,
    redact_url,
)


class Colour(enum.Enum):
    RED = "red"


class Hopeless:
    def __str__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(None, None, id="none"),
        pytest.param("Zoë 東京 🦊", "Zoë 東京 🦊", id="any-printable-text-as-it-is"),
        pytest.param("  padded\t", "padded", id="edge-blanks-go"),
        pytest.param("a\r\nX-Evil: 1", "a X-Evil: 1", id="no-line-ends"),
        pytest.param("a\x00\x7f\x85b", "a b", id="control-characters-are-one-blank"),
        pytest.param("\ud800x", "?x", id="half-a-pair"),
        pytest.param(True, "true", id="true"),
        pytest.param(3, "3", id="number"),
        pytest.param(Decimal("1.50"), "1.50", id="decimal"),
        pytest.param(UUID(int=7), "00000000-0000-0000-0000-000000000007", id="uuid"),
        pytest.param(date(2026, 3, 1), "2026-03-01", id="date"),
        pytest.param(Colour.RED, "red", id="enum"),
        pytest.param(b"caf\xc3\xa9\xff", "café�", id="bytes"),
        pytest.param({"a": ["é"]}, '{"a": ["é"]}', id="json"),
        pytest.param(Hopeless(), None, id="no-text-form"),
        pytest.param("", "", id="empty"),
    ],
)
def test_a_value_becomes_header_text(value: object, text: str | None) -> None:
    """One fixed form for every kind of value."""
    assert header_text(value) == text


def test_long_values_are_cut_and_stay_different() -> None:
    """2,000 bytes at most, whole characters, and a hash of the rest."""
    one, two = header_text("é" * 5_000), header_text("é" * 4_999 + "e")
    assert one is not None
    assert two is not None
    assert one != two
    assert len(one.encode()) <= 2_000
    assert one.startswith("ééé")


@pytest.mark.parametrize(
    ("name", "token"),
    [
        pytest.param("Customer Tier", "customer-tier", id="blanks"),
        pytest.param("größe", "grosse", id="accents-fold"),
        pytest.param("a:b/c", "a-b-c", id="separators"),
        pytest.param("foo_bar.baz", "foo_bar.baz", id="allowed-marks"),
        pytest.param("東京", "p-4e9805c0", id="no-usable-character"),
        pytest.param("", None, id="empty"),
        pytest.param(7, "7", id="number"),
    ],
)
def test_property_names_become_tokens(name: object, token: str | None) -> None:
    """Lower-case, and valid in every HTTP library."""
    found = property_name(name)
    assert found == token if token != "p-4e9805c0" else (found or "").startswith("p-")


anything = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=60)
    | st.binary(max_size=30)
    | st.lists(st.text(max_size=5), max_size=3)
    | st.just(Hopeless())
)


names = st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.binary(max_size=9)


@given(user=anything, session=anything, properties=st.dictionaries(names, anything, max_size=6))
@example(user="\r\nHost: evil", session="\x00", properties={"a\nb": "c\r\n"})
def test_any_context_gives_valid_headers(user: object, session: object, properties: dict[object, object]) -> None:
    """Whatever the values: h11, the strictest reader around, takes the lines; names come once; nothing raises."""
    context = CallContext(user_id=user, session_id=session, session_name=user, properties=properties)  # type: ignore[arg-type]  # any keys
    pairs, _ = context_headers(context)
    lines = [("host", "x"), *((name, value.encode()) for name, value in pairs)]
    h11.Request(method="POST", target="/", headers=lines)  # type: ignore[arg-type]  # text and bytes both
    names = [name.lower() for name, _ in pairs]
    assert len(names) == len(set(names))
    assert all(value.isascii() for value in ascii_headers(pairs).values())


printable = (
    st.text(st.characters(blacklist_categories=("Cc", "Cs")), min_size=1, max_size=50).map(str.strip).filter(bool)
)


tokens = st.from_regex(r"[a-z0-9_.]{1,9}", fullmatch=True)


@given(user=printable, session=printable, properties=st.dictionaries(tokens, printable, max_size=4))
def test_printable_text_arrives_as_it_was(user: str, session: str, properties: dict[str, str]) -> None:
    """What context_headers writes, read_context reads, through bytes."""
    context = CallContext(user_id=user, session_id=session, session_path="/a", properties=properties)
    pairs, dropped = context_headers(context)
    wire = [(name.lower(), value.encode().decode()) for name, value in pairs]
    got = read_context(wire)
    assert dropped == 0
    assert (got.user_id, got.session_id, got.session_path, dict(got.properties)) == (user, session, "/a", properties)


def test_too_many_properties_are_counted() -> None:
    """Beyond 16 kB of properties the rest is left out and counted; the call goes on."""
    pairs, dropped = context_headers(CallContext(properties={f"p{n}": "x" * 1_000 for n in range(40)}))
    assert len(pairs) + dropped == 40
    assert 10 < len(pairs) < 17


def test_options_have_helicones_names() -> None:
    """Per-call options become Helicone's headers."""
    pairs, _ = context_headers(
        CallContext(cache=True, cache_bucket_max_size=3, retries=4, rate_limit="10;w=60", omit_request=True)
    )
    assert dict(pairs) == {
        "Helicone-Cache-Enabled": "true",
        "Helicone-Cache-Bucket-Max-Size": "3",
        "Helicone-RateLimit-Policy": "10;w=60",
        "Helicone-Omit-Request": "true",
        "Helicone-Retry-Enabled": "true",
        "Helicone-Retry-Num": "4",
    }


def test_repeated_headers_are_joined_when_read() -> None:
    """As at Helicone: two lines of one name are one value."""
    assert read_context([("helicone-user-id", "a"), ("Helicone-User-Id", "b")]).user_id == "a, b"


def test_credentials_are_redacted() -> None:
    """Keys in headers, in the query and in the path are replaced; the rest stays."""
    pairs = (("authorization", "Bearer sk-1"), ("x-api-key", "k"), ("cookie", "c"), ("accept", "*/*"))
    assert redact(pairs) == (
        ("authorization", "[redacted]"),
        ("x-api-key", "[redacted]"),
        ("cookie", "[redacted]"),
        ("accept", "*/*"),
    )
    assert redact_url("https://x/v1?alt=sse&key=AIza-1#a") == "https://x/v1?alt=sse&key=[redacted]#a"
    assert redact_url("https://x/sk-helicone-abc-def/v1") == "https://x/[redacted]/v1"


def test_a_helicone_key_is_kept_as_helicones_hash() -> None:
    """The SHA-256 that Helicone's own database holds for its test key."""
    expected = "014c02f17208d4f521b0bad39a1d0174e015e86f925cbbcc25108ffea74fd7f2"
    assert key_hash("Bearer sk-helicone-aizk36y-5yue2my-qmy5tza-n7x3aqa") == expected
    assert key_hash("sk-helicone-aizk36y-5yue2my-qmy5tza-n7x3aqa") == expected
    assert key_hash("") is None


def test_a_scheme_without_a_key_has_no_hash() -> None:
    """ "Bearer " alone is no key, and is not stored as the hash of one."""
    assert key_hash("Bearer ") is None
