"""The wire: what httpx, httpx2 and aiohttp send is routed, and nothing about the call changes."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import anthropic
import httpx
import httpx2
import openai
import pytest
from google import genai
from langchain_anthropic import ChatAnthropic
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from yarl import URL

import heliconnect as hc
from heliconnect.callcontext import CallContext, enter_run
from heliconnect.settings import Settings
from heliconnect.testing import Provider, Reply
from tests.conftest import GATEWAY_MARK

MESSAGES = [{"role": "user", "content": "hi"}]
BODY = {"model": "gpt-4o", "messages": MESSAGES}
USER = "Zoë 東京"


def settings_for(provider: Provider, gateway_url: str, name: str = "openai") -> Settings:
    known = {provider.url: name}
    return Settings(api_key="sk-helicone-secret", base_url=gateway_url, providers=known, cooldown_ms=60_000)


def a_dead_url() -> str:
    """A loopback URL where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


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
        return answer.status, str(answer.request_info.url)


Sender = Callable[..., Awaitable[tuple[int, str]]]
SENDERS = [
    pytest.param(send_httpx, id="httpx"),
    pytest.param(send_httpx_async, id="httpx-async"),
    pytest.param(send_httpx2, id="httpx2"),
    pytest.param(send_httpx2_async, id="httpx2-async"),
    pytest.param(send_aiohttp, id="aiohttp"),
]
each_library = pytest.mark.parametrize("send", SENDERS)


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


@each_library
async def test_a_dead_gateway_costs_one_warning_and_no_call(
    send: Sender, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    """Three calls are answered by the provider itself, without any header of ours; the log has one line."""
    settings = settings_for(provider, a_dead_url())
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
    with pytest.raises((httpx.RemoteProtocolError, httpx2.RemoteProtocolError, aiohttp.ClientPayloadError)) as caught:
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
        options = {} if send is send_aiohttp else {"follow_redirects": True}
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


def test_the_two_shells_are_twins(root: Path) -> None:
    """httpx2's shell is httpx's with one word changed."""
    texts = [(root / "heliconnect" / "wire" / f"{name}.py").read_text() for name in ("httpx", "httpx2")]
    assert texts[0].replace("httpx", "httpx2") == texts[1]


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


def test_connect_gives_back_the_same_object(provider: Provider, gateway: Provider) -> None:
    """Same object, same types; twice is once."""
    client = openai.OpenAI(base_url=f"{provider.url}/v1", api_key="k")
    assert (
        hc.connect(hc.connect(client, settings_for(provider, gateway.url)), settings_for(provider, gateway.url))
        is client
    )
    raw = client.chat.completions.with_raw_response.create(model="m", messages=MESSAGES)
    assert type(raw.parse()).__name__ == "ChatCompletion"
    assert str(raw.http_response.request.url).startswith(provider.url)
    assert "helicone-auth" not in raw.http_response.request.headers
    assert len(gateway.requests) == 1
    client.close()


def test_connect_knows_what_it_cannot_route() -> None:
    """The error lists what it can."""
    with pytest.raises(hc.UnsupportedClientError, match=r"OpenAI.*got builtins.dict"):
        hc.connect({})


def test_anthropic_and_langchain_models_are_connected(provider: Provider, gateway: Provider) -> None:
    """Each keeps its HTTP client in another place."""
    as_openai, as_anthropic = (settings_for(provider, gateway.url, name) for name in ("openai", "anthropic"))
    with hc.connect(anthropic.Anthropic(base_url=provider.url, api_key="k"), as_anthropic) as claude:
        claude.messages.create(model="claude-sonnet-4-6", max_tokens=5, messages=MESSAGES)
    chat = ChatOpenAI(model="m", base_url=f"{provider.url}/v1", api_key="k")
    hc.connect(chat, as_openai).invoke("hi")
    vectors = OpenAIEmbeddings(base_url=f"{provider.url}/v1", api_key="k", check_embedding_ctx_length=False)
    hc.connect(vectors, as_openai).embed_query("hi")
    sonnet = ChatAnthropic(model="claude-sonnet-4-6", base_url=provider.url, api_key="k", max_tokens=5)
    hc.connect(sonnet, as_anthropic).invoke("hi")
    assert [got.path for got in gateway.requests] == [
        "/anthropic/v1/messages",
        "/oai/v1/chat/completions",
        "/oai/v1/embeddings",
        "/anthropic/v1/messages",
    ]


async def test_google_genai_is_connected_both_ways(provider: Provider, gateway: Provider) -> None:
    """Its synchronous calls use httpx, its asynchronous ones aiohttp."""
    client = genai.Client(api_key="k", http_options={"base_url": provider.url})
    hc.connect(client, settings_for(provider, gateway.url, "google"))
    with hc.context(user_id=USER):
        client.models.generate_content(model="gemini-2.5-flash", contents="hi")
        await client.aio.models.generate_content(model="gemini-2.5-flash", contents="hi")
    assert [got.headers["helicone-user-id"] for got in gateway.requests] == [USER, USER]
    assert provider.requests == []
    await client.aio.aclose()
    client.close()


def test_install_routes_clients_that_exist_already(provider: Provider, gateway: Provider) -> None:
    """install() and uninstall() switch a whole process, clients made before included; twice is once."""
    url = f"{provider.url}/v1/chat/completions"
    with httpx.Client() as client:
        hc.install(settings_for(provider, gateway.url))
        hc.install(settings_for(provider, gateway.url))
        client.post(url, json=BODY)
        hc.uninstall()
        client.post(url, json=BODY)
        hc.install(settings_for(provider, gateway.url))
        client.post(url, json=BODY)
    assert (len(gateway.requests), len(provider.requests)) == (2, 1)


@pytest.mark.parametrize("order", ["before", "after"])
def test_install_works_before_and_after_the_libraries_are_imported(
    order: str, provider: Provider, gateway: Provider
) -> None:
    """In a fresh process, in either order; install() itself imports none of them."""
    lines = [
        "import heliconnect as hc, sys",
        "hc.install()",
        "assert not {'httpx', 'httpx2', 'aiohttp'} & set(sys.modules)",
    ]
    if order == "after":
        lines = ["import httpx, httpx2, aiohttp, heliconnect as hc", "hc.install()"]
    lines += [
        "import httpx, httpx2, aiohttp, asyncio",
        f"url = '{provider.url}/v1/chat/completions'",
        "httpx.post(url, json={})",
        "httpx2.post(url, json={})",
        "async def main():",
        "    async with aiohttp.ClientSession() as s, s.post(url, json={}) as r: await r.read()",
        "asyncio.run(main())",
    ]
    environ = {"HELICONE_BASE_URL": gateway.url, "HELICONNECT_PROVIDERS": f"openai={provider.url}", "PATH": ""}
    subprocess.run([sys.executable, "-c", "\n".join(lines)], env=environ, check=True, cwd=Path(__file__).parents[1])
    assert (len(gateway.requests), len(provider.requests)) == (3, 0)


def test_a_setting_that_cannot_be_used_harms_no_call(
    provider: Provider, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An environment that turns bad after install costs the record and one log line, not the call."""
    hc.install(Settings(base_url="http://127.0.0.1:1"))
    from heliconnect import settings as module

    module._current = None
    monkeypatch.setenv("HELICONE_BASE_URL", "nonsense")
    with caplog.at_level(logging.ERROR), httpx.Client() as client:
        assert client.post(f"{provider.url}/v1/chat/completions", json=BODY).status_code == 200
        assert client.post(f"{provider.url}/v1/chat/completions", json=BODY).status_code == 200
    assert len(caplog.records) == 1


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
