"""Which provider a URL belongs to, and how the same request is addressed through a gateway.

One table serves both sides: the client asks `route(url, settings)` where to send a request, the server asks
`provider_by_prefix` and `provider_of` where a request it received has to go.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from heliconnect.exchange import Pairs
from heliconnect.protocol import OPENAI_API_BASE, TARGET_URL
from heliconnect.settings import CLOUD_DOMAINS, Gateway, Settings

__all__ = [
    "PROVIDERS",
    "Provider",
    "Route",
    "api_url",
    "is_control_path",
    "is_loopback",
    "local_provider",
    "log_url",
    "origin_of",
    "provider_by_name",
    "provider_by_prefix",
    "provider_of",
    "route",
]


@dataclass(frozen=True, slots=True)
class Provider:
    """One row of the provider table.

    origin is where requests go unless told otherwise (None: it depends on the customer, as with Azure); hosts are
    exact host names, ".suffix" or "-suffix" for any that ends so, or a name with "*" for one label; a provider without
    hosts is a server on the same machine, at the port of its origin. prefix is the first part of the path on our own
    gateway; label the host label in Helicone's cloud (None: the cloud's general gateway); source documents the API.
    """

    name: str
    origin: str | None
    hosts: tuple[str, ...]
    prefix: str
    label: str | None
    source: str


PROVIDERS = (
    Provider(
        "openai", "https://api.openai.com", ("api.openai.com", "us.api.openai.com", "eu.api.openai.com"), "oai", "oai",
        "https://platform.openai.com/docs/api-reference",
    ),
    Provider(
        "anthropic", "https://api.anthropic.com", ("api.anthropic.com",), "anthropic", "anthropic",
        "https://docs.anthropic.com/en/api/overview",
    ),
    Provider(
        "google", "https://generativelanguage.googleapis.com", ("generativelanguage.googleapis.com",), "google", None,
        "https://ai.google.dev/api",
    ),
    Provider(
        "vertex", None, ("aiplatform.googleapis.com", "-aiplatform.googleapis.com"), "vertex", None,
        "https://cloud.google.com/vertex-ai/docs/reference/rest",
    ),
    Provider(
        "azure", None,
        (".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com", ".azure-api.net"),
        "azure", None,
        "https://learn.microsoft.com/azure/ai-foundry/openai/reference",
    ),
    Provider(
        "groq", "https://api.groq.com", ("api.groq.com",), "groq", "groq",
        "https://console.groq.com/docs/api-reference",
    ),
    Provider(
        "mistral", "https://api.mistral.ai", ("api.mistral.ai",), "mistral", "mistral",
        "https://docs.mistral.ai/api",
    ),
    Provider(
        "deepseek", "https://api.deepseek.com", ("api.deepseek.com",), "deepseek", "deepseek",
        "https://api-docs.deepseek.com",
    ),
    Provider(
        "openrouter", "https://openrouter.ai", ("openrouter.ai",), "openrouter", "openrouter",
        "https://openrouter.ai/docs/api-reference/overview",
    ),
    Provider(
        "together", "https://api.together.xyz", ("api.together.xyz", "api.together.ai"), "together", "together",
        "https://docs.together.ai/reference",
    ),
    Provider(
        "cohere", "https://api.cohere.com", ("api.cohere.com", "api.cohere.ai"), "cohere", None,
        "https://docs.cohere.com/reference/about",
    ),
    Provider(
        "xai", "https://api.x.ai", ("api.x.ai",), "xai", "x",
        "https://docs.x.ai/docs/api-reference",
    ),
    Provider(
        "fireworks", "https://api.fireworks.ai", ("api.fireworks.ai",), "fireworks", "fireworks",
        "https://docs.fireworks.ai/api-reference/introduction",
    ),
    Provider(
        "perplexity", "https://api.perplexity.ai", ("api.perplexity.ai",), "perplexity", "perplexity",
        "https://docs.perplexity.ai/api-reference",
    ),
    Provider(
        "bedrock", None, ("bedrock-runtime.*.amazonaws.com",), "bedrock", None,
        "https://docs.aws.amazon.com/bedrock/latest/APIReference",
    ),
    Provider(
        "nebius", "https://api.tokenfactory.nebius.com",
        ("api.tokenfactory.nebius.com", "api.studio.nebius.com", "api.studio.nebius.ai"), "nebius", "nebius",
        "https://docs.tokenfactory.nebius.com/api-reference",
    ),
    Provider(
        "novita", "https://api.novita.ai", ("api.novita.ai",), "novita", "novita",
        "https://novita.ai/docs/api-reference",
    ),
    Provider(
        "deepinfra", "https://api.deepinfra.com", ("api.deepinfra.com",), "deepinfra", "deepinfra",
        "https://deepinfra.com/docs/api-reference",
    ),
    Provider(
        "huggingface", "https://router.huggingface.co", ("router.huggingface.co",), "huggingface", None,
        "https://huggingface.co/docs/inference-providers",
    ),
    Provider(
        "ollama", "http://127.0.0.1:11434", (), "ollama", None,
        "https://docs.ollama.com/api",
    ),
    Provider(
        "lmstudio", "http://127.0.0.1:1234", (), "lmstudio", None,
        "https://lmstudio.ai/docs/developer/openai-compat",
    ),
    Provider(
        "vllm", "http://127.0.0.1:8000", (), "vllm", None,
        "https://docs.vllm.ai/en/latest/serving/openai_compatible_server.html",
    ),
    Provider(
        "cerebras", "https://api.cerebras.ai", ("api.cerebras.ai",), "cerebras", "cerebras",
        "https://inference-docs.cerebras.ai/api-reference",
    ),
)  # fmt: skip

_BY_PREFIX = {p.prefix: p for p in PROVIDERS} | {p.name: p for p in PROVIDERS}
_BY_NAME = {p.name: p for p in PROVIDERS}
_BY_HOST = {host: p for p in PROVIDERS for host in p.hosts if host[0] not in ".-" and "*" not in host}
_BY_SUFFIX = tuple((host, p) for p in PROVIDERS for host in p.hosts if host[0] in ".-")
_BY_PATTERN = tuple(
    (re.compile(re.escape(host).replace(r"\*", r"[^.]+")), p) for p in PROVIDERS for host in p.hosts if "*" in host
)
_BY_LOCAL_PORT = {str(p.origin).rpartition(":")[2]: p for p in PROVIDERS if not p.hosts}
_LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost", "[::1]"})
_PORT = re.compile(r":\d+$")
# What an LLM server on a port that anything else may use as well (vLLM's 8000) is asked for.
_LLM_PATH = re.compile(r"/v1/(?:chat/completions|completions|responses|embeddings|messages|rerank|score)(?:\?|$)")
_LOG_KINDS = {"openai": "oai", "azure": "oai", "anthropic": "anthropic", "google": "googleapis"}
# The paths of our own gateway's pages and API; everything else there goes to a provider.
_CONTROL = re.compile(
    r"/(?:$|ui(?:/|$)|healthcheck$|docs(?:/|$)|redoc$|openapi\.json$|metrics$|favicon\.ico$"
    r"|v1/(?:request|session|user|property|metrics|dashboard|helicone-sql|trace|log|public|webhooks|prompt-2025|evals"
    r"|feedback)(?:/|$)"
    r"|v1/(?:traces|logs)$"  # OTLP's paths beside /v1/metrics: no trace of ours is a provider's business
    r"|(?:custom|oai|anthropic|googleapis)/v1/log$)"
)
# Helicone's EU cloud has a host only for these: packages and hosts in its worker/wrangler.toml.
_EU_LABELS = frozenset({"oai", "anthropic", "groq", "openrouter", "together", "gateway"})
# Labels of Helicone's cloud that take LLM calls besides those of the table; `ai-gateway` has no provider behind it.
_MORE_LABELS = frozenset({"gateway", "ai-gateway", "google"})
# What Helicone's own self-host serves; anything else there answers 404 or 501.
_SELF_HOSTED = {("openai", "/v1/chat/completions"): "/oai", ("anthropic", "/v1/messages"): "/anthropic"}


@dataclass(frozen=True, slots=True)
class Route:
    """Where a provider's request goes instead: the gateway's URL and the headers that name the target.

    has_direct is False for a request that was addressed to the gateway by its caller: there is no other way for it.
    """

    provider: str
    url: str
    headers: Pairs = ()
    has_direct: bool = True


def provider_by_prefix(prefix: str) -> Provider | None:
    """The provider whose requests our own gateway serves below /{prefix}/ ("oai" or "openai")."""
    return _BY_PREFIX.get(prefix)


def provider_by_name(name: str) -> Provider | None:
    """The row named `name` ("openai"); None for a name that is not in the table."""
    return _BY_NAME.get(name)


@lru_cache(maxsize=512)
def provider_of(host: str) -> Provider | None:
    """The provider that serves this host name; None for a host that is not in the table."""
    host = host.lower().rstrip(".")
    found = _BY_HOST.get(host)
    if found is None:
        found = next((provider for suffix, provider in _BY_SUFFIX if host.endswith(suffix)), None)
    if found is None:
        found = next((provider for pattern, provider in _BY_PATTERN if pattern.fullmatch(host)), None)
    return found


@lru_cache(maxsize=512)
def local_provider(origin: str, path: str) -> Provider | None:
    """The LLM server that a plain URL of this machine names by its port: Ollama's, LM Studio's, or vLLM's.

    vLLM's port is used by much else: there only the paths of an LLM API count. path may have a query.
    """
    scheme, _, authority = origin.partition("://")
    host, _, port = authority.rpartition(":")
    found = _BY_LOCAL_PORT.get(port) if scheme == "http" and host in _LOCAL_HOSTS else None
    return None if found is not None and found.name == "vllm" and not _LLM_PATH.match(path) else found


@lru_cache(maxsize=512)
def origin_of(url: str) -> tuple[str, str] | None:
    """Split an absolute http(s) URL into its origin in lower case and the rest, byte for byte.

    ("https://api.openai.com", "/v1/models?x=1"). None for anything else, and for URLs that carry user and password.
    """
    scheme, separator, after = url.partition("://")
    scheme = scheme.lower()
    if not separator or scheme not in {"http", "https"}:
        return None
    end = min((at for at in (after.find(c) for c in "/?#") if at >= 0), default=len(after))
    authority, rest = after[:end].lower(), after[end:]
    if not authority or "@" in authority:
        return None
    default_port = ":443" if scheme == "https" else ":80"
    authority = authority.removesuffix(default_port)
    return f"{scheme}://{authority}", rest if rest.startswith("/") else "/" + rest


def route(url: str, settings: Settings) -> Route | None:
    """How a request to `url` is addressed through the gateway; None when it is none of our business.

    Routed are https URLs of the table's hosts, the origins of `settings.providers` and, by a gateway on the same
    machine, its LLM servers. LLM calls that are addressed to the gateway already keep their URL.
    """
    split = origin_of(url)
    if split is None:
        return None
    origin, rest = split
    gateway = (origin_of(settings.base_url) or ("", ""))[0]
    if origin == gateway or (settings.gateway is Gateway.CLOUD and _is_cloud(origin)):
        return _already(url, origin, rest, settings)
    alias = settings.providers.get(origin)
    if alias is not None:
        return _address(alias, provider_by_name(alias), origin, rest, settings)
    if origin.startswith("https://"):
        provider = provider_of(origin[8:])
    else:
        provider = local_provider(origin, rest) if is_loopback(gateway) else None
    return None if provider is None else _address(provider.name, provider, origin, rest, settings)


def log_url(provider: str | None, settings: Settings) -> str:
    """Where a log of a call of this provider goes: Helicone's manual logger, of the kind of gateway there is."""
    kind = _LOG_KINDS.get(provider or "", "custom")
    match settings.gateway:
        case Gateway.CLOUD:
            is_eu = _cloud_domain(urlsplit(settings.base_url).hostname or "").startswith("eu.")
            host = "api.eu.hconeai.com" if is_eu else "api.worker.helicone.ai"
            return f"https://{host}/{kind}/v1/log"
        case Gateway.SELF_HOSTED:
            return f"{settings.base_url.removesuffix('/v1/gateway')}/v1/trace/{kind}/v1/log"
        case Gateway.LOCAL:
            return f"{settings.base_url}/{kind}/v1/log"


def api_url(settings: Settings) -> str:
    """Where the REST API of the gateway's kind is: Helicone's cloud has hosts of their own for it."""
    match settings.gateway:
        case Gateway.CLOUD:
            is_eu = _cloud_domain(urlsplit(settings.base_url).hostname or "").startswith("eu.")
            return "https://eu.api.helicone.ai" if is_eu else "https://api.helicone.ai"
        case Gateway.SELF_HOSTED:
            return settings.base_url.removesuffix("/v1/gateway")
        case Gateway.LOCAL:
            return settings.base_url


def is_control_path(path: str) -> bool:
    """Whether our own gateway answers this path (without query) itself: its pages and its API."""
    return _CONTROL.match(path) is not None


def _already(url: str, origin: str, rest: str, settings: Settings) -> Route | None:
    path = rest.partition("?")[0]
    if settings.gateway is Gateway.CLOUD:
        label = origin.partition("://")[2].partition(".")[0]
        name = next((p.name for p in PROVIDERS if p.label == label), label if label in _MORE_LABELS else None)
        return None if name is None else Route(name, url, has_direct=False)
    if settings.gateway is Gateway.LOCAL and is_control_path(path):
        return None
    provider = provider_by_prefix(path.split("/")[1])
    return Route("" if provider is None else provider.name, url, has_direct=False)


def _is_cloud(origin: str) -> bool:
    return origin.startswith("https://") and origin.endswith(CLOUD_DOMAINS)


@lru_cache(maxsize=64)
def is_loopback(origin: str) -> bool:
    """Whether an origin ("http://127.0.0.1:8787") names this very machine."""
    host = _PORT.sub("", origin.partition("://")[2])
    return host in _LOCAL_HOSTS or host.startswith("127.")


def _address(name: str, provider: Provider | None, origin: str, rest: str, settings: Settings) -> Route | None:
    target = () if provider is not None and provider.origin == origin else ((TARGET_URL, origin),)
    match settings.gateway:
        case Gateway.LOCAL:
            prefix = f"/{provider.prefix}" if provider is not None else ""
            return Route(name, f"{settings.base_url}{prefix}{rest}", target)
        case Gateway.CLOUD:
            return _address_cloud(name, provider, origin, rest, settings)
        case Gateway.SELF_HOSTED:
            served = _SELF_HOSTED.get((name, rest.partition("?")[0]))
            return None if served is None or target else Route(name, f"{settings.base_url}{served}{rest}")


def _address_cloud(name: str, provider: Provider | None, origin: str, rest: str, settings: Settings) -> Route:
    domain = _cloud_domain(urlsplit(settings.base_url).hostname or "")
    if provider is not None and provider.name == "azure":
        return Route(name, f"https://oai.{domain}{rest}", ((OPENAI_API_BASE, origin),))
    label = provider.label if provider is not None and provider.origin == origin else None
    if label is None or (domain.startswith("eu.") and label not in _EU_LABELS):
        return Route(name, f"https://gateway.{domain}{rest}", ((TARGET_URL, origin),))
    return Route(name, f"https://{label}.{domain}{rest}")


def _cloud_domain(host: str) -> str:
    """The part of a cloud host name that is common to all labels: "oai.us.helicone.ai" -> "us.helicone.ai"."""
    labels = host.split(".")
    if "eu" in labels[:-2]:
        return "eu.hconeai.com"
    return "hconeai.com" if labels[-2] == "hconeai" else "helicone.ai"
