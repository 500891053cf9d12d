"""All checks, one after the other."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata

from heliconnect.diagnosis.finding import Finding, Level
from heliconnect.diagnosis.gateway import check_gateway
from heliconnect.diagnosis.process import check_libraries, check_loggers, check_routing, check_threads
from heliconnect.diagnosis.setup import check_environment, check_key, check_packages, check_url
from heliconnect.errors import SettingsError
from heliconnect.settings import Settings, get_settings

__all__ = ["diagnose"]

_SDKS = ("openai", "anthropic", "google-genai", "mistralai", "groq", "litellm", "langchain-openai", "cohere", "ollama")
_LEVELS = tuple(Level)


def diagnose(
    settings: Settings | None = None, *, asks_gateway: bool = True, environ: Mapping[str, str] | None = None
) -> list[Finding]:
    """What is set up wrongly in this process, the worst first; empty when all is well.

    settings default to the process's, environ to the environment. With asks_gateway=False nothing is sent. Otherwise
    the gateway is asked for its health and for one streamed answer that it makes by itself; no provider is called.
    """
    environ = os.environ if environ is None else environ
    try:
        used = settings if settings is not None else get_settings()
    except SettingsError as error:
        return [Finding("bad-setting", Level.ERROR, str(error), "correct it; until then calls are not routed")]
    found = list(_checked(used, environ, asks_gateway=asks_gateway))
    return sorted(found, key=lambda finding: _LEVELS.index(finding.level))


def _checked(settings: Settings, environ: Mapping[str, str], *, asks_gateway: bool) -> Iterator[Finding]:
    versions = _versions()
    yield from check_environment(settings, environ)
    yield from check_key(settings)
    wrong = list(check_url(settings))
    yield from wrong
    yield from check_packages(versions, tuple(sys.modules))
    yield from check_routing()
    yield from check_libraries(versions, _users(versions))
    yield from check_loggers()
    yield from check_threads()
    if asks_gateway and not wrong:
        yield from check_gateway(settings)


def _versions() -> dict[str, str]:
    return {dist.name.lower().replace("_", "-"): dist.version for dist in metadata.distributions() if dist.name}


def _users(versions: Mapping[str, str]) -> dict[str, list[str]]:
    """Which of the SDKs that are installed need httpx, and which httpx2."""
    users: dict[str, list[str]] = {"httpx": [], "httpx2": []}
    for sdk in _SDKS:
        if sdk in versions:
            needed = {requirement.split(";")[0].strip() for requirement in metadata.requires(sdk) or []}
            names = {name for one in needed if (name := _name(one)) in users}
            for name in sorted(names):
                users[name].append(sdk)
    return users


def _name(requirement: str) -> str:
    end = next((at for at, char in enumerate(requirement) if char in " <>=!~[("), len(requirement))
    return requirement[:end].lower()
