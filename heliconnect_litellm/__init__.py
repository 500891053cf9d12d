"""heliconnect for LiteLLM: `litellm.callbacks = [HeliconeLogger()]`, or `callbacks: heliconnect_litellm.logger`.

`logger` is the process's logger, made when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from heliconnect_litellm.hooks import HeliconeLogger

if TYPE_CHECKING:
    logger: HeliconeLogger

__all__ = ["HeliconeLogger", "logger"]


def __getattr__(name: str) -> HeliconeLogger:
    if name != "logger":
        raise AttributeError(f"module 'heliconnect_litellm' has no attribute {name!r}")
    made = globals()["logger"] = HeliconeLogger()
    return made
