"""Harm that routing must not do: keys in errors, headers for strangers, calls that behave unlike before."""

from __future__ import annotations

import asyncio
import functools
import io
import sys
import weakref
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import httpx2
import litellm
import pytest

import heliconnect as hc
from heliconnect.callcontext import CallContext, enter_run
from heliconnect.settings import Settings
from heliconnect.testing import Provider, Reply
from heliconnect.wire.switch import switch
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
    path_of,
    settings_for,
)

UNSENT = Reply(status=502, headers=(("helicone-error", "true"), ("helicone-unsent", "true")))
HTTPX = [pytest.param(module, id=module.__name__) for module in (httpx, httpx2)]


def names_at(*providers: Provider) -> list[str]:
    return [name for one in providers for got in one.requests for name in got.headers]


# Keys


async def test_an_aiohttp_error_shows_the_provider_and_no_key(provider: Provider, gateway: Provider) -> None:
    """raise_for_status, of the session or the call, shows neither the gateway's URL nor our key."""
    gateway.always(Reply(status=400, headers=(GATEWAY_MARK,)))
    for of_session, of_call in ((True, None), (False, True)):
        session = aiohttp.ClientSession(raise_for_status=of_session)
        async with hc.connect(session, settings_for(provider, gateway.url)):
            options = {} if of_call is None else {"raise_for_status": of_call}
            with pytest.raises(aiohttp.ClientResponseError) as caught:
                await session.post(path_of(provider), json=BODY, **options)
        assert str(caught.value.request_info.url) == path_of(provider)
        assert "secret" not in repr(caught.value) + repr(caught.value.request_info.headers)


@pytest.mark.parametrize("module", HTTPX)
async def test_an_httpx_hook_that_raises_shows_no_key(module: Any, provider: Provider, gateway: Provider) -> None:
    """A response hook that raises for a status: its error holds the caller's own request."""
    gateway.always(Reply(status=400, headers=(GATEWAY_MARK,)))

    async def later(response: Any) -> None:
        response.raise_for_status()

    def at_once(response: Any) -> None:
        response.raise_for_status()

    with hc.connect(module.Client(event_hooks={"response": [at_once]}), settings_for(provider, gateway.url)) as client:
        with pytest.raises(module.HTTPStatusError) as caught:
            client.post(path_of(provider), json=BODY)
    shown = [caught.value]
    async with hc.connect(
        module.AsyncClient(event_hooks={"response": [later]}), settings_for(provider, gateway.url)
    ) as client:
        with pytest.raises(module.HTTPStatusError) as caught:
            await client.post(path_of(provider), json=BODY)
    shown.append(caught.value)
    for error in shown:
        assert str(error.request.url) == str(error.response.request.url) == path_of(provider)
        assert not [name for name in error.request.headers if name.startswith("helicone")]


@pytest.mark.parametrize("module", HTTPX)
def test_the_next_request_of_a_redirect_is_the_callers(module: Any, provider: Provider, gateway: Provider) -> None:
    """Who follows redirects by hand gets a request to the provider, with nothing of ours in it."""
    gateway.script(Reply(status=307, headers=(GATEWAY_MARK, ("location", "/v1/elsewhere"))))
    with hc.connect(module.Client(), settings_for(provider, gateway.url)) as client, hc.context(user_id=USER):
        answer = client.post(path_of(provider), json=BODY)
    assert str(answer.next_request.url) == f"{provider.url}/v1/elsewhere"
    assert not [name for name in answer.next_request.headers if name.startswith("helicone")]


async def test_session_headers_of_helicone_stay_with_the_gateway(provider: Provider, gateway: Provider) -> None:
    """What an aiohttp session says to Helicone by default does not reach a provider that is called directly."""
    said = {"Helicone-User-Id": "u", "Helicone-Auth": "Bearer sk-helicone-own"}
    for url in (gateway.url, a_dead_url()):
        async with hc.connect(aiohttp.ClientSession(headers=said), settings_for(provider, url)) as session:
            async with session.post(path_of(provider), json=BODY) as answer:
                assert answer.status == 200
    assert gateway.requests[0].headers["helicone-auth"] == "Bearer sk-helicone-own"
    assert len(provider.requests) == 1
    assert not [name for name in names_at(provider) if name.startswith("helicone")]


async def test_the_providers_key_does_not_follow_an_aiohttp_redirect_elsewhere(
    provider: Provider, gateway: Provider
) -> None:
    """As aiohttp does by itself: another origin gets no Authorization; the same one does, through the gateway."""
    with Provider() as elsewhere:
        replies = [("location", path_of(elsewhere, "/v1/models")), ("location", "/v1/models")]
        gateway.script(*(Reply(status=307, headers=(GATEWAY_MARK, to)) for to in replies))
        session = aiohttp.ClientSession(headers={"Authorization": "Bearer sk-provider"})
        async with hc.connect(session, settings_for(provider, gateway.url)), session.get(path_of(provider)) as answer:
            assert answer.url.path == "/v1/models"
        async with hc.connect(aiohttp.ClientSession(), settings_for(provider, gateway.url)) as session:
            async with session.get(path_of(provider), headers={"Authorization": "Bearer sk-provider"}) as answer:
                assert str(answer.url) == path_of(provider, "/v1/models")
                assert [str(hop.url) for hop in answer.history] == [path_of(provider)]
        assert "authorization" not in names_at(elsewhere)
    assert gateway.requests[-1].headers["authorization"] == "Bearer sk-provider"
    assert len({got.headers["helicone-request-id"] for got in gateway.requests}) == 3


# Routing


@each_library
async def test_without_failover_a_call_fails_rather_than_leave_unrecorded(send: Sender, provider: Provider) -> None:
    """failover=False holds whatever other clients did to the gateway's state, and does nothing to theirs."""
    url = a_dead_url()
    strict = Settings(base_url=url, providers={provider.url: "openai"}, failover=False)
    with pytest.raises(NO_CONNECTION):
        await send(strict, path_of(provider))
    assert switch.breaker.state(url).is_reachable
    assert await send(settings_for(provider, url), path_of(provider)) == (200, path_of(provider))
    with pytest.raises(NO_CONNECTION):
        await send(strict, path_of(provider))
    assert len(provider.requests) == 1


async def test_httpx_over_aiohttp_asks_the_gateway_once(provider: Provider, gateway: Provider) -> None:
    """LiteLLM's httpx sends by aiohttp: a call that the upper one sends directly is left alone by the lower one."""
    gateway.always(UNSENT)
    hc.install(settings_for(provider, gateway.url, "groq"))
    await litellm.acompletion("groq/m", MESSAGES, api_base=f"{provider.url}/openai/v1", api_key="k")
    assert (len(gateway.requests), len(provider.requests)) == (1, 1)


def test_connect_touches_nothing_but_its_client(provider: Provider, gateway: Provider) -> None:
    """No class and no import is patched for one client; its type stays one of the library's."""
    before = [httpx.Client.send, httpx.AsyncClient.send, httpx2.Client.send, aiohttp.ClientSession._request]
    finders = list(sys.meta_path)

    class Own(httpx.Client):
        def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
            assert str(request.url) == path_of(provider)
            return super().send(request, **options)

    with hc.connect(Own(), settings_for(provider, gateway.url)) as client, Own() as other:
        assert isinstance(client, Own)
        assert type(client).__name__ == "Own"
        client.post(path_of(provider), json=BODY)
        other.post(path_of(provider), json=BODY)
    assert (len(gateway.requests), len(provider.requests)) == (1, 1)
    after = [httpx.Client.send, httpx.AsyncClient.send, httpx2.Client.send, aiohttp.ClientSession._request]
    assert after == before
    assert not [one for one in after if hasattr(one, "_heliconnect")]
    assert sys.meta_path == finders


def test_uninstall_takes_everything_back() -> None:
    """Classes and the import system are as they were before install()."""
    before = [httpx.Client.send, httpx2.AsyncClient.send, aiohttp.ClientSession._request, list(sys.meta_path)]
    hc.install(Settings(base_url="http://127.0.0.1:1"))
    assert before[0] is not httpx.Client.send
    hc.uninstall()
    hc.uninstall()
    assert [httpx.Client.send, httpx2.AsyncClient.send, aiohttp.ClientSession._request, list(sys.meta_path)] == before


@pytest.mark.parametrize("looks_like_ours", [False, True])
def test_uninstall_leaves_what_others_wrapped_since(
    provider: Provider, gateway: Provider, looks_like_ours: bool
) -> None:
    """Another tool's wrapper over ours stays in force, ours below it lets everything pass; install() works again.

    It may show the attributes of ours, as `functools.wraps` lets it.
    """
    hc.install(settings_for(provider, gateway.url))
    ours, seen = httpx.Client.send, []

    def theirs(self: httpx.Client, request: httpx.Request, **options: Any) -> httpx.Response:
        seen.append(str(request.url))
        return ours(self, request, **options)

    if looks_like_ours:
        theirs = functools.wraps(ours)(theirs)
    httpx.Client.send = theirs  # type: ignore[method-assign, assignment]  # as tracing tools do
    try:
        hc.uninstall()
        httpx.post(path_of(provider), json=BODY)
        assert (len(seen), len(gateway.requests), len(provider.requests)) == (1, 0, 1)
        hc.install(settings_for(provider, gateway.url))
        httpx.post(path_of(provider), json=BODY)
        assert (len(gateway.requests), len(provider.requests)) == (1, 1)
    finally:
        httpx.Client.send = ours  # type: ignore[method-assign]  # takes theirs away again
        hc.uninstall()


def test_a_connected_client_is_freed_when_its_owner_lets_go(provider: Provider) -> None:
    """connect() makes no cycle and holds no reference."""
    client = hc.connect(httpx.Client(), settings_for(provider, a_dead_url()))
    client.close()
    watched = weakref.ref(client)
    del client
    assert watched() is None


# Behaviour


async def test_aiohttp_gives_up_on_endless_redirects(provider: Provider, gateway: Provider) -> None:
    """By aiohttp's own count and error."""
    gateway.always(Reply(status=302, headers=(GATEWAY_MARK, ("location", "/v1/models"))))
    async with hc.connect(aiohttp.ClientSession(), settings_for(provider, gateway.url)) as session:
        with pytest.raises(aiohttp.TooManyRedirects) as caught:
            await session.get(path_of(provider), max_redirects=3)
    assert len(gateway.requests) == 3
    assert "secret" not in repr(caught.value)


@pytest.mark.parametrize("module", HTTPX)
def test_httpx_gives_up_on_endless_redirects(module: Any, provider: Provider, gateway: Provider) -> None:
    """By the client's own count and error; a redirect that ends shows its history."""
    gateway.script(Reply(status=302, headers=(GATEWAY_MARK, ("location", "/v1/models"))))
    client = module.Client(follow_redirects=True, max_redirects=3)
    with hc.connect(client, settings_for(provider, gateway.url)):
        answer = client.get(path_of(provider))
        assert (str(answer.url), [str(hop.url) for hop in answer.history]) == (
            path_of(provider, "/v1/models"),
            [path_of(provider)],
        )
        gateway.always(Reply(status=302, headers=(GATEWAY_MARK, ("location", "/v1/models"))))
        with pytest.raises(module.TooManyRedirects) as caught:
            client.get(path_of(provider))
    assert caught.value.request.url.host == "127.0.0.1"
    assert "helicone-auth" not in caught.value.request.headers


async def test_aiohttp_keeps_its_timeouts_and_its_query(provider: Provider, gateway: Provider) -> None:
    """A timeout in plain seconds counts, and response.url has the params."""
    gateway.always(Reply(headers=(GATEWAY_MARK,), first_byte_delay_ms=2_000))
    async with hc.connect(aiohttp.ClientSession(), settings_for(provider, gateway.url)) as session:
        with pytest.raises(asyncio.TimeoutError):
            await session.post(path_of(provider), json=BODY, timeout=0.2)
        gateway.always(Reply(headers=(GATEWAY_MARK,)))
        async with session.post(path_of(provider), json=BODY, params={"a": "b c"}) as answer:
            assert str(answer.url) == f"{path_of(provider)}?a=b+c"
    assert gateway.requests[-1].query == "a=b+c"


@pytest.mark.parametrize("module", HTTPX)
def test_a_direct_call_shows_its_own_requests(module: Any, provider: Provider) -> None:
    """With a dead gateway errors hold the caller's request, and a followed redirect shows where it ended."""
    provider.script(Reply(status=307, headers=(("location", "/v1/models"),)))
    client = module.Client(follow_redirects=True)
    with hc.connect(client, settings_for(provider, a_dead_url())):
        assert str(client.get(path_of(provider)).url) == path_of(provider, "/v1/models")
        provider.always(Reply(first_byte_delay_ms=2_000))
        request = client.build_request("POST", path_of(provider), json=BODY, timeout=0.2)
        with pytest.raises(module.ReadTimeout) as caught:
            client.send(request)
    assert caught.value.request is request


@pytest.mark.parametrize("send", [SENDERS[1], SENDERS[3], SENDERS[4]])
async def test_a_cancelled_direct_call_ends_its_run(send: Sender, provider: Provider) -> None:
    """The run of a call that went direct is out of force as well."""
    provider.always(Reply(first_byte_delay_ms=3_000))
    run = enter_run(CallContext(session_path="/x"))
    task = asyncio.create_task(send(settings_for(provider, a_dead_url()), path_of(provider)))
    while not provider.requests:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not run.active


async def test_an_open_file_survives_a_dead_gateway(provider: Provider, gateway: Provider, tmp_path: Path) -> None:
    """An aiohttp upload of a file, of a form, or of bytes in memory arrives whole at the provider instead."""
    path = tmp_path / "speech.bin"
    path.write_bytes(b"sound" * 50_000)
    for settings in (settings_for(provider, a_dead_url()), settings_for(provider, gateway.url)):
        async with hc.connect(aiohttp.ClientSession(), settings) as session:
            for data in (path.open("rb"), io.BytesIO(path.read_bytes()), form_of(path)):
                async with session.post(path_of(provider, "/v1/audio"), data=data) as answer:
                    await answer.read()
    assert [len(got.body) >= 250_000 for got in (*provider.requests, *gateway.requests)] == [True] * 6


def form_of(path: Path) -> aiohttp.FormData:
    form = aiohttp.FormData()
    form.add_field("file", path.open("rb"), filename="speech.bin")
    return form


async def test_a_full_pool_is_no_dead_gateway(provider: Provider, gateway: Provider) -> None:
    """Waiting for a connection of one's own pool ends as it would without us, and the gateway keeps its good name."""
    gateway.always(Reply(headers=(GATEWAY_MARK,), first_byte_delay_ms=1_000))
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=1), timeout=aiohttp.ClientTimeout(total=5, connect=0.2)
    )
    async with hc.connect(session, settings_for(provider, gateway.url)):
        first = asyncio.create_task(session.post(path_of(provider), json=BODY))
        await asyncio.sleep(0.05)
        with pytest.raises(aiohttp.ConnectionTimeoutError):
            await session.post(path_of(provider), json=BODY)
        (await first).close()
    assert switch.breaker.state(gateway.url).is_reachable
    assert provider.requests == []


async def test_a_pinned_certificate_is_not_sent_elsewhere(provider: Provider, gateway: Provider) -> None:
    """Who pins the provider's certificate wants to talk to the provider itself."""
    async with hc.connect(aiohttp.ClientSession(), settings_for(provider, gateway.url)) as session:
        async with session.post(path_of(provider), json=BODY, ssl=aiohttp.Fingerprint(b"x" * 32)) as answer:
            assert answer.status == 200
    assert (len(gateway.requests), len(provider.requests)) == (0, 1)


async def test_aiohttp_middlewares_see_the_providers_request(provider: Provider, gateway: Provider) -> None:
    """A session's own middlewares run before routing, and what they add arrives."""
    seen: list[str] = []

    async def sign(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        seen.append(str(request.url))
        request.headers["X-Signed"] = "yes"
        return await handler(request)

    session = aiohttp.ClientSession(middlewares=[sign])
    async with hc.connect(session, settings_for(provider, gateway.url)), session.post(path_of(provider), json=BODY):
        pass
    assert seen == [path_of(provider)]
    assert gateway.requests[0].headers["x-signed"] == "yes"


# requests
