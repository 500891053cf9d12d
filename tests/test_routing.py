"""Routing: which URLs are LLM calls, and how a gateway is asked for them."""

from __future__ import annotations

import pytest

from heliconnect.routing import PROVIDERS, Route, origin_of, provider_by_prefix, provider_of, route
from heliconnect.settings import Settings

LOCAL = Settings(base_url="http://gw:8787")
HERE = Settings()
US = Settings(api_key="sk-helicone-a")
US_HOST = Settings(base_url="https://oai.us.helicone.ai/v1")
EU = Settings(api_key="sk-helicone-eu-a")
OWN = Settings(base_url="http://box:8585/v1/gateway")
ALIASED = Settings(
    base_url="http://gw:8787", providers={"http://127.0.0.1:9000": "openai", "https://llm.example.com": "mine"}
)
TARGET = "Helicone-Target-URL"


@pytest.mark.parametrize(
    ("url", "settings", "expected"),
    [
        pytest.param(
            "https://api.openai.com/v1/chat/completions?a=%2F&b",
            LOCAL,
            Route("openai", "http://gw:8787/oai/v1/chat/completions?a=%2F&b"),
            id="local-keeps-path-and-query-byte-for-byte",
        ),
        pytest.param(
            "https://API.anthropic.com:443/v1/messages",
            LOCAL,
            Route("anthropic", "http://gw:8787/anthropic/v1/messages"),
            id="local-default-port-and-case",
        ),
        pytest.param(
            "https://api.groq.com/openai/v1/chat/completions",
            LOCAL,
            Route("groq", "http://gw:8787/groq/openai/v1/chat/completions"),
            id="local-groq",
        ),
        pytest.param(
            "https://r.openai.azure.com/openai/deployments/d/chat/completions?api-version=1",
            LOCAL,
            Route(
                "azure",
                "http://gw:8787/azure/openai/deployments/d/chat/completions?api-version=1",
                ((TARGET, "https://r.openai.azure.com"),),
            ),
            id="local-azure-names-its-resource",
        ),
        pytest.param(
            "http://127.0.0.1:9000/v1/x",
            ALIASED,
            Route("openai", "http://gw:8787/oai/v1/x", ((TARGET, "http://127.0.0.1:9000"),)),
            id="own-origin-of-a-known-api",
        ),
        pytest.param(
            "https://llm.example.com/v1/x",
            ALIASED,
            Route("mine", "http://gw:8787/v1/x", ((TARGET, "https://llm.example.com"),)),
            id="own-provider",
        ),
        pytest.param(
            "https://api.openai.com/v1/x", US, Route("openai", "https://oai.helicone.ai/v1/x"), id="cloud-openai"
        ),
        pytest.param(
            "https://generativelanguage.googleapis.com/v1beta/models/m:generateContent",
            US,
            Route(
                "google",
                "https://gateway.helicone.ai/v1beta/models/m:generateContent",
                ((TARGET, "https://generativelanguage.googleapis.com"),),
            ),
            id="cloud-gemini-by-target",
        ),
        pytest.param(
            "https://r.openai.azure.com/openai/x",
            US,
            Route(
                "azure",
                "https://oai.helicone.ai/openai/x",
                (("Helicone-OpenAI-Api-Base", "https://r.openai.azure.com"),),
            ),
            id="cloud-azure",
        ),
        pytest.param(
            "https://api.openai.com/v1/x", US_HOST, Route("openai", "https://oai.helicone.ai/v1/x"), id="cloud-us-host"
        ),
        pytest.param(
            "https://api.anthropic.com/v1/messages",
            EU,
            Route("anthropic", "https://anthropic.eu.hconeai.com/v1/messages"),
            id="cloud-eu",
        ),
        pytest.param(
            "https://api.mistral.ai/v1/x",
            EU,
            Route("mistral", "https://gateway.eu.hconeai.com/v1/x", ((TARGET, "https://api.mistral.ai"),)),
            id="cloud-eu-has-few-labels",
        ),
        pytest.param(
            "https://api.openai.com/v1/chat/completions",
            OWN,
            Route("openai", "http://box:8585/v1/gateway/oai/v1/chat/completions"),
            id="self-host-serves-chat",
        ),
        pytest.param("https://api.openai.com/v1/embeddings", OWN, None, id="self-host-serves-nothing-else"),
        pytest.param("https://example.com/v1/chat/completions", LOCAL, None, id="other-hosts"),
        pytest.param("http://api.openai.com/v1/x", LOCAL, None, id="not-encrypted"),
        pytest.param("https://api.openai.com:8443/v1/x", LOCAL, None, id="other-port"),
        pytest.param("https://me:pw@api.openai.com/v1/x", LOCAL, None, id="user-and-password"),
        pytest.param("https://evilapi.openai.com.evil.com/x", LOCAL, None, id="lookalike"),
        pytest.param("wss://api.openai.com/v1/realtime", LOCAL, None, id="websocket"),
        pytest.param(
            "http://gw:8787/oai/v1/x?a",
            LOCAL,
            Route("openai", "http://gw:8787/oai/v1/x?a", has_direct=False),
            id="the-gateway-itself",
        ),
        pytest.param("http://gw:8787/v1/request/query", LOCAL, None, id="the-gateways-own-api"),
        pytest.param("http://gw:8787/ui", LOCAL, None, id="the-gateways-pages"),
        pytest.param(
            "https://ai-gateway.helicone.ai/v1/chat/completions",
            US,
            Route("ai-gateway", "https://ai-gateway.helicone.ai/v1/chat/completions", has_direct=False),
            id="helicones-ai-gateway",
        ),
        pytest.param(
            "https://oai.us.helicone.ai/v1/x",
            US,
            Route("openai", "https://oai.us.helicone.ai/v1/x", has_direct=False),
            id="the-cloud-named-by-hand",
        ),
        pytest.param("https://api.helicone.ai/v1/request/query", US, None, id="the-clouds-own-api"),
        pytest.param("https://oai.helicone.ai/v1/x", LOCAL, None, id="a-cloud-that-is-not-ours"),
        pytest.param(
            "https://bedrock-runtime.eu-west-1.amazonaws.com/model/m/converse",
            LOCAL,
            Route(
                "bedrock",
                "http://gw:8787/bedrock/model/m/converse",
                ((TARGET, "https://bedrock-runtime.eu-west-1.amazonaws.com"),),
            ),
            id="bedrock-by-region",
        ),
        pytest.param("https://bedrock-runtime.a.s3.amazonaws.com/x", LOCAL, None, id="a-bucket-is-no-provider"),
        pytest.param(
            "http://127.0.0.1:11434/api/chat", HERE, Route("ollama", f"{HERE.base_url}/ollama/api/chat"), id="ollama"
        ),
        pytest.param(
            "http://localhost:1234/v1/chat/completions",
            HERE,
            Route("lmstudio", f"{HERE.base_url}/lmstudio/v1/chat/completions", ((TARGET, "http://localhost:1234"),)),
            id="lm-studio-by-name",
        ),
        pytest.param(
            "http://127.0.0.1:8000/v1/embeddings", HERE, Route("vllm", f"{HERE.base_url}/vllm/v1/embeddings"), id="vllm"
        ),
        pytest.param("http://127.0.0.1:8000/v1/users", HERE, None, id="not-everything-at-vllms-port"),
        pytest.param("http://127.0.0.1:11434/api/chat", LOCAL, None, id="a-gateway-elsewhere-has-no-such-server"),
        pytest.param("http://127.0.0.1:11434/api/chat", US, None, id="nor-has-the-cloud"),
        pytest.param("not a url", LOCAL, None, id="no-url"),
    ],
)
def test_a_url_is_routed(url: str, settings: Settings, expected: Route | None) -> None:
    """One provider URL, one gateway."""
    assert route(url, settings) == expected


def test_every_row_is_found_both_ways() -> None:
    """Client and server agree on each provider of the table."""
    for provider in PROVIDERS:
        assert provider_by_prefix(provider.prefix) is provider
        assert provider_by_prefix(provider.name) is provider
        for host in provider.hosts:
            example = f"x{host}" if host[0] in ".-" else host.replace("*", "us-east-1")
            assert provider_of(example) is provider
        assert provider.source.startswith("https://")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        pytest.param("https://h", ("https://h", "/"), id="no-path"),
        pytest.param("https://H:443?x=1", ("https://h", "/?x=1"), id="query-only"),
        pytest.param("http://h:8080/a#b", ("http://h:8080", "/a#b"), id="port"),
        pytest.param("https://u@h/", None, id="userinfo"),
        pytest.param("/relative", None, id="relative"),
    ],
)
def test_origins_are_split(url: str, expected: tuple[str, str] | None) -> None:
    """Origin in lower case, the rest untouched."""
    assert origin_of(url) == expected
