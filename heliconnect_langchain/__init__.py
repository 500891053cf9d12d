"""heliconnect for LangChain and LangGraph: one callback handler, every model call of a run recorded under its path."""

from __future__ import annotations

from heliconnect_langchain.handler import HeliconeCallbackHandler

from heliconnect_langchain.everywhere import install, uninstall  # isort: skip - the line above tells of a missing extra

__all__ = ["HeliconeCallbackHandler", "install", "uninstall"]
