"""Two layers active at once route a call once; the package stays out of the way until it is needed."""

from __future__ import annotations

import subprocess
import sys

import litellm
import pytest
from langchain_openai import ChatOpenAI

import heliconnect as hc
from heliconnect.testing import Provider
from heliconnect_langchain import HeliconeCallbackHandler
from heliconnect_litellm import HeliconeLogger
from tests.senders import MESSAGES, USER, Sender, each_library, settings_for


@each_library
async def test_connect_and_install_route_a_call_once(send: Sender, provider: Provider, gateway: Provider) -> None:
    """The gateway sees one request, with the user."""
    settings = settings_for(provider, gateway.url)
    hc.install(settings)
    with hc.context(user_id=USER):
        assert (await send(settings, f"{provider.url}/v1/chat/completions"))[0] == 200
    assert len(gateway.requests) == 1
    assert provider.requests == []


async def test_litellm_with_logger_and_install_is_routed_once(
    provider: Provider, gateway: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LiteLLM's httpx, its aiohttp and its logger are three layers: one request."""
    settings = settings_for(provider, gateway.url)
    hc.install(settings)
    monkeypatch.setattr(litellm, "callbacks", [HeliconeLogger()])
    await litellm.acompletion("openai/gpt-4o", MESSAGES, api_base=f"{provider.url}/v1", api_key="k", user="u-1")
    assert [got.headers["helicone-user-id"] for got in gateway.requests] == ["u-1"]
    assert provider.requests == []


async def test_langchain_with_handler_connect_and_install_is_routed_once(provider: Provider, gateway: Provider) -> None:
    """All three at once, sync and async: one request for each call."""
    settings = settings_for(provider, gateway.url)
    hc.install(settings)
    model = hc.connect(ChatOpenAI(model="gpt-4o", api_key="k", base_url=f"{provider.url}/v1"), settings)  # type: ignore[arg-type]  # a str is taken
    config = {"callbacks": [HeliconeCallbackHandler()]}
    model.invoke("hi", config=config)
    await model.ainvoke("hi", config=config)
    assert len(gateway.requests) == 2
    assert provider.requests == []


def test_importing_starts_no_thread_and_takes_little_time() -> None:
    """Importing, and a context, start no thread; the limit is generous, benchmarks/overhead.py has the figure."""
    code = (
        "import threading, time\nbegan = time.perf_counter()\n"
        "import heliconnect as hc\ntook = time.perf_counter() - began\n"
        "with hc.context(user_id=1): hc.headers()\nprint(threading.active_count(), took < 1)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "1 True\n"
