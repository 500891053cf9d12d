"""What all pages share: the store, the clock, templates, links below the mount point, and the headers of every answer.

`Site.page` renders a template to an answer; `guarded` runs a handler in one of a few threads of its own, so that pages
queue behind each other and never in front of anything else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import anyio
import jinja2
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from heliconnect._version import __version__
from heliconnect.server.dashboard import format as form
from heliconnect.server.dashboard.query import Query
from heliconnect.store import Store

__all__ = ["SECURITY_HEADERS", "STATIC", "Link", "Site", "Status", "guarded", "site_of"]

HERE = Path(__file__).parent
STATIC = HERE / "static"
THREADS = 6
# A browser would take the first two for folders, we the others for our own pages.
_NOT_IN_PATHS = frozenset({"", ".", "..", "rows", "tail"})
SECURITY_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; style-src-attr 'unsafe-inline'; "
        "img-src 'self' data:; font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}


@dataclass(frozen=True, slots=True)
class Status:
    """How the rest of the server does, shown at the foot of every page.

    gateway_url is what clients set as their base URL; None takes the address that the page was asked at. dropped
    counts calls that could not be recorded, waiting_bytes what is recorded but not stored yet; None is unknown.
    error is why the store takes no records now, None while it does.
    """

    gateway_url: str | None = None
    dropped: int | None = None
    waiting_bytes: int | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """Makes links below the place where the pages are mounted."""

    root: str

    def __call__(self, path: str = "", query: str = "", /, **more: str | int | None) -> str:
        """The link to `path` ("requests") with an encoded query and further parameters."""
        extra = urlencode([(name, str(value)) for name, value in more.items() if value is not None])
        joined = "&".join(part for part in (query, extra) if part)
        return f"{self.root}/{path}{'?' if joined else ''}{joined}"

    def request(self, request_id: str, query: str = "", /, **more: str | int | None) -> str:
        """The page of a request."""
        return self._of("requests", request_id, query, **more)

    def session(self, session_id: str, /, **more: str | int | None) -> str:
        """The page of a session."""
        return self._of("sessions", session_id, "", **more)

    def _of(self, noun: str, name: str, query: str, /, **more: str | int | None) -> str:
        if "/" in name or name in _NOT_IN_PATHS:
            return self(noun, query, id=name, **more)
        return self(f"{noun}/{quote(name, safe='')}", query, **more)


@dataclass(frozen=True, slots=True)
class Site:
    """Everything a page handler needs."""

    store: Store
    status: Callable[[], Status]
    now: Callable[[], datetime]
    templates: jinja2.Environment = field(default_factory=lambda: _environment())

    def page(self, request: Request, template: str, *, status_code: int = 200, **values: Any) -> HTMLResponse:
        """A rendered template."""
        html = self.templates.get_template(template).render(
            link=link_of(request), status=self.status(), now=self.now(), origin=origin_of(request), **values
        )
        return HTMLResponse(html.encode("utf-8", "replace"), status_code)


def site_of(request: Request) -> Site:
    """The site that the request's app was made with."""
    site = request.app.state.site
    assert isinstance(site, Site)
    return site


def link_of(request: Request) -> Link:
    """Links below this app's mount point."""
    return Link(quote(request.scope.get("root_path", "").rstrip("/"), safe="/"))


def origin_of(request: Request) -> str:
    """Scheme and host that the page was asked at, as a base URL for clients."""
    return f"{request.url.scheme}://{request.url.netloc}"


def guarded(
    handler: Callable[[Request], Response], limiter: anyio.CapacityLimiter
) -> Callable[[Request], Awaitable[Response]]:
    """`handler` as an endpoint that blocks a thread of ours instead of the event loop."""

    async def endpoint(request: Request) -> Response:
        return await anyio.to_thread.run_sync(handler, request, limiter=limiter)

    return endpoint


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "form": form,
        "no_query": Query(),
        "version": __version__,
        "asset": {file.name: f"static/{file.name}?v={_digest(file)}" for file in STATIC.iterdir() if file.is_file()},
        "sun": Markup((STATIC / "icon.svg").read_text("utf-8")),  # noqa: S704 - our own drawing
    }
    return environment


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:12]
