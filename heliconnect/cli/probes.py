"""One call through each adapter, made as its users make it; answered by the gateway from a header."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import heliconnect as hc
from heliconnect.settings import get_settings
from heliconnect.wire.switch import Mode, switch

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
_GEMINI = {
    MOCK_HEADER: json.dumps(
        {
            "candidates": [
                {"content": {"role": "model", "parts": [{"text": "It is set up."}]}, "finishReason": "STOP"}
            ],
            "modelVersion": "gemini-2.5-flash",
            "usageMetadata": {"promptTokenCount": 12, "candidatesTokenCount": 4, "totalTokenCount": 16},
        }
    )
}


@dataclass(frozen=True, slots=True)
class Probe:
    """An adapter, the modules it needs, and a call through it.

    layer is what sets user, session and property in this call.
    """

    adapter: str
    needs: tuple[str, ...]
    call: Callable[[], None]
    layer: str = "context"


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
        model="gpt-4o-mini", api_key=_KEY, base_url="https://api.openai.com/v1", max_retries=0, default_headers=_OPENAI
    )
    model.invoke("Is heliconnect set up?", config={"callbacks": [handler]})


def _google() -> None:
    genai = import_module("google.genai")
    options = {"base_url": "https://generativelanguage.googleapis.com", "headers": _GEMINI}
    client = hc.connect(genai.Client(api_key=_KEY, vertexai=False, http_options=options))
    client.models.generate_content(model="gemini-2.5-flash", contents="Is heliconnect set up?")


def _groq() -> None:
    client = import_module("groq").Groq(api_key=_KEY, base_url="https://api.groq.com", max_retries=0)
    hc.connect(client).chat.completions.create(model="openai/gpt-oss-20b", messages=_ASK, extra_headers=_OPENAI)


def _llama_index() -> None:
    model = import_module("llama_index.llms.openai").OpenAI(
        model="gpt-4o-mini", api_key=_KEY, api_base="https://api.openai.com/v1", max_retries=0, default_headers=_OPENAI
    )
    with _everything_routed():
        model.complete("Is heliconnect set up?")


def _pydantic_ai() -> None:
    provider = import_module("pydantic_ai.providers.openai").OpenAIProvider(
        api_key=_KEY, base_url="https://api.openai.com/v1"
    )
    model = import_module("pydantic_ai.models.openai").OpenAIChatModel("gpt-4o-mini", provider=provider)
    with _everything_routed():
        agent = import_module("pydantic_ai").Agent(model, model_settings={"extra_headers": _OPENAI})
        agent.run_sync("Is heliconnect set up?")


def _openai_agents() -> None:
    agents = import_module("agents")
    agents.set_tracing_disabled(True)
    client = import_module("openai").AsyncOpenAI(api_key=_KEY, base_url="https://api.openai.com/v1", max_retries=0)
    model = agents.OpenAIChatCompletionsModel("gpt-4o-mini", openai_client=client)
    settings = agents.ModelSettings(extra_headers=_OPENAI)
    with _everything_routed():
        agents.Runner.run_sync(agents.Agent("verify", model=model, model_settings=settings), "Is heliconnect set up?")


@contextlib.contextmanager
def _everything_routed() -> Iterator[None]:
    """As `hc.install()` does it, for frameworks that make their clients themselves."""
    before = switch.mode
    hc.install(get_settings())
    try:
        yield
    finally:
        if before is Mode.OFF:
            hc.uninstall()
        else:
            switch.mode = before


def _litellm() -> None:
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # no download for one call
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


def _starlette() -> None:
    """A request through the middleware to an endpoint that calls OpenAI."""
    middleware = import_module("heliconnect.starlette").HeliconeMiddleware
    httpx = import_module("httpx")
    here = hc.current()

    async def endpoint(scope: Any, receive: Any, send: Any) -> None:
        async with hc.connect(httpx.AsyncClient()) as client:
            answer = await client.post(
                "https://api.openai.com/v1/chat/completions",
                json={"model": "gpt-4o-mini", "messages": _ASK},
                headers={"Authorization": f"Bearer {_KEY}", **_OPENAI},
            )
            answer.raise_for_status()

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
    with hc.use(hc.CallContext()):  # the middleware alone is to say who it is
        asyncio.run(app(scope, nothing, nothing))


PROBES = (
    Probe("openai", ("openai",), _openai),
    Probe("anthropic", ("anthropic",), _anthropic),
    Probe("google-genai", ("google.genai",), _google),
    Probe("groq", ("groq",), _groq),
    Probe("langchain", ("langchain_core", "langchain_openai"), _langchain),
    Probe("litellm", ("litellm",), _litellm),
    Probe("llama-index", ("llama_index.llms.openai",), _llama_index),
    Probe("pydantic-ai", ("pydantic_ai", "openai"), _pydantic_ai),
    Probe("openai-agents", ("agents", "openai"), _openai_agents),
    Probe("starlette", ("starlette", "httpx"), _starlette, layer="middleware"),
)
