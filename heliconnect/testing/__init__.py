"""Help for tests of code that calls LLMs: a scripted provider on a real socket, and the pytest fixture `helicone`.

The provider needs only the standard library, the fixture the extra `testing`.

    from heliconnect.testing import Provider, Reply

    with Provider() as provider:
        provider.script(Reply(text="Rayleigh scattering."), Reply(status=429))
        ...
        assert provider.requests[0].json()["model"] == "gpt-4o"

Names are loaded when first used, so that `python -m heliconnect.testing.provider` runs its module once, not twice.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from heliconnect.testing.gateway import Call, Helicone, vcr_config
    from heliconnect.testing.provider import Provider
    from heliconnect.testing.replies import Reply
    from heliconnect.testing.wire import Received

__all__ = ["Call", "Helicone", "Provider", "Received", "Reply", "vcr_config"]

_HOMES = {
    "Call": "heliconnect.testing.gateway",
    "Helicone": "heliconnect.testing.gateway",
    "vcr_config": "heliconnect.testing.gateway",
    "Provider": "heliconnect.testing.provider",
    "Received": "heliconnect.testing.wire",
    "Reply": "heliconnect.testing.replies",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'heliconnect.testing' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
