"""OpenTelemetry traces: spans that are LLM calls become records, spans around them give sessions their paths.

spans.py and protobuf.py read what exporters send, calls.py and chat.py the attributes, captures.py makes the records.
Source: https://opentelemetry.io/docs/specs/otlp/#otlphttp
"""

from __future__ import annotations

from heliconnect.server.otlp.router import otlp_router

__all__ = ["otlp_router"]
