"""The wire: what httpx, httpx2 and aiohttp send is routed, and nothing about the call changes."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import time
from collections.abc import AsyncIterator, Iterator

import aiohttp
import httpx
import httpx2
import lm15.transports
import openai
import pytest
import requests

import heliconnect as hc
from heliconnect.callcontext import CallContext, enter_run
from heliconnect.protocol import CONTEXT_REF
from heliconnect.settings import Settings
from heliconnect.testing import Provider, Reply
from tests.conftest import GATEWAY_MARK
from tests.senders import (
    BODY,
    MESSAGES,
    NO_CONNECTION,
    SENDERS,
    USER,
    Sender,
    a_dead_url,
    each_library,
    send_aiohttp,
    send_requests,
    settings_for,
)


@each_library
async def test_a_call_goes_to_the_gateway_with_its_context(send: Sender, provider: Provider, gateway: Provider) -> None:
    """Raw UTF-8 values, the gateway's host, path and query untouched; the response names the provider."""
    url = f"{provider.url}/v1/chat/completions?x=a%2Fb&y"
    with hc.context(user_id=USER, properties={"Größe": "ünï\n"}), hc.session("trip"), hc.step("search"):
        status, shown = await send(settings_for(provider, gateway.url), url, headers={"X-Own": "1"})
    assert (status, shown) == (200, url)
    assert provider.requests == []
    (got,) = gateway.requests
    assert (got.method, got.path, got.query) == ("POST", "/oai/v1/chat/completions", "x=a%2Fb&y")
    assert got.json() == BODY
    headers = got.headers
    assert headers["host"] == gateway.url.removeprefix("http://")
    assert headers["helicone-user-id"] == USER
    assert headers["helicone-property-grosse"] == "ünï"
    assert (headers["helicone-session-name"], headers["helicone-session-path"]) == ("trip", "/search")
    assert headers["helicone-target-url"] == provider.url
    assert headers["helicone-auth"] == "Bearer sk-helicone-secret"
    assert headers["helicone-request-id"] == hc.last_request_id()
    assert headers["x-own"] == "1"


@each_library
async def test_explicit_headers_of_the_call_win(send: Sender, provider: Provider, gateway: Provider) -> None:
    """What the call itself says stands, on one line."""
    with hc.context(user_id="ambient"):
        await send(
            settings_for(provider, gateway.url),
            f"{provider.url}/v1/chat/completions",
            headers={"helicone-user-id": "mine", "Helicone-Property-A": "b"},
        )
    lines = [(name.lower(), value) for name, value in gateway.requests[0].raw_headers]
    assert [value for name, value in lines if name == b"helicone-user-id"] == [b"mine"]
    assert [value for name, value in lines if name == b"helicone-property-a"] == [b"b"]


@pytest.mark.parametrize("layers", [1, 2])
@each_library
async def test_a_dead_gateway_costs_one_warning_and_no_call(
    send: Sender, layers: int, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    """Three calls are answered by the provider itself, without any header of ours; the log has one line.

    The same where a client that is connected meets a library that is wrapped as a whole.
    """
    settings = settings_for(provider, a_dead_url())
    if layers == 2:
        hc.install(settings)
    url = f"{provider.url}/v1/chat/completions"
    with caplog.at_level(logging.WARNING, "heliconnect"), hc.context(user_id=USER):
        for _ in range(3):
            assert await send(settings, url, headers={"Helicone-Property-A": "b"}) == (200, url)
    assert len(provider.requests) == 3
    assert not [name for got in provider.requests for name in got.headers if name.startswith("helicone")]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "cannot be reached" in caplog.text
    assert "secret" not in caplog.text


@each_library
async def test_something_else_on_the_gateways_port_is_no_gateway(send: Sender, provider: Provider) -> None:
    """An answer without a gateway's mark is not given to the caller: the call goes to its provider."""
    with Provider() as stranger:
        stranger.always(Reply(status=404))
        url = f"{provider.url}/v1/chat/completions"
        assert await send(settings_for(provider, stranger.url), url) == (200, url)
        assert (len(stranger.requests), len(provider.requests)) == (1, 1)


@each_library
async def test_a_gateway_that_sent_nothing_on_is_passed_by(send: Sender, provider: Provider, gateway: Provider) -> None:
    """The gateway's own failure before anything reached the provider: sent once more, directly."""
    gateway.always(Reply(status=502, headers=(("helicone-error", "true"), ("helicone-unsent", "true"))))
    url = f"{provider.url}/v1/chat/completions"
    assert await send(settings_for(provider, gateway.url), url) == (200, url)
    assert (len(gateway.requests), len(provider.requests)) == (1, 1)


@each_library
async def test_an_error_that_may_have_been_sent_is_not_sent_again(
    send: Sender, provider: Provider, gateway: Provider
) -> None:
    """A provider's error, and a gateway's without that mark, are the answer."""
    gateway.always(Reply(status=503, headers=(("helicone-error", "true"),)))
    url = f"{provider.url}/v1/chat/completions"
    assert (await send(settings_for(provider, gateway.url), url))[0] == 503
    assert provider.requests == []


@each_library
async def test_a_broken_connection_is_not_sent_again(send: Sender, provider: Provider, gateway: Provider) -> None:
    """Bytes may have reached the provider: the caller sees the error, which names the provider and holds no key."""
    gateway.always(Reply(headers=(GATEWAY_MARK,), cut_after=5))
    errors = (httpx.RemoteProtocolError, httpx2.RemoteProtocolError, aiohttp.ClientPayloadError)
    cut = (requests.exceptions.ChunkedEncodingError, lm15.transports.ProtocolError, lm15.transports.ReadError)
    with pytest.raises((*errors, *cut)) as caught:
        await send_and_read(send, settings_for(provider, gateway.url), f"{provider.url}/v1/chat/completions")
    assert provider.requests == []
    request = getattr(caught.value, "request", None)
    if request is not None:
        assert str(request.url).startswith(provider.url)
        assert "helicone-auth" not in request.headers
    assert "secret" not in repr(caught.value)


async def send_and_read(send: Sender, settings: Settings, url: str) -> None:
    if send is not send_aiohttp:
        await send(settings, url)
        return
    async with hc.connect(aiohttp.ClientSession(), settings) as session, session.post(url, json=BODY) as answer:
        await answer.read()


@each_library
async def test_a_redirect_is_followed_as_before_and_leaks_nothing(
    send: Sender, provider: Provider, gateway: Provider
) -> None:
    """A redirect to another host gets neither our headers nor our key."""
    with Provider() as elsewhere:
        gateway.script(Reply(status=307, headers=(GATEWAY_MARK, ("location", f"{elsewhere.url}/v1/models"))))
        options = {} if send in {send_aiohttp, send_requests} else {"follow_redirects": True}
        with hc.context(user_id=USER):
            await send(settings_for(provider, gateway.url), f"{provider.url}/v1/chat/completions", **options)
        names = [name for got in elsewhere.requests for name in got.headers]
        assert not [name for name in names if name.startswith("helicone") or name == "authorization"]


@each_library
async def test_other_hosts_are_left_alone(send: Sender, provider: Provider, gateway: Provider) -> None:
    """A client that is connected still talks to everybody else directly."""
    settings = Settings(base_url=gateway.url)
    with hc.context(user_id=USER):
        assert (await send(settings, f"{provider.url}/v1/chat/completions"))[0] == 200
    assert gateway.requests == []
    assert "helicone-user-id" not in provider.requests[0].headers


@each_library
async def test_disabled_means_untouched(send: Sender, provider: Provider, gateway: Provider) -> None:
    """With `disabled` the request goes out as if heliconnect were not there."""
    settings = Settings(base_url=gateway.url, providers={provider.url: "openai"}, disabled=True)
    assert (await send(settings, f"{provider.url}/v1/chat/completions"))[0] == 200
    assert gateway.requests == []


def test_a_stream_arrives_piece_by_piece(provider: Provider, gateway: Provider) -> None:
    """The first event is there long before the last one is sent."""
    gateway.always(Reply(headers=(GATEWAY_MARK,), chunk_delay_ms=100))
    with hc.connect(httpx.Client(), settings_for(provider, gateway.url)) as client:
        began = time.monotonic()
        with client.stream("POST", f"{provider.url}/v1/chat/completions", json={**BODY, "stream": True}) as answer:
            times = [time.monotonic() - began for _ in answer.iter_raw()]
    assert len(times) > 5
    assert times[0] < times[-1] / 2


def test_an_upload_is_streamed_and_survives_a_dead_gateway(provider: Provider, gateway: Provider) -> None:
    """A request body that can be read once only is read once only."""

    def parts() -> Iterator[bytes]:
        yield b'{"model": "m", '
        yield b'"messages": []}'

    url = f"{provider.url}/v1/chat/completions"
    with hc.connect(httpx.Client(), settings_for(provider, gateway.url)) as client:
        assert client.post(url, content=parts()).status_code == 200
    with hc.connect(httpx.Client(), settings_for(provider, a_dead_url())) as client:
        assert client.post(url, content=parts()).status_code == 200
    assert gateway.requests[0].json() == provider.requests[0].json() == {"model": "m", "messages": []}


async def test_an_async_upload_survives_a_dead_gateway(provider: Provider) -> None:
    """aiohttp's generators are not consumed before there is a connection."""

    async def parts() -> AsyncIterator[bytes]:
        yield json.dumps(BODY).encode()

    async with hc.connect(aiohttp.ClientSession(), settings_for(provider, a_dead_url())) as session:
        async with session.post(f"{provider.url}/v1/chat/completions", data=parts()) as answer:
            assert answer.status == 200
    assert provider.requests[0].json() == BODY


def test_a_gateway_that_does_not_answer_is_bounded(provider: Provider) -> None:
    """A full backlog swallows connections: the wait ends with connect_timeout_ms, then the call goes direct."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        settings = Settings(
            base_url=f"http://127.0.0.1:{full.getsockname()[1]}",
            providers={provider.url: "openai"},
            connect_timeout_ms=200,
        )
        began = time.monotonic()
        with hc.connect(httpx.Client(timeout=30), settings) as client:
            assert client.post(f"{provider.url}/v1/chat/completions", json=BODY).status_code == 200
        assert time.monotonic() - began < 5
        for filler in fillers:
            filler.close()


def test_sdk_retries_are_attempts_with_ids_of_their_own(provider: Provider, gateway: Provider) -> None:
    """Two failures and a success are three records."""
    gateway.script(*(Reply(status=500, headers=(GATEWAY_MARK, ("retry-after-ms", "1"))) for _ in range(2)))
    with hc.connect(
        openai.OpenAI(base_url=f"{provider.url}/v1", api_key="k"), settings_for(provider, gateway.url)
    ) as client:
        client.chat.completions.create(model="m", messages=MESSAGES)
    ids = [got.headers["helicone-request-id"] for got in gateway.requests]
    assert len(set(ids)) == len(ids) == 3
    assert hc.last_request_id() == ids[-1]
    assert [got.headers.get("helicone-property-retry-of") for got in gateway.requests] == [None, ids[0], ids[0]]


@each_library
async def test_the_same_call_after_a_failure_names_its_first_attempt(
    send: Sender, provider: Provider, gateway: Provider
) -> None:
    """Whoever retries; another call, and one after a success, is none."""
    url, other = f"{provider.url}/v1/chat/completions", f"{provider.url}/v1/embeddings"
    gateway.script(Reply(status=429, headers=(GATEWAY_MARK,)), Reply(headers=(GATEWAY_MARK,)))
    for one in (url, url, url, other):
        await send(settings_for(provider, gateway.url), one)
    first = gateway.requests[0].headers["helicone-request-id"]
    links = [got.headers.get("helicone-property-retry-of") for got in gateway.requests]
    assert links == [None, first, None, None]


@each_library
async def test_the_same_question_of_the_next_user_is_no_retry(
    send: Sender, provider: Provider, gateway: Provider
) -> None:
    """A thread that served one user, whose call failed, serves another: nothing of the first shows with the second."""
    url = f"{provider.url}/v1/chat/completions"
    gateway.script(*(Reply(status=500, headers=(GATEWAY_MARK,)) for _ in range(3)))
    for user, session in (("ada", "1"), ("bob", "1"), ("bob", "2")):
        with hc.context(user_id=user, session_id=session):
            await send(settings_for(provider, gateway.url), url)
    assert [got.headers.get("helicone-property-retry-of") for got in gateway.requests] == [None, None, None]


async def test_a_hundred_users_at_once_do_not_mix(provider: Provider, gateway: Provider) -> None:
    """Each call carries the user whose question it asks."""
    client = openai.AsyncOpenAI(base_url=f"{provider.url}/v1", api_key="k")
    hc.connect(client, settings_for(provider, gateway.url))

    async def one(number: int) -> None:
        with hc.context(user_id=f"user-{number}"):
            await asyncio.sleep(0.001 * (number % 7))
            content = [{"role": "user", "content": f"user-{number}"}]
            await client.chat.completions.create(model="m", messages=content)

    await asyncio.gather(*(one(number) for number in range(100)))
    await client.close()
    pairs = [(got.headers["helicone-user-id"], got.json()["messages"][0]["content"]) for got in gateway.requests]
    assert len(pairs) == 100
    assert all(user == asked for user, asked in pairs)


@pytest.mark.parametrize("send", [SENDERS[1], SENDERS[3], SENDERS[4]])
async def test_a_cancelled_call_ends_its_run(send: Sender, provider: Provider, gateway: Provider) -> None:
    """No callback tells of a cancellation, so the wire takes the run out of force."""
    gateway.always(Reply(headers=(GATEWAY_MARK,), first_byte_delay_ms=3_000))
    run = enter_run(CallContext(session_path="/x"))
    task = asyncio.create_task(send(settings_for(provider, gateway.url), f"{provider.url}/v1/chat/completions"))
    while not gateway.requests:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not run.active


@each_library
async def test_a_call_addressed_to_the_gateway_gets_its_context(
    send: Sender, provider: Provider, gateway: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    """It keeps its URL; with a dead gateway there is no other way, and we say so."""
    url = f"{gateway.url}/oai/v1/chat/completions"
    with hc.context(user_id=USER):
        assert await send(Settings(base_url=gateway.url, api_key="sk-helicone-a"), url) == (200, url)
    (got,) = gateway.requests
    assert (got.path, got.headers["helicone-user-id"]) == ("/oai/v1/chat/completions", USER)
    assert got.headers["helicone-auth"] == "Bearer sk-helicone-a"
    dead = a_dead_url()
    for _ in range(2):
        with pytest.raises(NO_CONNECTION):
            await send(Settings(base_url=dead), f"{dead}/v1/chat/completions")
    assert [record.getMessage().count("have no provider to go to") for record in caplog.records] == [1]


@each_library
async def test_a_disabled_block_leaves_calls_alone(send: Sender, provider: Provider, gateway: Provider) -> None:
    """In this task and those it starts inside, and in no other."""
    settings, url = settings_for(provider, gateway.url), f"{provider.url}/v1/chat/completions"
    with hc.disabled():
        await send(settings, url)
        await asyncio.create_task(send(settings, url))
    await send(settings, url)
    assert (len(provider.requests), len(gateway.requests)) == (2, 1)


@each_library
async def test_an_adapters_reference_reaches_no_provider(send: Sender, provider: Provider, gateway: Provider) -> None:
    """A call that is not routed in the end leaves without it, and with the caller's own headers as they were."""
    headers = {CONTEXT_REF: "0" * 32, "Helicone-Property-Own": "kept"}
    await send(Settings(base_url=gateway.url), f"{provider.url}/v1/chat/completions", headers=headers)
    (got,) = provider.requests
    assert CONTEXT_REF.lower() not in got.headers
    assert got.headers["helicone-property-own"] == "kept"
