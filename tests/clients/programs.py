"""Clients that change the whole process they run in, each as a program of its own.

    python -m tests.clients.programs NAME PROVIDER_URL GATEWAY_URL USER

makes calls past the gateway, straight to the provider, and lets the client tell the gateway of them.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from tests.clients.said import ASK, CHAT_MODEL, CLAUDE, EMBEDDING_MODEL, HELICONE_KEY, KEY, QUESTION, said


def litellm_callback(provider: str, gateway: str, user: str) -> None:
    """LiteLLM's own callback: what is said stands in `metadata`.

    It writes "gpt-3.5-turbo" into the request of models it does not list, embeddings too (the answer keeps the real
    name). For Claude it imports two names that the anthropic package has had before 1.0 only; where it does not find
    them it logs nothing, so that no Claude model is called here then.
    """
    os.environ.update(HELICONE_API_KEY=HELICONE_KEY, HELICONE_API_BASE=gateway)
    import litellm

    litellm.success_callback = ["helicone"]
    calls: list[tuple[str, str]] = [(f"openai/{CHAT_MODEL}", f"{provider}/v1"), ("openai/o4-mini", f"{provider}/v1")]
    calls.append(("gemini/gemini-2.5-flash", f"{provider}/v1beta"))
    if has_prompts_of_old():
        calls.append((f"anthropic/{CLAUDE}", provider))
    metadata = {name: value for name, value in said(user).items() if name != "Helicone-Auth"}
    for model, base in calls:
        options: dict[str, Any] = {"model": model, "api_base": base, "api_key": KEY, "metadata": dict(metadata)}
        print(litellm.completion(**options, messages=ASK).choices[0].message.content)
    options = {"api_base": f"{provider}/v1", "api_key": KEY}
    usage = {"include_usage": True}
    streamed = {**options, "model": f"openai/{CHAT_MODEL}", "stream": True, "stream_options": usage}
    list(litellm.completion(**streamed, messages=ASK, metadata=dict(metadata)))
    litellm.embedding(**options, model=f"openai/{EMBEDDING_MODEL}", input=[QUESTION], metadata=dict(metadata))


def has_prompts_of_old() -> bool:
    """Whether the anthropic package is one that LiteLLM's callback can work with."""
    try:
        import anthropic
    except ImportError:
        return False
    return hasattr(anthropic, "AI_PROMPT")


def helicone_async(provider: str, gateway: str, user: str) -> None:
    """Helicone's OpenTelemetry logger, which sends spans in protobuf."""
    from helicone_async import HeliconeAsyncLogger

    logger = HeliconeAsyncLogger(api_key=HELICONE_KEY, base_url=f"{gateway}/v1/trace/log-python")
    logger.init()
    session = {"Helicone-Session-Id": "s-1", "Helicone-Session-Path": "/trip/search", "Helicone-Session-Name": "trip"}
    logger.set_properties({"Helicone-User-Id": user, "tier": "pro", **session})
    import openai

    with openai.OpenAI(base_url=f"{provider}/v1", api_key=KEY) as client:
        print(client.chat.completions.create(model=CHAT_MODEL, messages=ASK, user=user).choices[0].message.content)


PROGRAMS = {"litellm": litellm_callback, "helicone-async": helicone_async}

if __name__ == "__main__":
    PROGRAMS[sys.argv[1]](*sys.argv[2:5])
