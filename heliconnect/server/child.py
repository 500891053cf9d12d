"""What every child process of the supervisor does: say that it is ready, and end when the supervisor is gone."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable

__all__ = ["say_ready", "watch_parent"]


def say_ready(words: str = "") -> None:
    """Print the line that the supervisor waits for."""
    print(f"ready {words}".rstrip(), flush=True)  # noqa: T201 - this line is the protocol


def watch_parent(gone: Callable[[], object]) -> None:
    """Call `gone`, from a thread, when the standard input is closed: the supervisor held its other end.

    Does nothing where the standard input is a terminal or absent: then the process was started by hand.
    """
    if sys.stdin is None or sys.stdin.closed or os.isatty(sys.stdin.fileno()):
        return

    def wait() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                continue
        with contextlib.suppress(RuntimeError):  # the event loop is closed already
            gone()

    threading.Thread(target=wait, name="watch-parent", daemon=True).start()
