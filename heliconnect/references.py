"""Contexts that are left to be found again by a reference: for adapters whose framework carries headers, no values."""

from __future__ import annotations

import threading
import uuid
from collections import OrderedDict

from heliconnect.callcontext import CallContext

__all__ = ["find", "leave"]

_left: OrderedDict[str, CallContext] = OrderedDict()
_left_lock = threading.Lock()
_MAX_LEFT = 10_000


def leave(context: CallContext) -> str:
    """Leave a context to be found again by the reference that is given back, which fits into an ASCII header.

    For adapters whose framework carries headers but no Python values. The last 10,000 are kept.
    """
    reference = uuid.uuid4().hex
    with _left_lock:
        _left[reference] = context
        if len(_left) > _MAX_LEFT:
            _left.popitem(last=False)
    return reference


def find(reference: str) -> CallContext | None:
    """The context that was left under this reference; it stays, for further attempts of the same call."""
    return _left.get(reference)
