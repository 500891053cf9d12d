"""The shell around httpx2: what is sent through `Client.send` and `AsyncClient.send` may be routed."""

from __future__ import annotations

from typing import Any

from heliconnect.errors import MissingExtraError
from heliconnect.wire import sending
from heliconnect.wrapping import Point

try:
    import httpx2
except ImportError as exc:
    raise MissingExtraError("heliconnect.wire.httpx2", "httpx2") from exc

__all__ = ["is_client", "patch", "patch_client", "points", "unpatch"]


_MODULE: sending.HttpModule = httpx2  # type: ignore[assignment]  # a module where a protocol of its attributes is expected


def patch() -> None:
    """Wrap all of httpx2's clients, those that exist already too. Does nothing the second time."""
    sending.wrap(_MODULE)


def unpatch() -> None:
    """Undo `patch`, unless another tool has wrapped the clients since."""
    sending.unwrap(_MODULE)


def points() -> tuple[Point, ...]:
    """What `patch` wraps."""
    return sending.points(_MODULE)


def patch_client(client: Any) -> None:
    """Wrap this client alone."""
    sending.wrap_client(client, _MODULE)


def is_client(value: Any) -> bool:
    """Whether `value` is one of httpx2's clients."""
    return isinstance(value, httpx2.Client | httpx2.AsyncClient)
