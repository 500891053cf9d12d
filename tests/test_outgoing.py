"""The client side as one function: what a request becomes before it leaves."""

from __future__ import annotations

import logging
import uuid

import pytest

import heliconnect as hc
from heliconnect.callcontext import CallContext
from heliconnect.outgoing import Outgoing, direct_headers, prepare
from heliconnect.references import leave
from heliconnect.settings import Settings

URL = "https://api.openai.com/v1/chat/completions"
ID = "11111111-1111-4111-8111-111111111111"
SETTINGS = Settings(api_key="sk-helicone-x", base_url="http://gw:8787")
RAW = [(b"Host", b"api.openai.com"), (b"Authorization", b"Bearer sk-1"), (b"X-A", b"1"), (b"X-A", b"2")]


def prepared(raw: list[tuple[bytes, bytes]], context: CallContext, settings: Settings = SETTINGS) -> Outgoing | None:
    return prepare("POST", URL, raw, context, settings, lambda: uuid.UUID(ID))


def test_a_request_is_addressed_to_the_gateway() -> None:
    """URL, host, context, id and key, in one record; other headers keep their order and duplicates."""
    outgoing = prepared(RAW, CallContext(user_id="Zoë", properties={"Tier": "pro"}))
    assert outgoing == Outgoing(
        url="http://gw:8787/oai/v1/chat/completions",
        provider="openai",
        request_id=ID,
        gateway="http://gw:8787",
        set_headers=(
            ("Host", "gw:8787"),
            ("Helicone-User-Id", "Zoë"),
            ("Helicone-Property-Tier", "pro"),
            ("Helicone-Request-Id", ID),
            ("Helicone-Auth", "Bearer sk-helicone-x"),
        ),
    )
    assert outgoing is not None
    assert outgoing.apply(RAW) == [
        (b"Host", b"gw:8787"),
        (b"Authorization", b"Bearer sk-1"),
        (b"X-A", b"1"),
        (b"X-A", b"2"),
        (b"Helicone-User-Id", "Zoë".encode()),
        (b"Helicone-Property-Tier", b"pro"),
        (b"Helicone-Request-Id", ID.encode()),
        (b"Helicone-Auth", b"Bearer sk-helicone-x"),
    ]


def test_headers_of_the_call_itself_win() -> None:
    """Explicit Helicone headers replace the context's, whatever their case, and stand on one line."""
    given = [(b"HELICONE-user-id", b"mine"), (b"helicone-user-id", b"mine too"), (b"helicone-request-id", b"r-1")]
    outgoing = prepared([*RAW, *given], CallContext(user_id="ambient", session_id="s"))
    assert outgoing is not None
    sent = [(name.lower(), value) for name, value in outgoing.apply([*RAW, *given])]
    assert [value for name, value in sent if name == b"helicone-user-id"] == [b"mine too"]
    assert [value for name, value in sent if name == b"helicone-session-id"] == [b"s"]
    assert outgoing.request_id == "r-1"


def test_a_left_context_is_found_and_its_reference_removed() -> None:
    """An adapter's reference is replaced by the context it stands for, over the surrounding one."""
    reference = leave(CallContext(user_id="Zoë")).encode()
    raw = [*RAW, (b"Helicone-Context-Ref", reference)]
    outgoing = prepared(raw, CallContext(user_id="ambient", session_id="s"))
    assert outgoing is not None
    sent = dict(outgoing.apply(raw))
    assert (sent[b"Helicone-User-Id"], sent[b"Helicone-Session-Id"]) == ("Zoë".encode(), b"s")
    assert reference not in sent.values()


@pytest.mark.parametrize(
    ("method", "url", "raw", "settings"),
    [
        pytest.param("POST", "https://example.com/", RAW, SETTINGS, id="no-provider"),
        pytest.param("POST", URL, RAW, Settings(disabled=True), id="disabled"),
        pytest.param("GET", URL, [*RAW, (b"Upgrade", b"websocket")], SETTINGS, id="upgrade"),
        pytest.param("CONNECT", URL, RAW, SETTINGS, id="connect"),
    ],
)
def test_what_is_left_alone(method: str, url: str, raw: list[tuple[bytes, bytes]], settings: Settings) -> None:
    """None: the request goes out as if heliconnect were not there."""
    assert prepare(method, url, raw, CallContext(user_id="ada"), settings) is None


def test_every_attempt_has_its_own_id() -> None:
    """Two attempts of one call are two ids, each a UUID v4."""
    ids = set()
    for _ in range(2):
        outgoing = prepare("POST", URL, RAW, CallContext(), SETTINGS)
        assert outgoing is not None
        ids.add(uuid.UUID(outgoing.request_id))
    assert {one.version for one in ids} == {4}
    assert len(ids) == 2


def test_what_has_no_header_form_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    """A value without text costs itself, and one line in the log that names no value."""

    class Hopeless:
        def __str__(self) -> str:
            raise RuntimeError("secret")

    with caplog.at_level(logging.WARNING):
        assert prepared(RAW, CallContext(user_id=Hopeless(), session_id="s")) is not None
    assert "1 context value(s)" in caplog.text
    assert "secret" not in caplog.text


def test_direct_headers_hold_nothing_of_helicone() -> None:
    """A request that goes to its provider carries no Helicone header and no key of ours."""
    raw = [*RAW, (b"Helicone-Auth", b"x"), (b"helicone-user-id", b"y"), (b"HELICONE-FOO", b"z")]
    assert direct_headers(raw) == RAW


def test_headers_for_calls_that_are_made_by_hand() -> None:
    """hc.headers(): the current context in ASCII, with an id, and the key where one is set."""
    with hc.context(user_id="Zoë", properties={"a": "100%"}):
        made = hc.headers(SETTINGS)
        assert made["Helicone-User-Id"] == "Zo%C3%AB"
        assert made["Helicone-Property-A"] == "100%"
        assert made["Helicone-Auth"] == "Bearer sk-helicone-x"
        assert uuid.UUID(made["Helicone-Request-Id"]).version == 4
        assert "Helicone-Auth" not in hc.headers(Settings(base_url="http://gw:1"))


def test_an_empty_request_id_counts_as_none() -> None:
    """A call that names no id by its own header gets one, so that it can be found."""
    made = prepare("POST", "https://api.openai.com/v1/x", [(b"Helicone-Request-Id", b"")], CallContext(), Settings())
    assert made is not None
    lines = [value for name, value in made.set_headers if name.lower() == "helicone-request-id"]
    assert lines == [made.request_id]
    assert made.request_id


BEDROCK = "https://bedrock-runtime.us-east-1.amazonaws.com/model/m/invoke"


@pytest.mark.parametrize(
    ("url", "headers"),
    [
        pytest.param(BEDROCK, [(b"authorization", b"AWS4-HMAC-SHA256 Credential=x")], id="header"),
        pytest.param(BEDROCK + "?X-Amz-Signature=abc", [], id="query"),
    ],
)
def test_a_signed_request_is_left_alone(url: str, headers: list[tuple[bytes, bytes]]) -> None:
    """AWS signs host and path: through a gateway the signature would not hold."""
    assert prepare("POST", url, headers, CallContext(), Settings()) is None
    assert prepare("POST", BEDROCK, [(b"authorization", b"Bearer k")], CallContext(), Settings()) is not None
