"""The routes of the pages, their error pages, and the headers every answer carries.

    app.mount("/ui", create(store, status=...))

Who may ask (host names, origins) is decided by whoever mounts this; what an answer may do in a browser, here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime

from heliconnect.errors import MissingExtraError, StoreError
from heliconnect.store import Store

try:
    import anyio
    from starlette.applications import Starlette
    from starlette.datastructures import MutableHeaders
    from starlette.exceptions import HTTPException
    from starlette.middleware import Middleware
    from starlette.requests import Request
    from starlette.responses import RedirectResponse, Response
    from starlette.routing import Mount, Route
    from starlette.staticfiles import StaticFiles
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from heliconnect.server.dashboard.request import request_page, request_part, request_raw
    from heliconnect.server.dashboard.requests import Choices, requests_page, requests_rows, requests_tail
    from heliconnect.server.dashboard.sessions import session_page, sessions_page
    from heliconnect.server.dashboard.site import SECURITY_HEADERS, STATIC, THREADS, Site, Status, guarded, link_of
except ImportError as exc:
    raise MissingExtraError("heliconnect.server.dashboard", "server") from exc

__all__ = ["Status", "create"]

_log = logging.getLogger("heliconnect")


def create(
    store: Store,
    *,
    status: Callable[[], Status] = Status,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Starlette:
    """The pages over `store`, as an app to be mounted anywhere. status is asked for once a page; it must not block."""
    limiter = anyio.CapacityLimiter(THREADS)

    def route(path: str, handler: Callable[[Request], Response]) -> Route:
        return Route(path, guarded(handler, limiter), methods=["GET"])

    app = Starlette(
        routes=[
            Route("/", _home, methods=["GET"]),
            route("/requests", _list_or_one(requests_page, request_page)),
            route("/requests/rows", requests_rows),
            route("/requests/tail", requests_tail),
            route("/raw/{side}", request_raw),
            route("/part/{address}", request_part),
            route("/requests/{id:path}", lambda request: request_page(request, request.path_params["id"])),
            route("/sessions", _list_or_one(sessions_page, session_page)),
            route("/sessions/{id:path}", lambda request: session_page(request, request.path_params["id"])),
            route("/login", _login),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        middleware=[Middleware(_Headers)],
        exception_handlers={HTTPException: _refused, StoreError: _unreadable, Exception: _failed},
    )
    app.state.site = Site(store, status, now)
    app.state.choices = Choices()
    return app


def _home(request: Request) -> Response:
    return RedirectResponse(link_of(request)("requests"), 307)


def _login(request: Request) -> Response:
    """The form; what it sends is read by whoever guards the pages."""
    site: Site = request.app.state.site
    asked = request.query_params
    return site.page(request, "login.html", is_wrong="wrong" in asked, wanted=asked.get("next", "/ui/"))


def _list_or_one(
    many: Callable[[Request], Response], one: Callable[[Request, str], Response]
) -> Callable[[Request], Response]:
    """A list; or the one thing `?id=` names, for ids that cannot stand in a path."""

    def handler(request: Request) -> Response:
        name = request.query_params.get("id")
        return one(request, name) if name else many(request)

    return handler


def _error_page(request: Request, status_code: int, title: str, detail: str) -> Response:
    site: Site = request.app.state.site
    return site.page(request, "error.html", status_code=status_code, title=title, detail=detail)


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    title = "Not found" if error.status_code == 404 else f"Not possible ({error.status_code})"
    detail = error.detail if error.detail != "Not Found" else "There is no such page."
    return _error_page(request, error.status_code, title, detail)


def _unreadable(request: Request, error: Exception) -> Response:
    _log.warning("a page could not be made: %s", error)
    return _error_page(request, 503, "The records cannot be read", str(error))


def _failed(request: Request, error: Exception) -> Response:
    response = _error_page(
        request, 500, "This page could not be made", f"{type(error).__name__}: see the server's log."
    )
    response.headers.update(SECURITY_HEADERS)  # this answer is made outside of the middleware
    return response


class _Headers:
    """Adds the headers of `SECURITY_HEADERS`, and who may keep an answer for how long."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_versioned = "/static/" in scope.get("path", "") and scope.get("query_string", b"").startswith(b"v=")

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(SECURITY_HEADERS)
                is_kept = is_versioned and message["status"] == 200
                headers["cache-control"] = "public, max-age=31536000, immutable" if is_kept else "private, no-cache"
            await send(message)

        await self._app(scope, receive, send_with_headers)
