"""Helicone's REST API, answered from the store. Every answer is {"data": ..., "error": null or words}.

Source: https://docs.helicone.ai/rest
"""

from __future__ import annotations

from heliconnect.server.rest.export import export_router
from heliconnect.server.rest.hql import hql_router
from heliconnect.server.rest.importing import import_router
from heliconnect.server.rest.metrics import metrics_router
from heliconnect.server.rest.notes import notes_router
from heliconnect.server.rest.prometheus import prometheus_router
from heliconnect.server.rest.properties import properties_router
from heliconnect.server.rest.routes import router
from heliconnect.server.rest.sessions import sessions_router
from heliconnect.server.rest.users import users_router

__all__ = ["ROUTERS", "prometheus_router"]

# Export and import come first: /v1/request/export is no request's id.
ROUTERS = (
    export_router,
    import_router,
    router,
    notes_router,
    sessions_router,
    users_router,
    properties_router,
    metrics_router,
    hql_router,
)
