"""Calls that went straight to their provider: each is recorded once the gateway is there again, and none is harmed."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import httpx2
import lm15.transports
import openai
import pytest
import requests

import heliconnect as hc
from heliconnect.sender import get_sender
from heliconnect.server.supervisor import ServerOptions, running
from heliconnect.settings import Settings
from heliconnect.testing import Provider, Reply
from tests.conftest import Running
from tests.senders import BODY, MESSAGES, Sender, a_dead_url, each_library, lm15_request, settings_for

STREAM = {**BODY, "stream": True, "stream_options": {"include_usage": True}}


def recording(provider: Provider, url: str) -> Settings:
    return replace(settings_for(provider, url), record_direct=True)


async def call_all(provider: Provider, settings: Settings) -> int:
    """One call in each way, whole and streamed; gives how many."""
    url, key = f"{provider.url}/v1/chat/completions", {"Authorization": "Bearer sk-provider-secret"}
    for module in (httpx, httpx2):
        with hc.connect(module.Client(headers=key), settings) as client:
            assert client.post(url, json=BODY).json()["object"] == "chat.completion"
            with client.stream("POST", url, json=STREAM) as answer:
                assert b"[DONE]" in b"".join(answer.iter_bytes())
        async with hc.connect(module.AsyncClient(headers=key), settings) as client:
            assert (await client.post(url, json=BODY)).json()["object"] == "chat.completion"
            async with client.stream("POST", url, json=STREAM) as answer:
                assert b"[DONE]" in b"".join([piece async for piece in answer.aiter_bytes()])
    async with hc.connect(aiohttp.ClientSession(headers=key), settings) as session:
        for body in (BODY, STREAM):
            async with session.post(url, json=body) as answer:
                assert await answer.read()
    with hc.connect(requests.Session(), settings) as one:
        assert one.post(url, json=BODY, headers=key).json()["object"] == "chat.completion"
        with one.post(url, json=STREAM, headers=key, stream=True) as answer:
            assert b"[DONE]" in b"".join(answer.iter_content(None))
    with hc.connect(lm15.transports.StdlibTransport(), settings) as transport:
        for body in (BODY, STREAM):
            with transport.stream(lm15_request(url, {"headers": key}, body)) as answer:
                assert answer.read()
    async with hc.connect(lm15.transports.StdlibAsyncTransport(), settings) as transport:
        for body in (BODY, STREAM):
            async with transport.stream(lm15_request(url, {"headers": key}, body)) as answer:
                assert await answer.read()
    with hc.connect(openai.OpenAI(base_url=f"{provider.url}/v1", api_key="sk-provider-secret"), settings) as sdk:
        sdk.chat.completions.create(model="gpt-4o", messages=MESSAGES)
        assert list(sdk.chat.completions.create(**STREAM))
    return 18


async def test_what_went_directly_is_recorded_later(provider: Provider, tmp_path: Path) -> None:
    """Every library, whole and streamed: the provider saw each call once, and the gateway records each once."""
    dead, user = a_dead_url(), f"direct {uuid.uuid4()}"
    with hc.context(user_id=user, properties={"tier": "pro"}), hc.session("trip"), hc.step("search"):
        count = await call_all(provider, recording(provider, dead))
        last = hc.last_request_id()
    assert len(provider.requests) == count
    assert hc.flush(20)
    waiting = get_sender()._outbox.waiting()
    assert len(waiting) == count
    assert not [path for path in waiting if b"secret" in path.read_bytes()]
    options = ServerOptions(data_dir=tmp_path, port=int(dead.rpartition(":")[2]), upstreams={"openai": provider.url})
    with running(options) as server:
        records = Running(server, provider).records(user, count, timeout_s=30)
    assert last in {record["request_id"] for record in records}
    assert len({record["request_id"] for record in records}) == count
    for record in records:
        assert record["response_status"] == 200, record
        assert record["request_properties"]["tier"] == "pro"
        assert record["request_properties"]["Helicone-Session-Path"] == "/search"
        assert record["provider"] == "OPENAI"
        assert record["prompt_tokens"] > 0
        assert record["completion_tokens"] > 0
        assert record["costUSD"] > 0
        assert record["request_body"]["messages"] == MESSAGES
    assert get_sender()._outbox.waiting() == []


@each_library
async def test_nothing_is_kept_where_nothing_is_wanted(send: Sender, provider: Provider) -> None:
    """record_direct=False, and calls of no provider."""
    await send(settings_for(provider, a_dead_url()), f"{provider.url}/v1/chat/completions")
    await send(Settings(base_url=a_dead_url()), f"{provider.url}/v1/chat/completions")
    assert (hc.status().queued, hc.status().waiting, hc.status().sent) == (0, 0, 0)


Wait = Callable[[Callable[[], object]], None]


async def test_errors_cuts_and_readers_that_leave(provider: Provider, wait_until: Wait) -> None:
    """A provider's error has its status, a cut answer none, and one that is not read to its end is cancelled."""
    settings, url = recording(provider, a_dead_url()), f"{provider.url}/v1/chat/completions"
    provider.script(Reply(status=429), Reply(cut_after=20), Reply(), Reply(chunk_delay_ms=50))
    with hc.connect(httpx.Client(), settings) as client:
        assert client.post(url, json=BODY).status_code == 429
        with pytest.raises(httpx.RemoteProtocolError):
            client.post(url, json=BODY)
        with client.stream("POST", url, json=STREAM) as answer:
            next(answer.iter_bytes())
    async with hc.connect(aiohttp.ClientSession(), settings) as session:
        async with session.post(url, json=STREAM) as left:
            await left.content.readany()
    assert hc.flush(10)
    wait_until(lambda: hc.status().waiting >= 4)
    found = [path.read_bytes() for path in get_sender()._outbox.waiting()]
    statuses = [b'"status": 429', b'"status": null', b'"status": -3', b'"status": -3']
    assert [status in body for status, body in zip(statuses, found, strict=True)] == [True] * 4


async def test_an_upload_and_a_picture_are_described(provider: Provider) -> None:
    """Bodies that are no text are not kept; their kind and size are."""

    async def parts() -> AsyncIterator[bytes]:
        yield b"sound" * 100

    settings, url = recording(provider, a_dead_url()), f"{provider.url}/v1/audio/transcriptions"
    async with hc.connect(httpx.AsyncClient(), settings) as client:
        await client.post(url, content=parts(), headers={"Content-Type": "audio/wav"})
        await client.post(url, files={"file": b"\x00\xff" * 100})
    assert hc.flush(10)
    bodies: list[Any] = [path.read_bytes() for path in get_sender()._outbox.waiting()]
    assert b"audio/wav" in bodies[0]
    assert b"multipart/form-data" in bodies[1]
    assert b"sound" not in bodies[0]


@each_library
async def test_a_call_that_the_gateway_could_not_pass_on_has_two_records(
    send: Sender, live: Running, provider: Provider
) -> None:
    """The gateway's own, which failed, and that of the call that went directly, which names it."""
    user = f"direct {uuid.uuid4()}"
    settings = Settings(base_url=live.url, providers={provider.url: "nobody"})
    target = {"Helicone-Target-URL": a_dead_url(), "Helicone-User-Id": user}
    assert (await send(settings, f"{provider.url}/v1/chat/completions", headers=target))[0] == 200
    assert hc.flush(10)
    failed, made = sorted(live.records(user, 2), key=lambda record: record["response_status"] == 200)
    assert failed["response_status"] != 200
    assert made["response_status"] == 200
    assert made["properties"]["retry-of"] == failed["request_id"]
