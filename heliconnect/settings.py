"""Where calls are routed and with which key: one frozen `Settings`, made by hand or from the environment.

HELICONE_API_KEY      the Helicone key; alone, it selects Helicone's cloud (the EU one for an EU key)
HELICONE_BASE_URL     the gateway: Helicone's cloud, a self-hosted one, or `heliconnect up` anywhere
HELICONNECT_PROVIDERS more provider origins, "openai=http://127.0.0.1:9000,mine=https://llm.example.com"
HELICONNECT_DISABLED  "1" switches routing off for the process
HELICONNECT_RECORD_DIRECT  "0" keeps no record of calls that went straight to their provider
HELICONNECT_SPOOL_DIR where such records wait for the gateway

With neither key nor base URL the gateway is the local one, http://127.0.0.1:8787.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType
from typing import TypedDict, Unpack
from urllib.parse import urlsplit

from heliconnect.errors import SettingsError

__all__ = [
    "CLOUD_DOMAINS",
    "LOCAL_BASE_URL",
    "Gateway",
    "Settings",
    "SettingsChanges",
    "configure",
    "current_or_none",
    "disabled",
    "from_env",
    "get_settings",
    "is_disabled",
    "merged",
    "set_current",
]

LOCAL_BASE_URL = "http://127.0.0.1:8787"
CLOUD_BASE_URL = "https://gateway.helicone.ai"
CLOUD_EU_BASE_URL = "https://gateway.eu.hconeai.com"
CLOUD_DOMAINS = (".helicone.ai", ".hconeai.com")
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})


class Gateway(StrEnum):
    """The kinds of gateway, which differ in how a provider is named in the URL."""

    LOCAL = "local"
    """heliconnect's own: one host, the provider is the first part of the path."""
    CLOUD = "cloud"
    """Helicone's cloud: one host name for each provider."""
    SELF_HOSTED = "self-hosted"
    """Helicone's own self-host: serves OpenAI chat completions and Anthropic messages below /v1/gateway."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How calls are routed. Immutable; `dataclasses.replace` makes a changed copy. The key never shows in the repr.

    providers maps further origins ("https://llm.example.com") to a provider name; `openai` and the other known names
    say which API the origin speaks, any other name is passed on as it is.
    failover sends a call straight to its provider when the gateway cannot be reached.
    connect_timeout_ms bounds the wait for a connection to the gateway; cooldown_ms is how long a gateway that refused
    is then left alone. record_direct keeps the records of calls that went straight to their provider, in spool_dir (a
    folder; "" is ~/.local/state/heliconnect/outbox), until the gateway takes them.

    Raises SettingsError for a base URL or an origin that is not an absolute http(s) URL.
    """

    api_key: str | None = field(default=None, repr=False)
    base_url: str = ""
    providers: Mapping[str, str] = field(default_factory=dict)
    disabled: bool = False
    failover: bool = True
    connect_timeout_ms: int = 2_000
    cooldown_ms: int = 10_000
    record_direct: bool = True
    spool_dir: str = ""

    def __post_init__(self) -> None:
        base_url = self.base_url or _default_base_url(self.api_key)
        object.__setattr__(self, "base_url", _absolute(base_url, "HELICONE_BASE_URL").rstrip("/"))
        origins = {_origin(url): name for url, name in self.providers.items()}
        object.__setattr__(self, "providers", MappingProxyType(origins))
        object.__setattr__(self, "api_key", (self.api_key or "").strip() or None)

    @property
    def gateway(self) -> Gateway:
        """The kind of gateway `base_url` names."""
        return _gateway_of(self.base_url)


@lru_cache(maxsize=64)
def _gateway_of(base_url: str) -> Gateway:
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    if ("." + host).endswith(CLOUD_DOMAINS):
        return Gateway.CLOUD
    return Gateway.SELF_HOSTED if parts.path.endswith("/v1/gateway") else Gateway.LOCAL


class SettingsChanges(TypedDict, total=False):
    """The keywords of `configure`, each a field of `Settings`."""

    api_key: str | None
    base_url: str
    providers: Mapping[str, str]
    disabled: bool
    failover: bool
    connect_timeout_ms: int
    cooldown_ms: int
    record_direct: bool
    spool_dir: str


def _default_base_url(api_key: str | None) -> str:
    if not (api_key or "").strip():
        return LOCAL_BASE_URL
    return CLOUD_EU_BASE_URL if "helicone-eu" in (api_key or "") else CLOUD_BASE_URL


def _absolute(url: str, name: str) -> str:
    try:
        parts = urlsplit(url.strip())
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        valid = False
    if not valid:
        raise SettingsError(
            f"{name} must be an absolute http(s) URL, got {url!r}; for the local gateway use {LOCAL_BASE_URL}"
        )
    return url.strip()


def _origin(url: str) -> str:
    parts = urlsplit(_absolute(url, "a provider's origin"))
    return f"{parts.scheme}://{parts.netloc}".lower()


def _flag(environ: Mapping[str, str], name: str, *, default: bool) -> bool:
    value = environ.get(name, "").strip().lower()
    if not value:
        return default
    if value in _TRUE or value in _FALSE:
        return value in _TRUE
    raise SettingsError(f"{name} must be 1 or 0, got {value!r}")


def _providers(environ: Mapping[str, str]) -> dict[str, str]:
    providers = {}
    for item in environ.get("HELICONNECT_PROVIDERS", "").split(","):
        name, equals, url = item.strip().partition("=")
        if equals:
            providers[url.strip()] = name.strip()
        elif name:
            raise SettingsError(f"HELICONNECT_PROVIDERS must be name=url[,name=url], got {item.strip()!r}")
    return providers


def from_env(environ: Mapping[str, str]) -> Settings:
    """Settings from environment variables, see the module's docstring.

    Raises SettingsError for a value that cannot be used.
    """
    return Settings(
        api_key=environ.get("HELICONE_API_KEY"),
        base_url=environ.get("HELICONE_BASE_URL", "").strip(),
        providers=_providers(environ),
        disabled=_flag(environ, "HELICONNECT_DISABLED", default=False),
        record_direct=_flag(environ, "HELICONNECT_RECORD_DIRECT", default=True),
        spool_dir=environ.get("HELICONNECT_SPOOL_DIR", "").strip(),
    )


_disabled: ContextVar[bool] = ContextVar("heliconnect_disabled", default=False)


@contextlib.contextmanager
def disabled() -> Iterator[None]:
    """Route nothing within: `with disabled(): ...`. Holds for this task or thread and the tasks it starts inside."""
    token = _disabled.set(True)
    try:
        yield
    finally:
        _disabled.reset(token)


def is_disabled() -> bool:
    """Whether this is within a `disabled()` block."""
    return _disabled.get()


_current: Settings | None = None


def get_settings() -> Settings:
    """The process's settings: what `configure` last set, else those of the environment, read once.

    Raises SettingsError when the environment holds a value that cannot be used.
    """
    global _current
    if _current is None:
        _current = from_env(os.environ)
    return _current


def current_or_none() -> Settings | None:
    """The process's settings if they were set or read already: for who wants to put them back."""
    return _current


def set_current(settings: Settings | None) -> None:
    """Put back what `current_or_none` gave; None reads the environment anew."""
    global _current
    _current = settings


def configure(settings: Settings | None = None, **changes: Unpack[SettingsChanges]) -> Settings:
    """Set the process's settings: `settings` (default: those of the environment) with `changes` applied; returns them.

    Calls already under way keep the settings they began with.

    Raises SettingsError for a value that cannot be used.
    """
    global _current
    _current = merged(settings, changes)
    return _current


def merged(settings: Settings | None, changes: SettingsChanges) -> Settings:
    """`settings` (default: those of the environment) with `changes` applied. Raises SettingsError."""
    if settings is not None:
        return replace(settings, **changes)
    if "base_url" not in changes and not os.environ.get("HELICONE_BASE_URL"):
        changes = {**changes, "base_url": ""}  # the key, wherever it is given, chooses its cloud
    return replace(from_env(os.environ), **changes)
