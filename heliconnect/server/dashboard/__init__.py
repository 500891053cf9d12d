"""The pages at /ui: a Starlette sub-app over a `Store`, made by `create`. Server-rendered; reads only."""

from __future__ import annotations

from heliconnect.server.dashboard.app import Status, create

__all__ = ["Status", "create"]
