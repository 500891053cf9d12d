"""heliconnect for LangChain and LangGraph: one callback handler, every model call of a run recorded under its path."""

from __future__ import annotations

from heliconnect_langchain.handler import HeliconeCallbackHandler

__all__ = ["HeliconeCallbackHandler"]
