"""heliconnect: who caused each LLM call, what was said and what it cost.

    import heliconnect as hc

    hc.install()                                        # or hc.connect(client) for one client
    with hc.context(user_id="u-42", properties={"tier": "pro"}):
        with hc.session("trip planner"), hc.step("search"):
            client.responses.create(model=..., input=...)

Names are loaded when first used: importing heliconnect imports no HTTP library and no framework.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from heliconnect._version import __version__

if TYPE_CHECKING:
    from heliconnect.api import Api, AsyncApi, feedback, where
    from heliconnect.callcontext import (
        CallContext,
        Session,
        context,
        current,
        identify,
        last_request_id,
        session,
        step,
        use,
    )
    from heliconnect.carrying import Executor, carry, dump, load
    from heliconnect.diagnosis import diagnose
    from heliconnect.errors import (
        ApiError,
        HeliconnectError,
        MissingExtraError,
        SettingsError,
        StoreError,
        UnsupportedClientError,
    )
    from heliconnect.manual import log, log_data, log_tool, log_vector_search, logged
    from heliconnect.outgoing import headers
    from heliconnect.sender import flush
    from heliconnect.settings import Settings, configure, disabled
    from heliconnect.wire.install import connect, install, uninstall
    from heliconnect.wire.report import status

__all__ = [
    "Api",
    "ApiError",
    "AsyncApi",
    "CallContext",
    "Executor",
    "HeliconnectError",
    "MissingExtraError",
    "Session",
    "Settings",
    "SettingsError",
    "StoreError",
    "UnsupportedClientError",
    "__version__",
    "carry",
    "configure",
    "connect",
    "context",
    "current",
    "diagnose",
    "disabled",
    "dump",
    "feedback",
    "flush",
    "headers",
    "identify",
    "install",
    "last_request_id",
    "load",
    "log",
    "log_data",
    "log_tool",
    "log_vector_search",
    "logged",
    "session",
    "status",
    "step",
    "uninstall",
    "use",
    "where",
]

_HOMES = {
    "Api": "heliconnect.api",
    "ApiError": "heliconnect.errors",
    "AsyncApi": "heliconnect.api",
    "CallContext": "heliconnect.callcontext",
    "Executor": "heliconnect.carrying",
    "HeliconnectError": "heliconnect.errors",
    "MissingExtraError": "heliconnect.errors",
    "Session": "heliconnect.callcontext",
    "Settings": "heliconnect.settings",
    "SettingsError": "heliconnect.errors",
    "StoreError": "heliconnect.errors",
    "UnsupportedClientError": "heliconnect.errors",
    "carry": "heliconnect.carrying",
    "configure": "heliconnect.settings",
    "connect": "heliconnect.wire.install",
    "context": "heliconnect.callcontext",
    "current": "heliconnect.callcontext",
    "diagnose": "heliconnect.diagnosis",
    "disabled": "heliconnect.settings",
    "dump": "heliconnect.carrying",
    "feedback": "heliconnect.api",
    "flush": "heliconnect.sender",
    "headers": "heliconnect.outgoing",
    "identify": "heliconnect.callcontext",
    "install": "heliconnect.wire.install",
    "last_request_id": "heliconnect.callcontext",
    "load": "heliconnect.carrying",
    "log": "heliconnect.manual",
    "log_data": "heliconnect.manual",
    "log_tool": "heliconnect.manual",
    "log_vector_search": "heliconnect.manual",
    "logged": "heliconnect.manual",
    "session": "heliconnect.callcontext",
    "status": "heliconnect.wire.report",
    "step": "heliconnect.callcontext",
    "uninstall": "heliconnect.wire.install",
    "use": "heliconnect.callcontext",
    "where": "heliconnect.api",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'heliconnect' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
