"""What the tests of the pages share: a filled store, a client of the pages, and readings of their HTML."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from heliconnect.server.dashboard import Status, create
from heliconnect.store import Store, open_store
from tests import dashboard_records as records
from tests.dashboard_traffic import trip

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; style-src-attr 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
NOW = records.START + timedelta(minutes=10)


def filled(folder: Path) -> Store:
    """A store with one record of each kind, and a session."""
    store = open_store(folder / "records.db")
    store.append([*records.every_flavour(), *trip(records.START + timedelta(minutes=1))])
    return store


def browse(store: Store, status: Status | None = None) -> TestClient:
    """A client of the pages, mounted as the server mounts them."""
    app = create(store, now=lambda: NOW, status=lambda: status or Status())
    return TestClient(Starlette(routes=[Mount("/ui", app)]), base_url="http://127.0.0.1:8787", follow_redirects=True)


class Tags(HTMLParser):
    """Every tag of a page with its attributes, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def text_of(html: str) -> str:
    """What a reader sees, blanks made one."""
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", html))).strip()


def rows_of(html: str) -> list[str]:
    """The rows of the table as text."""
    body = html.partition("<tbody")[2] or html
    return [text_of(row) for row in re.findall(r"<tr .*?</tr>", body, re.DOTALL)]


def ids_of(html: str) -> list[str]:
    """The ids of the requests that are linked to from rows."""
    return [
        link.rpartition("/")[2].partition("?")[0] for link in re.findall(r'<td class="c-time"><a href="([^"]+)"', html)
    ]
