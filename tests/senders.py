"""One sender for each HTTP library, all alike, and what tests of the wire share."""

from __future__ import annotations

import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import httpx
import httpx2
import lm15.transports
import pytest
import requests
from yarl import URL

import heliconnect as hc
from heliconnect.settings import Settings
from heliconnect.testing import Provider

MESSAGES = [{"role": "user", "content": "hi"}]
BODY = {"model": "gpt-4o", "messages": MESSAGES}
USER = "Zoë 東京"


NO_CONNECTION = (
    *(httpx.ConnectError, httpx2.ConnectError, aiohttp.ClientConnectorError, requests.ConnectionError),
    lm15.transports.ConnectError,
)
FAILURES = (
    *(httpx.HTTPError, httpx2.HTTPError, aiohttp.ClientError, requests.RequestException, TimeoutError),
    lm15.transports.TransportError,
)


def settings_for(provider: Provider, gateway_url: str, name: str = "openai") -> Settings:
    known = {provider.url: name}
    return Settings(
        api_key="sk-helicone-secret", base_url=gateway_url, providers=known, cooldown_ms=60_000, record_direct=False
    )


def a_dead_url() -> str:
    """A loopback URL where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def path_of(provider: Provider, path: str = "/v1/chat/completions") -> str:
    return provider.url + path


async def send_httpx(settings: Settings, url: str, **options: Any) -> tuple[int, str]:
    with hc.connect(httpx.Client(), settings) as client:
        answer = client.post(url, json=BODY, **options)
        return answer.status_code, str(answer.request.url)


async def send_httpx_async(settings: Settings, url: str, **options: Any) -> tuple[int, str]:
    async with hc.connect(httpx.AsyncClient(), settings) as client:
        answer = await client.post(url, json=BODY, **options)
        return answer.status_code, str(answer.request.url)


async def send_httpx2(settings: Settings, url: str, **options: Any) -> tuple[int, str]:
    with hc.connect(httpx2.Client(), settings) as client:
        answer = client.post(url, json=BODY, **options)
        return answer.status_code, str(answer.request.url)


async def send_httpx2_async(settings: Settings, url: str, **options: Any) -> tuple[int, str]:
    async with hc.connect(httpx2.AsyncClient(), settings) as client:
        answer = await client.post(url, json=BODY, **options)
        return answer.status_code, str(answer.request.url)


async def send_aiohttp(settings: Settings, url: str, **options: Any) -> tuple[int, str]:
    async with (
        hc.connect(aiohttp.ClientSession(), settings) as session,
        session.post(URL(url, encoded=True), json=BODY, **options) as answer,
    ):
        await answer.read()
        return answer.status, str(answer.request_info.url)


async def send_requests(settings: Settings, url: str, **options: Any) -> tuple[int, str]:
    with hc.connect(requests.Session(), settings) as session:
        options.pop("follow_redirects", None)
        answer = session.post(url, json=BODY, **options)
        return answer.status_code, str(answer.request.url)


def lm15_request(url: str, options: dict[str, Any], content: Any = None) -> lm15.transports.TransportRequest:
    headers = [("Content-Type", "application/json"), *dict(options.get("headers") or {}).items()]
    body = json.dumps(content or BODY).encode()
    return lm15.transports.TransportRequest("POST", url, headers, body, read_timeout=options.get("timeout"))


async def send_lm15(settings: Settings, url: str, **options: Any) -> tuple[int, str]:
    with hc.connect(lm15.transports.StdlibTransport(), settings) as transport:
        with transport.stream(lm15_request(url, options)) as answer:
            answer.read()
            return answer.status, url


async def send_lm15_async(settings: Settings, url: str, **options: Any) -> tuple[int, str]:
    async with hc.connect(lm15.transports.StdlibAsyncTransport(), settings) as transport:
        async with transport.stream(lm15_request(url, options)) as answer:
            await answer.read()
            return answer.status, url


Sender = Callable[..., Awaitable[tuple[int, str]]]
SENDERS = [
    pytest.param(send_httpx, id="httpx"),
    pytest.param(send_httpx_async, id="httpx-async"),
    pytest.param(send_httpx2, id="httpx2"),
    pytest.param(send_httpx2_async, id="httpx2-async"),
    pytest.param(send_aiohttp, id="aiohttp"),
    pytest.param(send_requests, id="requests"),
    pytest.param(send_lm15, id="lm15"),
    pytest.param(send_lm15_async, id="lm15-async"),
]
each_library = pytest.mark.parametrize("send", SENDERS)
