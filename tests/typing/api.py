"""The public types, checked and never run: what users write has the types they expect."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_type

import heliconnect as hc
from heliconnect.diagnosis import Finding, Level
from heliconnect.starlette import HeliconeMiddleware, from_header, from_state
from heliconnect.testing import Provider, Received, Reply

if TYPE_CHECKING:
    import httpx
    from openai import AsyncOpenAI, OpenAI


def same_types(client: OpenAI, asynchronous: AsyncOpenAI, plain: httpx.Client) -> None:
    assert_type(hc.connect(client), "OpenAI")
    assert_type(hc.connect(asynchronous, base_url="http://127.0.0.1:8787"), "AsyncOpenAI")
    assert_type(hc.connect(plain, hc.Settings(api_key="k")), "httpx.Client")


def contexts() -> None:
    with hc.context(user_id=1, properties={"a": True}, cache=True, retries=3) as context:
        assert_type(context, hc.CallContext)
    with hc.session("name", id="s") as session, hc.step("x") as path:
        assert_type(session, hc.Session)
        assert_type(session.id, str)
        assert_type(path, str)
    with hc.use(hc.current()):
        assert_type(hc.headers(), dict[str, str])
    assert_type(hc.last_request_id(), str | None)
    assert_type(hc.configure(failover=False), hc.Settings)


def reading(client: hc.Api) -> None:
    assert_type(hc.diagnose(), list[Finding])
    assert_type(hc.diagnose()[0].level, Level)
    assert_type(hc.status().direct_calls, int)
    assert_type(hc.carry(work)(1), str)
    assert_type(hc.flush(1.0), bool)
    assert_type(client.request("id"), dict[str, Any] | None)
    assert_type(client.count(hc.where(user_id="u")), int)
    assert_type(hc.feedback("id", True), bool)
    with hc.log(provider="openai", request={"model": "m"}) as entry:
        entry.respond({"choices": []})


def work(number: int) -> str:
    return str(number)


def middleware() -> None:
    async def app(scope: object, receive: object, send: object) -> None: ...

    HeliconeMiddleware(
        app,
        user_id=from_header("x-user"),
        session_id=from_state("session"),
        properties=lambda scope: {"path": scope["path"]},
        trusted_headers={"x-user": "user_id"},
        trusted=["10.0.0.0/8"],
    )


def testing() -> None:
    with Provider() as provider:
        provider.script(Reply(text="hi", headers=(("a", "b"),)), Reply(status=500))
        assert_type(provider.requests, list[Received])
        assert_type(provider.requests[0].headers, dict[str, str])
