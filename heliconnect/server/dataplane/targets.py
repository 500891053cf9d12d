"""Where a request goes: the control plane, or which provider's origin and path. Pure.

In: the request's path and headers. Out: a `Target`, or a `Refusal` with the answer to give. A host that is neither in
the provider table nor configured is marked as unknown: it may be reached at public addresses only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from heliconnect.routing import (
    PROVIDERS,
    is_control_path,
    local_provider,
    provider_by_name,
    provider_by_prefix,
    provider_of,
)
from heliconnect.settings import CLOUD_DOMAINS

__all__ = ["Refusal", "Target", "Targets"]

_ANTHROPIC_PATH = re.compile(r"/v1/(?:messages|complete)(?:/|$)")
_GEMINI_PATH = re.compile(r"/v1/models/[^/]+:[A-Za-z]+(?:\?|$)")
_SELF_HOST = "/v1/gateway/"
_AZURE_PATH = "/openai/deployments/"
_KEY_IN_PATH = re.compile(r"/((?:sk|pk)-helicone[A-Za-z0-9-]*)(?=/|$)")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes. provider is None for a host that no row of the table knows.

    is_trusted says that the host was configured or is in the table: its address may then be a private one.
    helicone_key is the key that stood in the path, which is taken out of it.
    """

    scheme: str
    host: str
    port: int
    path: str
    provider: str | None
    is_trusted: bool
    helicone_key: str | None = None

    @property
    def authority(self) -> str:
        """Host and, unless it is the scheme's own, port: the Host header's value."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.scheme == "https" else 80) else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The whole URL."""
        return f"{self.scheme}://{self.authority}{self.path}"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that is not forwarded: the status and the words it is answered with."""

    status: int
    message: str


class Targets:
    """Decides for each request; upstreams and allow_targets as in `Config`.

    trusts_local says that callers are on this machine, so that its LLM servers (Ollama's port and the like) are theirs.
    """

    def __init__(self, upstreams: dict[str, str], allow_targets: list[str], *, trusts_local: bool = False) -> None:
        self._trusts_local = trusts_local
        self._upstreams = {name: url.rstrip("/") for name, url in upstreams.items()}
        self._origins = {_origin(url) for url in self._upstreams.values()}
        self._allowed = {host.lower() for host in allow_targets}

    def is_control(self, path: str) -> bool:
        """Whether our own pages or API answer this path (without query)."""
        return is_control_path(path)

    def of(self, target: str, target_url: str, api_base: str, host: str = "") -> Target | Refusal:
        """Where a request for `target` (path and query) goes.

        host is the name the request came by: one of Helicone's own, `oai.helicone.ai` say, names the provider, and the
        path is the provider's. Paths of Helicone's self-host, `/v1/gateway/oai/...`, are understood too.
        target_url and api_base are the values of `Helicone-Target-URL` and `Helicone-OpenAI-Api-Base`, or empty: their
        origin takes the place of the provider's, a path in them is dropped, as Helicone does.
        """
        if not target.startswith("/"):
            return Refusal(400, "the request target must begin with a slash")
        key: str | None = None
        if (found := _KEY_IN_PATH.match(target)) is not None:
            key, target = found[1], target[found.end() :] or "/"
        if target.startswith(_SELF_HOST):
            target = target[len(_SELF_HOST) - 1 :]
        first, slash, rest = target[1:].partition("/")
        is_azure = target.startswith(_AZURE_PATH)  # the API's own path, not our prefix for OpenAI
        name, path = _provider_by_host(host), target
        named = provider_by_prefix(first) if name is None and slash and not is_azure else None
        if named is not None:
            name, path = named.name, "/" + rest
        if name is None and slash and first in self._upstreams and not is_azure:
            name, path = first, "/" + rest
        wanted = target_url or api_base
        if wanted:
            return self._named_by_header(wanted, path, name, key)
        if name is None:
            name = _provider_by_path(path)
        if name is None:
            prefixes = ", ".join(f"/{provider.prefix}/" for provider in PROVIDERS)
            return Refusal(
                404, f"no provider for this path: expected one of {prefixes} or a Helicone-Target-URL header"
            )
        base = self._upstreams.get(name)
        provider = provider_by_name(name)
        if base is None and (provider is None or provider.origin is None):
            return Refusal(400, f"{name} has no fixed address: send its origin as Helicone-Target-URL")
        return _target(base or str(provider and provider.origin), path, name, is_trusted=True, key=key)

    def _named_by_header(self, url: str, path: str, name: str | None, key: str | None) -> Target | Refusal:
        try:
            origin = _origin(url)
        except ValueError:
            return Refusal(400, "Helicone-Target-URL must be an absolute http(s) URL")
        host = urlsplit(origin).hostname or ""
        local = local_provider(origin, path) if self._trusts_local else None
        provider = local or provider_of(host)
        is_known = local is not None or (provider is not None and origin.startswith("https"))
        is_trusted = origin in self._origins or host in self._allowed or is_known
        if name is None and provider is not None:
            name = provider.name
        return _target(origin, path, name, is_trusted=is_trusted, key=key)


def _provider_by_host(host: str) -> str | None:
    """The provider of a host name of Helicone's cloud: `oai.helicone.ai`, `anthropic.us.hconeai.com`."""
    label, _, domain = host.lower().partition(":")[0].partition(".")
    if not domain or not f".{domain}".endswith(CLOUD_DOMAINS):
        return None
    return next((provider.name for provider in PROVIDERS if label in {provider.label, provider.name}), None)


def _provider_by_path(path: str) -> str | None:
    if _ANTHROPIC_PATH.match(path):
        return "anthropic"
    if path.startswith("/v1beta/") or _GEMINI_PATH.match(path):
        return "google"
    if path.startswith(_AZURE_PATH):
        return "azure"
    return "openai" if path.startswith("/v1/") else None


def _origin(url: str) -> str:
    parts = urlsplit(url.strip())
    if parts.scheme.lower() not in {"http", "https"} or not parts.hostname or parts.username is not None:
        raise ValueError(url)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = (
        "" if parts.port is None or parts.port == (443 if parts.scheme.lower() == "https" else 80) else f":{parts.port}"
    )
    return f"{parts.scheme.lower()}://{host}{port}"


def _target(base: str, path: str, name: str | None, *, is_trusted: bool, key: str | None) -> Target:
    parts = urlsplit(base)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return Target(parts.scheme, parts.hostname or "", port, parts.path + path, name, is_trusted, key)
