"""Which reply answers which request: queued replies first, then rules, then the default. Safe from any thread."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass

from heliconnect.testing.replies import Reply, texts_of
from heliconnect.testing.wire import Received

__all__ = ["Fits", "Script", "fits_all"]

Fits = Callable[[Received], bool]


@dataclass(frozen=True, slots=True)
class _Rule:
    reply: Reply
    fits: Fits
    is_once: bool


class Script:
    """The replies a provider was told to give."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: list[_Rule] = []
        self._default = Reply()

    def add(self, reply: Reply, fits: Fits, times: int | None) -> None:
        """Give `reply` to the next `times` requests that fit; None: to all of them."""
        rules = [_Rule(reply, fits, times is not None)] * (1 if times is None else times)
        with self._lock:
            self._rules += rules

    def set_default(self, reply: Reply) -> None:
        """Give `reply` where nothing else fits."""
        with self._lock:
            self._default = reply

    def clear(self) -> None:
        """Back to the default of a new script."""
        with self._lock:
            self._rules, self._default = [], Reply()

    def choose(self, request: Received) -> Reply:
        """The reply for `request`: the oldest queued one that fits, used up by it, else the oldest rule that fits.

        Predicates are called without the lock, so that they may use the provider; they run for one request at a time.
        """
        with self._lock:
            rules, default = list(self._rules), self._default
        for rule in sorted(rules, key=lambda rule: not rule.is_once):
            if rule.fits(request):
                if rule.is_once:
                    self._use_up(rule)
                return rule.reply
        return default

    def _use_up(self, rule: _Rule) -> None:
        with self._lock:
            if rule in self._rules:
                self._rules.remove(rule)


def fits_all(*, model: str | None, path: str | None, text: str | None, matches: Fits | None) -> Fits:
    """A predicate that holds when all that is given holds: the exact model, a part of path or body, a predicate."""

    def fits(request: Received) -> bool:
        return (
            (model is None or request.model == model)
            and (path is None or path in request.path)
            and (text is None or _holds(request, text))
            and (matches is None or matches(request))
        )

    return fits


def _holds(request: Received, text: str) -> bool:
    """Whether the body has `text`, as it was sent or inside a message, where JSON may have escaped it."""
    if text.encode() in request.body:
        return True
    try:
        return any(text in piece for piece in texts_of(request.json()))
    except json.JSONDecodeError:
        return False
