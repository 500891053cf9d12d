"""Who caused which call, under load: every way an app can make a call, at once, with errors and cancellations between.

Each prompt names the user that asked; the gateway sees for whom the call was made.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest
from fastapi import BackgroundTasks, FastAPI, Request
from starlette.middleware import Middleware
from starlette.responses import StreamingResponse

import heliconnect as hc
from heliconnect.starlette import HeliconeMiddleware, from_header
from heliconnect.testing import Provider
from tests.senders import settings_for
from tests.test_starlette import serving

USERS = [f"user-{n}" for n in range(5)]
WAYS = ("async", "sync", "thread", "executor", "stream", "background", "dependency", "large", "cancelled", "failing")


class Caller:
    """Makes calls that name their user in the prompt."""

    def __init__(self, provider: Provider, gateway: Provider) -> None:
        settings = settings_for(provider, gateway.url)
        options: dict[str, Any] = {"base_url": f"{provider.url}/v1", "api_key": "k", "max_retries": 0}
        self._sync = hc.connect(openai.OpenAI(**options), settings)
        self._async = hc.connect(openai.AsyncOpenAI(**options), settings)

    def call(self, tag: str) -> None:
        self._sync.chat.completions.create(model="m", messages=[{"role": "user", "content": tag}])

    async def acall(self, tag: str) -> None:
        await self._async.chat.completions.create(model="m", messages=[{"role": "user", "content": tag}])

    async def close(self) -> None:
        self._sync.close()
        await self._async.close()


def an_app(caller: Caller, pool: ThreadPoolExecutor) -> FastAPI:
    app = FastAPI(middleware=[Middleware(HeliconeMiddleware, user_id=from_header("x-user"))])

    @app.post("/async")
    @app.post("/large")
    @app.post("/cancelled")
    async def in_async(tag: str, request: Request) -> None:
        await request.body()
        await asyncio.sleep(random.random() / 100)
        await asyncio.gather(caller.acall(tag), asyncio.create_task(caller.acall(tag)))

    @app.post("/sync")
    def in_sync(tag: str) -> None:
        caller.call(tag)

    @app.post("/thread")
    def in_thread(tag: str) -> None:
        thread = threading.Thread(target=hc.carry(caller.call), args=(tag,))
        thread.start()
        thread.join()

    @app.post("/executor")
    async def in_executor(tag: str) -> None:
        await asyncio.get_running_loop().run_in_executor(pool, hc.carry(caller.call), tag)

    @app.post("/stream")
    async def streamed(tag: str) -> StreamingResponse:
        async def parts() -> AsyncIterator[str]:
            yield "begun"
            await caller.acall(tag)
            yield "done"

        return StreamingResponse(parts())

    @app.post("/background")
    async def in_background(tag: str, tasks: BackgroundTasks) -> None:
        tasks.add_task(caller.acall, tag)
        tasks.add_task(caller.call, tag)

    @app.post("/dependency")
    def after_identify(tag: str) -> None:
        hc.identify(properties={"late": tag})
        caller.call(tag)

    @app.post("/failing")
    async def failing(tag: str) -> None:
        await caller.acall(tag)
        raise RuntimeError(tag)

    @app.post("/close")
    async def close() -> None:
        await caller.close()

    return app


def close(address: str) -> None:
    """Close the app's clients, in the loop they were used in."""
    httpx.post(f"http://{address}/close")


async def ask(client: httpx.AsyncClient, way: str, user: str, number: int) -> str | None:
    """One request; gives its tag where its calls are certain to be made."""
    tag = f"{user} {way} {number}"
    content = b"x" * 100_000 if way == "large" else b""
    request = client.post(f"/{way}", params={"tag": tag}, headers={"x-user": user}, content=content)
    if way != "cancelled":
        await request
        return tag
    task = asyncio.create_task(request)
    await asyncio.sleep(random.random() / 50)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, httpx.HTTPError):
        await task
    return None


async def ask_all(address: str, calls: list[tuple[str, str, int]]) -> set[str]:
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=20)
    async with httpx.AsyncClient(base_url=f"http://{address}", timeout=60, limits=limits) as client:
        tags = await asyncio.gather(*(ask(client, *call) for call in calls))
    return {tag for tag in tags if tag is not None}


def attributions(gateway: Provider) -> Iterator[tuple[str, str]]:
    """For each call: the user it was made for, and what it asked."""
    for got in gateway.requests:
        yield got.headers.get("helicone-user-id", "nobody"), str(got.json()["messages"][0]["content"])


@pytest.mark.parametrize("http", ["h11", "httptools"])
async def test_no_call_is_for_somebody_else(http: Any, provider: Provider, gateway: Provider) -> None:
    """200 requests at once for each of 5 users, in every way, twice over the same connections: 0 wrong, 0 missing."""
    seed = 7
    random.seed(seed)
    calls = [(random.choice(WAYS), USERS[number % 5], number) for number in range(1_000)]
    caller = Caller(provider, gateway)
    with ThreadPoolExecutor(8) as pool, serving(an_app(caller, pool), http=http) as address:
        expected: set[str] = set()
        for start in range(0, len(calls), 200):
            expected |= await ask_all(address, calls[start : start + 200])
        for _ in range(200):
            found = list(attributions(gateway))
            if expected <= {tag for _, tag in found}:
                break
            await asyncio.sleep(0.05)
        close(address)
    wrong = [(user, tag) for user, tag in found if tag.split()[0] != user]
    assert wrong == []
    assert expected - {tag for _, tag in found} == set()


def test_pipelined_requests_keep_their_users(provider: Provider, gateway: Provider) -> None:
    """Five users' requests in one write on one connection, large bodies between them."""
    caller = Caller(provider, gateway)
    with ThreadPoolExecutor(2) as pool, serving(an_app(caller, pool)) as address:
        host, _, port = address.partition(":")
        with socket.create_connection((host, int(port)), timeout=30) as raw:
            for round_ in range(4):
                raw.sendall(b"".join(head(user, f"{user}%20pipelined%20{round_}") for user in USERS))
                count = 0
                while count < len(USERS):
                    count += raw.recv(65536).count(b"HTTP/1.1 200")
        close(address)
    found = list(attributions(gateway))
    assert {tag for _, tag in found} == {f"{user} pipelined {n}" for user in USERS for n in range(4)}
    assert [(user, tag) for user, tag in found if tag.split()[0] != user] == []


def head(user: str, tag: str) -> bytes:
    body = b"x" * (80_000 if user == USERS[2] else 10)
    lines = [f"POST /async?tag={tag} HTTP/1.1", "Host: a", f"X-User: {user}", f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body
