"""Helicone's REST API, answered from the store. Every answer is {"data": ..., "error": null or words}.

Source: https://docs.helicone.ai/rest
"""

from __future__ import annotations

from heliconnect.server.rest.importing import import_router
from heliconnect.server.rest.notes import notes_router
from heliconnect.server.rest.routes import router

__all__ = ["import_router", "notes_router", "router"]
