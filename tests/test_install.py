"""install() and connect(): switching routing on and off, for a process and for single clients."""

from __future__ import annotations

import gc
import logging
import subprocess
import sys
from pathlib import Path

import anthropic
import httpx
import openai
import pytest
from google import genai
from langchain_anthropic import ChatAnthropic
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

import heliconnect as hc
from heliconnect.settings import Settings
from heliconnect.testing import Provider
from tests.senders import BODY, MESSAGES, USER, settings_for


def test_the_two_shells_are_twins(root: Path) -> None:
    """httpx2's shell is httpx's with one word changed."""
    texts = [(root / "heliconnect" / "wire" / f"{name}.py").read_text() for name in ("httpx", "httpx2")]
    assert texts[0].replace("httpx", "httpx2") == texts[1]


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


def test_connecting_one_model_leaves_its_neighbours_alone(provider: Provider, gateway: Provider) -> None:
    """LangChain's models share an HTTP client; only the connected one is routed, and both outlive each other."""
    one, two = (ChatOpenAI(model="m", base_url=f"{provider.url}/v1", api_key="k") for _ in range(2))
    hc.connect(hc.connect(one, settings_for(provider, gateway.url)), settings_for(provider, gateway.url))
    one.invoke("routed")
    two.invoke("not routed")
    assert (len(gateway.requests), len(provider.requests)) == (1, 1)
    del one
    gc.collect()
    two.invoke("still there")
    assert len(provider.requests) == 2
    with openai.DefaultHttpxClient() as shared:
        first, second = (
            openai.OpenAI(base_url=f"{provider.url}/v1", api_key="k", http_client=shared) for _ in range(2)
        )
        hc.connect(first, settings_for(provider, gateway.url))
        first.with_options(max_retries=0).models.list()
        second.models.list()
    assert (len(gateway.requests), len(provider.requests)) == (2, 3)


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
