"""One handler for all runs of the process, in every thread: `heliconnect_langchain.install()`."""

from __future__ import annotations

from typing import Any

from heliconnect_langchain.handler import HeliconeCallbackHandler

from langchain_core.tracers.context import register_configure_hook  # isort: skip - the line above tells of a missing extra

__all__ = ["install", "uninstall"]


class _Everywhere:
    """Stands where LangChain expects a context variable, which would be empty in threads."""

    def __init__(self) -> None:
        self.handler: HeliconeCallbackHandler | None = None

    def get(self) -> HeliconeCallbackHandler | None:
        return self.handler


_everywhere = _Everywhere()
_is_registered = False


def install(handler: HeliconeCallbackHandler | None = None, **options: Any) -> HeliconeCallbackHandler:
    """Watch every run of the process; gives the handler that does so.

    options are those of `HeliconeCallbackHandler`. A run that has a handler of ours already keeps that one.
    """
    global _is_registered
    _everywhere.handler = handler if handler is not None else HeliconeCallbackHandler(**options)
    if not _is_registered:
        _is_registered = True
        variable: Any = _everywhere
        register_configure_hook(variable, True, HeliconeCallbackHandler)
    return _everywhere.handler


def uninstall() -> None:
    """Watch only runs that are given a handler."""
    _everywhere.handler = None
