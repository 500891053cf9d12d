"""Methods of other libraries that are wrapped and unwrapped again, in any order with other tools that do the same.

Our wrapper names itself: a wrapper of another tool over it may show its attributes too (`functools.wraps`, proxies),
and must not be taken for it, or we would take that one away.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import Any

__all__ = ["is_wrapped", "unwrap", "wrap"]

Point = tuple[Any, str]
"""A class and the name of its method."""


def wrap(cls: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Put `make(method)` in the method's place, unless ours is at work there already."""
    original = getattr(cls, name)
    if not is_wrapped(cls, name):
        wrapper: Any = update_wrapper(make(original), original)
        wrapper._heliconnect = (wrapper, original)
        setattr(cls, name, wrapper)


def unwrap(cls: Any, name: str) -> None:
    """Put back what `wrap` replaced; where another tool has wrapped the method since, ours stays below."""
    method = getattr(cls, name)
    wrapper, original = getattr(method, "_heliconnect", (None, None))
    if wrapper is method:
        setattr(cls, name, original)


def is_wrapped(cls: Any, name: str) -> bool:
    """Whether ours is at work: as the method itself, or, as far as can be seen, below what others put over it."""
    return hasattr(getattr(cls, name), "_heliconnect")
