"""Dramatiq: `broker.add_middleware(CarryContext())` carries the call context from `send` to the actor.

Before the actors are declared, so that asynchronous ones are covered as well.
Source: https://dramatiq.io/reference.html#middleware
"""

from __future__ import annotations

import threading
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any

from heliconnect.callcontext import CallContext, Scope, use
from heliconnect.carrying import carry, pack, unpack
from heliconnect.errors import MissingExtraError

try:
    from dramatiq import Middleware
    from dramatiq.asyncio import async_to_sync
except ImportError as exc:
    raise MissingExtraError("heliconnect.tasks.dramatiq", "dramatiq") from exc

__all__ = ["CarryContext"]

_OPTION = "heliconnect"


class CarryContext(Middleware):
    """Puts the sender's context into a message's options, and in force while a worker processes the message."""

    def __init__(self) -> None:
        self._here = threading.local()

    def after_declare_actor(self, broker: Any, actor: Any) -> None:
        """Asynchronous actors run in a loop of their own thread: they take the context of the worker's along."""
        inner = getattr(actor.fn, "__wrapped__", None)
        if inner is None or not iscoroutinefunction(inner):
            return

        @wraps(inner)
        def run(*args: Any, **kwargs: Any) -> Any:
            return async_to_sync(carry(inner))(*args, **kwargs)

        actor.fn = run

    def before_enqueue(self, broker: Any, message: Any, delay: Any) -> None:
        """A message sent again, for a retry say, keeps the context it has."""
        packed = pack()
        if packed:
            message.options.setdefault(_OPTION, packed)

    def before_process_message(self, broker: Any, message: Any) -> None:
        """The message's context, or none, is in force from here on."""
        scope: Scope[CallContext] = use(unpack(message.options.get(_OPTION)))
        scope.__enter__()
        self._here.scope = scope

    def after_process_message(self, broker: Any, message: Any, *, result: Any = None, exception: Any = None) -> None:
        """And no longer."""
        scope = getattr(self._here, "scope", None)
        if scope is not None:
            scope.__exit__(None, None, None)
            self._here.scope = None

    after_skip_message = after_process_message
