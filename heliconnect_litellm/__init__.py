"""heliconnect for LiteLLM: `litellm.callbacks = [HeliconeLogger()]`."""

from __future__ import annotations

from heliconnect_litellm.logger import HeliconeLogger

__all__ = ["HeliconeLogger"]
