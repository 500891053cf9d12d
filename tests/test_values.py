"""Any value, through every HTTP library and SDK, over real sockets: no call fails, printable text arrives as it was."""

from __future__ import annotations

import asyncio
import logging
import unicodedata
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import anthropic
import httpx
import httpx2
import openai
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import heliconnect as hc
from heliconnect.callcontext import CallContext
from heliconnect.protocol import MAX_VALUE_BYTES, context_headers, header_text, property_name
from heliconnect.settings import Settings
from tests.conftest import Running
from tests.senders import BODY, MESSAGES

PER_CALL = 20
CALLS = 84
"""Times six ways to call, times PER_CALL values: more than 10,000."""


class Rude:
    """Raises whatever is asked of it."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    def __repr__(self) -> str:
        raise RuntimeError("no text")

    def __bool__(self) -> bool:
        raise RuntimeError("no truth")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no equality")

    __hash__ = None  # type: ignore[assignment]  # that is the rudeness


class Odd(str):
    """Text whose methods raise."""

    __slots__ = ()

    def encode(self, *args: Any) -> bytes:
        raise RuntimeError("no bytes")

    def strip(self, *args: Any) -> str:
        raise RuntimeError("no strip")


class Deceitful:
    """Says it is such text."""

    def __str__(self) -> str:
        return Odd("odd")


def _nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def _circle() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


PRINTABLE = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=60)
ANY_TEXT = st.one_of(
    PRINTABLE,
    st.text(max_size=40),
    st.text(st.characters(categories=("Cs", "Cc", "Zs")), max_size=10),
    st.builds(lambda text, times: text * times, st.text(min_size=1, max_size=9), st.integers(1, 2_000)),
)
SCALAR = st.one_of(
    ANY_TEXT, st.none(), st.booleans(), st.integers(), st.floats(), st.binary(max_size=30), st.uuids(), st.datetimes()
)
ANYTHING = st.one_of(
    SCALAR,
    st.recursive(
        SCALAR,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
        max_leaves=8,
    ),
    st.sampled_from([Rude, Deceitful, _circle, lambda: _nested(5_000), lambda: 10**5_000, lambda: Odd("odd")]).map(
        lambda make: make()
    ),
)


def texts(count: int) -> list[list[Any]]:
    """Generated values in `count` rows of PER_CALL: the same in every run."""
    rows: list[list[Any]] = []

    @settings(
        max_examples=count,
        database=None,
        derandomize=True,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(ANYTHING, min_size=PER_CALL, max_size=PER_CALL))
    def collect(row: list[Any]) -> None:
        rows.append(row)

    collect()
    return (rows * (count // len(rows) + 1))[:count]


Send = Callable[[], Awaitable[int]]


async def _httpx(settings: Settings, url: str, scopes: list[Any]) -> None:
    with hc.connect(httpx.Client(), settings) as client:
        for scope in scopes:
            with scope:
                assert client.post(url, json=BODY).status_code == 200


async def _httpx2(settings: Settings, url: str, scopes: list[Any]) -> None:
    async with hc.connect(httpx2.AsyncClient(), settings) as client:
        for scope in scopes:
            with scope:
                assert (await client.post(url, json=BODY)).status_code == 200


async def _aiohttp(settings: Settings, url: str, scopes: list[Any]) -> None:
    async with hc.connect(aiohttp.ClientSession(), settings) as session:
        for scope in scopes:
            with scope:
                async with session.post(url, json=BODY) as answer:
                    assert answer.status == 200


async def _openai(settings: Settings, url: str, scopes: list[Any]) -> None:
    with openai.OpenAI(api_key="k", base_url=url.removesuffix("/chat/completions"), max_retries=0) as client:
        hc.connect(client, settings)
        for scope in scopes:
            with scope:
                assert client.chat.completions.create(model="gpt-4o", messages=MESSAGES).id


async def _openai_async(settings: Settings, url: str, scopes: list[Any]) -> None:
    base = url.removesuffix("/chat/completions")
    async with openai.AsyncOpenAI(api_key="k", base_url=base, max_retries=0) as client:
        hc.connect(client, settings)
        for scope in scopes:
            with scope:
                assert (await client.chat.completions.create(model="gpt-4o", messages=MESSAGES)).id


async def _anthropic(settings: Settings, url: str, scopes: list[Any]) -> None:
    base = url.removesuffix("/v1/chat/completions")
    with anthropic.Anthropic(api_key="k", base_url=base, max_retries=0) as client:
        hc.connect(client, settings)
        for scope in scopes:
            with scope:
                assert client.messages.create(model="claude-sonnet-4-6", max_tokens=9, messages=MESSAGES).id


WAYS = [
    pytest.param(_httpx, "openai", id="httpx"),
    pytest.param(_httpx2, "openai", id="httpx2"),
    pytest.param(_aiohttp, "openai", id="aiohttp"),
    pytest.param(_openai, "openai", id="openai"),
    pytest.param(_openai_async, "openai", id="openai-async"),
    pytest.param(_anthropic, "anthropic", id="anthropic"),
]


@pytest.mark.parametrize(("way", "name"), WAYS)
async def test_any_value_leaves_the_call_as_it_is(way: Any, name: str, live: Running) -> None:
    """1,680 values each way: every call is answered, and the store has the text that the codec documents."""
    user = f"u-{uuid.uuid4()}"
    rows = texts(CALLS)
    contexts = [{f"p{place}": value for place, value in enumerate(row)} for row in rows]
    scopes = [hc.context(user_id=user, properties=one) for one in contexts]
    used = Settings(base_url=live.url, providers={live.provider.url: name})
    logging.getLogger("heliconnect").disabled = True
    try:
        await way(used, f"{live.provider.url}/v1/chat/completions", scopes)
    finally:
        logging.getLogger("heliconnect").disabled = False
    records = await asyncio.to_thread(live.records, user, CALLS, 30.0)
    found = [{k: v for k, v in one["request_properties"].items() if k[:1] == "p"} for one in records]
    sent = [dict(context_headers(CallContext(properties=one))[0]) for one in contexts]
    expected = [{key.removeprefix("Helicone-Property-").lower(): text for key, text in one.items()} for one in sent]
    assert found == expected


@settings(max_examples=300, deadline=None, database=None, derandomize=True)
@given(PRINTABLE)
def test_printable_text_is_sent_as_it_was(text: str) -> None:
    """Only blanks at the edges go."""
    assert header_text(text) == text.strip(" ")


@settings(max_examples=300, deadline=None, database=None, derandomize=True)
@given(ANYTHING)
def test_anything_else_is_valid_header_text_or_left_out(value: object) -> None:
    """No control character, no blank at an edge, no lone surrogate, never longer than the cap."""
    text = header_text(value)
    if text is not None:
        assert len(text.encode()) <= MAX_VALUE_BYTES
        assert text == text.strip(" ")
        assert not [c for c in text if unicodedata.category(c) == "Cc"]


def test_names_that_fold_alike_are_one_line_and_the_last_wins() -> None:
    """Helicone would join two lines of a name; the value that was said first is counted as left out."""
    assert property_name("Customer Tier") == property_name("customer-tier")
    found = context_headers(CallContext(properties={"Customer Tier": "a", "x": "b", "customer-tier": "c"}))
    assert found == ((("Helicone-Property-Customer-Tier", "c"), ("Helicone-Property-X", "b")), 1)


@pytest.mark.parametrize("name", ["Auth", "Session-Id", "helicone-auth", "Helicone-Property-X", "Target-URL"])
def test_a_property_never_becomes_a_control_header(name: str) -> None:
    """Whatever a property is called, its header begins with Helicone-Property-."""
    pairs, _ = context_headers(CallContext(properties={name: "v"}))
    assert [header for header, _ in pairs if not header.startswith("Helicone-Property-")] == []


def test_values_that_raise_do_not_raise_where_they_are_said() -> None:
    """Scopes take any object; what has no text form is left out when the call is made."""
    with hc.context(user_id=Rude(), properties={"a": Rude()}), hc.session(Rude(), id=Rude(), path=Rude()):  # type: ignore[arg-type]  # the test's point
        with hc.step(Rude()):  # type: ignore[arg-type]  # the test's point
            pairs, dropped = context_headers(hc.current())
    assert dropped >= 2
    assert "Helicone-Session-Id" in dict(pairs)
