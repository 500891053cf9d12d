"""One call through each adapter, made as its users make it; answered by the gateway from a header."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import heliconnect as hc

__all__ = ["MOCK_HEADER", "PROBES", "Probe"]

MOCK_HEADER = "__helicone-mock-response"
_KEY = "sk-verify"
_ASK = [{"role": "user", "content": "Is heliconnect set up?"}]
_OPENAI = {
    MOCK_HEADER: json.dumps(
        {
            "id": "chatcmpl-verify",
            "object": "chat.completion",
            "created": 0,
            "model": "gpt-4o-mini",
            "choices": [
                {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "It is set up."}}
            ],
            "usage": {"prompt_tokens": 12, "completion_tokens": 4, "total_tokens": 16},
        }
    )
}
_ANTHROPIC = {
    MOCK_HEADER: json.dumps(
        {
            "id": "msg_verify",
            "type": "message",
            "role": "assistant",
            "model": "claude-sonnet-4-6",
            "content": [{"type": "text", "text": "It is set up."}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {"input_tokens": 12, "output_tokens": 4},
        }
    )
}


@dataclass(frozen=True, slots=True)
class Probe:
    """An adapter, the modules it needs, and a call through it; the call gives its request id where only it knows it."""

    adapter: str
    needs: tuple[str, ...]
    call: Callable[[], str | None]


def _openai() -> None:
    client = import_module("openai").OpenAI(api_key=_KEY, base_url="https://api.openai.com/v1", max_retries=0)
    hc.connect(client).chat.completions.create(model="gpt-4o-mini", messages=_ASK, extra_headers=_OPENAI)


def _anthropic() -> None:
    client = import_module("anthropic").Anthropic(api_key=_KEY, base_url="https://api.anthropic.com", max_retries=0)
    hc.connect(client).messages.create(
        model="claude-sonnet-4-6", max_tokens=16, messages=_ASK, extra_headers=_ANTHROPIC
    )


def _langchain() -> None:
    handler = import_module("heliconnect_langchain").HeliconeCallbackHandler()
    model = import_module("langchain_openai").ChatOpenAI(
        model="gpt-4o-mini", api_key=_KEY, base_url="https://api.openai.com/v1", max_retries=0, extra_headers=_OPENAI
    )
    model.invoke("Is heliconnect set up?", config={"callbacks": [handler]})


def _litellm() -> None:
    litellm: Any = import_module("litellm")
    logger = import_module("heliconnect_litellm").HeliconeLogger()
    litellm.callbacks = [*litellm.callbacks, logger]
    try:
        litellm.completion(
            model="openai/gpt-4o-mini",
            api_key=_KEY,
            base_url="https://api.openai.com/v1",
            messages=_ASK,
            extra_headers=_OPENAI,
            num_retries=0,
        )
    finally:
        litellm.callbacks = [callback for callback in litellm.callbacks if callback is not logger]


def _starlette() -> str | None:
    """A request through the middleware to an endpoint that calls OpenAI; gives that call's id."""
    middleware = import_module("heliconnect.starlette").HeliconeMiddleware
    httpx = import_module("httpx")
    here = hc.current()
    ids: list[str | None] = []

    async def endpoint(scope: Any, receive: Any, send: Any) -> None:
        async with hc.connect(httpx.AsyncClient()) as client:
            answer = await client.post(
                "https://api.openai.com/v1/chat/completions",
                json={"model": "gpt-4o-mini", "messages": _ASK},
                headers={"Authorization": f"Bearer {_KEY}", **_OPENAI},
            )
            answer.raise_for_status()
        ids.append(hc.last_request_id())

    app = middleware(
        endpoint,
        user_id=here.user_id,
        session_id=here.session_id,
        session_path=here.session_path,
        properties=dict(here.properties),
    )

    async def nothing(*_: Any) -> Any:
        return {"type": "http.request"}

    scope = {"type": "http", "method": "POST", "path": "/", "headers": [], "query_string": b"", "state": {}}
    asyncio.run(app(scope, nothing, nothing))
    return ids[0]


PROBES = (
    Probe("openai", ("openai",), _openai),
    Probe("anthropic", ("anthropic",), _anthropic),
    Probe("langchain", ("langchain_core", "langchain_openai"), _langchain),
    Probe("litellm", ("litellm",), _litellm),
    Probe("starlette", ("starlette", "httpx"), _starlette),
)
