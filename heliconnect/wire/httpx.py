"""The shell around httpx: what is sent through `Client.send` and `AsyncClient.send` may be routed."""

from __future__ import annotations

from typing import Any

from heliconnect.errors import MissingExtraError
from heliconnect.wire import sending

try:
    import httpx
except ImportError as exc:
    raise MissingExtraError("heliconnect.wire.httpx", "httpx") from exc

__all__ = ["is_client", "patch"]


def patch() -> None:
    """Wrap httpx's clients, those that exist already too. Does nothing the second time."""
    sending.wrap(httpx)  # type: ignore[arg-type]  # a module where a protocol of its attributes is expected


def is_client(value: Any) -> bool:
    """Whether `value` is one of httpx's clients."""
    return isinstance(value, httpx.Client | httpx.AsyncClient)
