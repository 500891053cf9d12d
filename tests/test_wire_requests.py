"""requests beside heliconnect: what it shows, raises and trusts stays; no proxy sees a gateway of this machine."""

from __future__ import annotations

import io
from typing import Any

import aiohttp
import httpx
import httpx2
import openai
import pytest
import requests

import heliconnect as hc
from heliconnect.testing import Provider, Reply
from tests.conftest import GATEWAY_MARK
from tests.plane import RawUpstream
from tests.senders import BODY, path_of, settings_for

UNSENT = Reply(status=502, headers=(("helicone-error", "true"), ("helicone-unsent", "true")))
HTTPX = [pytest.param(module, id=module.__name__) for module in (httpx, httpx2)]


def test_requests_sees_the_provider_everywhere(provider: Provider, gateway: Provider) -> None:
    """Response, error, hook and redirect name the provider and hold no key; its own redirect rules hold."""
    seen: list[str] = []
    gateway.script(
        Reply(status=307, headers=(GATEWAY_MARK, ("location", "/v1/models"))),
        Reply(status=400, headers=(GATEWAY_MARK,)),
    )
    with hc.connect(requests.Session(), settings_for(provider, gateway.url)) as session:
        session.hooks["response"].append(lambda response, **_: seen.append(response.url))
        answer = session.post(path_of(provider), json=BODY, headers={"Authorization": "Bearer sk-provider"})
        assert (answer.url, [hop.url for hop in answer.history]) == (
            path_of(provider, "/v1/models"),
            [path_of(provider)],
        )
        assert seen == [path_of(provider), path_of(provider, "/v1/models")]
        with pytest.raises(requests.HTTPError) as caught:
            answer.raise_for_status()
    assert not [name for name in caught.value.request.headers if name.lower().startswith("helicone")]
    assert "secret" not in repr(caught.value.request.headers)
    assert [got.headers["authorization"] for got in gateway.requests] == ["Bearer sk-provider"] * 2
    assert len({got.headers["helicone-request-id"] for got in gateway.requests}) == 2


def test_requests_keeps_its_errors_proxies_and_adapters(provider: Provider, gateway: Provider) -> None:
    """A read timeout holds the caller's request; an adapter of one's own still sends; a file is sent again whole."""

    class Own(requests.adapters.HTTPAdapter):
        sent = 0

        def send(self, request: Any, *arguments: Any, **options: Any) -> Any:
            Own.sent += 1
            return super().send(request, *arguments, **options)

    gateway.script(Reply(headers=(GATEWAY_MARK,), first_byte_delay_ms=2_000))
    with hc.connect(requests.Session(), settings_for(provider, gateway.url)) as session:
        session.mount("http://", Own())
        assert session.get_adapter(provider.url).max_retries.total == 0
        with pytest.raises(requests.ReadTimeout) as caught:
            session.post(path_of(provider), json=BODY, timeout=0.2)
        assert caught.value.request.url == path_of(provider)
        gateway.always(UNSENT)
        answer = session.post(path_of(provider), data=io.BytesIO(b"sound" * 1000))
        assert (answer.status_code, answer.url, Own.sent) == (200, path_of(provider), 3)
    assert [len(got.body) for got in (gateway.requests[-1], provider.requests[-1])] == [5000, 5000]
    with hc.connect(requests.Session(), settings_for(provider, gateway.url.replace("http:", "https:"))) as session:
        assert session.post(path_of(provider), json=BODY).status_code == 200
    assert len(provider.requests) == 2


# Proxies of the environment


async def test_a_proxy_of_the_environment_never_sees_a_call_to_a_gateway_on_this_machine(
    provider: Provider, gateway: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plain request to it would show both keys to the proxy, which could not reach it anyway."""
    with RawUpstream(b"HTTP/1.1 502 Bad\r\nContent-Length: 0\r\n\r\n") as proxy:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        settings, url = settings_for(provider, gateway.url), path_of(provider)
        for module in (httpx, httpx2):
            with hc.connect(module.Client(), settings) as client:
                client.post(url, json=BODY)
            async with hc.connect(module.AsyncClient(), settings) as client:
                await client.post(url, json=BODY)
        async with hc.connect(aiohttp.ClientSession(trust_env=True), settings) as session:
            await session.post(url, json=BODY)
            await session.post(url, json=BODY, proxy=proxy.url)
        with hc.connect(requests.Session(), settings) as one:
            one.post(url, json=BODY)
            one.post(url, json=BODY, proxies={"http": proxy.url})
        with hc.connect(openai.OpenAI(base_url=f"{provider.url}/v1", api_key="k"), settings) as sdk:
            sdk.models.list()
    assert proxy.received == []
    assert (len(gateway.requests), len(provider.requests)) == (9, 0)
