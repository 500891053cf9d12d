"""Checks of the settings and of the environment they come from; nothing is sent anywhere."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import urlsplit

from heliconnect.diagnosis.finding import Finding, Level
from heliconnect.routing import provider_by_name, provider_of, route
from heliconnect.settings import CLOUD_DOMAINS, LOCAL_BASE_URL, Gateway, Settings

__all__ = ["check_environment", "check_key", "check_packages", "check_url"]

_HELICONE_KEY = re.compile(r"[sp]k-helicone-|sk(-[a-z0-9]{7}){4}$")
_PROVIDER_KEYS = {
    "sk-ant-": "Anthropic",
    "sk-proj-": "OpenAI",
    "sk-svcacct-": "OpenAI",
    "sk-admin-": "OpenAI",
    "sk-or-": "OpenRouter",
    "gsk_": "Groq",
    "AIza": "Google",
    "xai-": "xAI",
    "hf_": "Hugging Face",
    "pplx-": "Perplexity",
    "fw_": "Fireworks",
}
# Where SDKs take another base URL from, and whose API is spoken there.
_SDK_URLS = {
    "OPENAI_BASE_URL": "openai",
    "OPENAI_API_BASE": "openai",
    "ANTHROPIC_BASE_URL": "anthropic",
    "ANTHROPIC_API_BASE": "anthropic",
    "AZURE_OPENAI_ENDPOINT": "azure",
    "AZURE_API_BASE": "azure",
    "GOOGLE_GEMINI_BASE_URL": "google",
    "GROQ_BASE_URL": "groq",
    "GROQ_API_BASE": "groq",
    "MISTRAL_API_BASE": "mistral",
    "DEEPSEEK_API_BASE": "deepseek",
    "OLLAMA_API_BASE": "ollama",
    "OLLAMA_HOST": "ollama",
}
_DASHBOARDS = frozenset({"helicone.ai", "www.helicone.ai", "us.helicone.ai", "eu.helicone.ai", "docs.helicone.ai"})
# Helicone's packages that log or route calls by themselves, and the module each is imported as.
_OTHERS = {
    "helicone": "helicone",
    "helicone-async": "helicone_async",
    "llama-index-llms-helicone": "llama_index.llms.helicone",
}


def check_key(settings: Settings) -> Iterator[Finding]:
    """A key of another service, of the wrong kind or of another region than the gateway; none where one is due."""
    key = settings.api_key
    if key is None:
        if settings.gateway is Gateway.CLOUD:
            says = "HELICONE_API_KEY is not set: Helicone's cloud passes calls on, but records none of them"
            yield Finding("key-missing", Level.ERROR, says, "set it to a key from helicone.ai, Settings, API keys")
        return
    service = next((name for start, name in _PROVIDER_KEYS.items() if key.startswith(start)), None)
    if service is not None:
        says = f"HELICONE_API_KEY holds a key of {service}, which every call would show to the gateway"
        yield Finding("key-kind", Level.ERROR, says, "replace that key, and set HELICONE_API_KEY to your Helicone key")
        return
    if settings.gateway is not Gateway.CLOUD:
        return
    if not _HELICONE_KEY.match(key):
        says = "HELICONE_API_KEY does not look like a key of Helicone's, which begins with sk-helicone- or pk-helicone-"
        yield Finding("key-kind", Level.ERROR, says, "take one from helicone.ai, Settings, API keys")
    elif key.startswith("pk-"):
        says = "HELICONE_API_KEY is a pk- key: calls are recorded, but it may not read records back"
        yield Finding("key-kind", Level.WARNING, says, "use an sk-helicone- key on the server side")
    host = urlsplit(settings.base_url).hostname or ""
    is_eu_key, is_eu_host = "-helicone-eu-" in key, ".eu." in host
    if is_eu_key != is_eu_host:
        key_region, region = ("EU" if is_eu else "US" for is_eu in (is_eu_key, is_eu_host))
        says = f"HELICONE_API_KEY is of the {key_region} region, {host} of the {region} region: it is not known there"
        yield Finding("key-region", Level.ERROR, says, "unset HELICONE_BASE_URL: the key finds its region")


def check_url(settings: Settings) -> Iterator[Finding]:
    """A base URL that is no gateway's, as far as its text tells."""
    parts = urlsplit(settings.base_url)
    host, path = (parts.hostname or "").lower(), parts.path.rstrip("/")
    remedy = f"set HELICONE_BASE_URL to the gateway's own address ({LOCAL_BASE_URL} for the local one), or unset it"
    found = provider_of(host)
    if found is not None:
        says = f"HELICONE_BASE_URL names {host}, which is the provider {found.name} itself"
        yield Finding("wrong-url", Level.ERROR, says, remedy)
    elif host in _DASHBOARDS or (host.startswith(("api.", "eu.api.")) and ("." + host).endswith(CLOUD_DOMAINS)):
        says = f"HELICONE_BASE_URL names {host}, which serves Helicone's pages or its REST API and passes no call on"
        yield Finding("wrong-url", Level.ERROR, says, remedy)
    elif path and settings.gateway is Gateway.LOCAL:
        says = f"HELICONE_BASE_URL has a path, {path}, but providers' paths are put behind it"
        yield Finding("wrong-url", Level.ERROR, says, f"set it to {parts.scheme}://{parts.netloc}")


def check_environment(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Routing that is switched off, and origins that no provider of the table has."""
    if settings.disabled:
        says = "routing is switched off (HELICONNECT_DISABLED): every call goes straight to its provider, unrecorded"
        yield Finding("disabled", Level.ERROR, says, "unset HELICONNECT_DISABLED")
    for origin, name in settings.providers.items():
        if provider_by_name(name) is None:
            says = (
                f"the provider of {origin}, {name!r}, is not in the table: its calls are routed, but their price and "
            )
            says += "format are guessed from what they look like"
            yield Finding(
                "provider-unknown", Level.NOTE, says, "name the API that it speaks instead, 'openai' for instance"
            )
    for variable, api in _SDK_URLS.items():
        url = environ.get(variable, "").strip()
        if not url:
            continue
        if "://" not in url:
            url = f"http://{url}"
        if route(f"{url.rstrip('/')}/v1/chat/completions", settings) is None:
            origin = "{0.scheme}://{0.netloc}".format(urlsplit(url))
            says = f"{variable} sends calls to {origin}, which is neither the gateway nor a known provider: not routed"
            yield Finding("provider-unknown", Level.ERROR, says, f"set HELICONNECT_PROVIDERS={api}={origin}")


def check_packages(versions: Mapping[str, str], loaded: Iterable[str]) -> Iterator[Finding]:
    """Helicone's older packages, which record the same calls their own way. versions are of what is installed."""
    modules = set(loaded)
    for package, module in _OTHERS.items():
        if package in versions:
            is_active = module in modules
            state = "is active in this process" if is_active else "is installed"
            says = f"Helicone's package {package} {versions[package]} {state}: calls through it are recorded "
            says += "twice, or go past heliconnect"
            level = Level.ERROR if is_active else Level.WARNING
            yield Finding("old-helicone", level, says, f"pip uninstall {package}, and remove what imports {module}")
