#!/usr/bin/env python3
"""Photographs every page of the dashboard, in both themes, for desktop and phone, over records made for the purpose.

    python scripts/screenshots.py FOLDER [PAGE ...]

Needs playwright and a Chromium (CHROMIUM names its path where it is not /usr/bin/chromium). Nothing leaves the machine.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import uvicorn
from playwright.sync_api import Browser, sync_playwright
from starlette.applications import Starlette
from starlette.routing import Mount

sys.path.insert(0, str(Path(__file__).parents[1]))

from heliconnect.exchange import End
from heliconnect.server.dashboard import Status, create
from heliconnect.store import Store, open_store
from tests import dashboard_records as records
from tests.dashboard_traffic import few_sessions, traffic

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
ARGUMENTS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
]
SCREENS = {"desk": (1440, 900, 1), "phone": (390, 844, 2)}
PAGES = {
    "first-run": "/empty/requests",
    "requests": "/ui/requests",
    "requests-filtered": "/ui/requests?status=errors&property=tier%3Dpro",
    "requests-nothing": "/ui/requests?q=no+such+words&model=gpt-4o",
    "request": "/ui/requests/shown-tools",
    "request-claude": "/ui/requests/shown-claude",
    "request-plain": "/ui/requests/shown-tools?view=plain",
    "request-cut": "/ui/requests/shown-cut",
    "request-hostile": "/ui/requests/shown-hostile",
    "request-json": "/ui/requests/shown-tools?tab=json",
    "request-headers": "/ui/requests/shown-tools?tab=headers",
    "sessions": "/ui/sessions",
    "session": "/ui/sessions/sess-05c4e5f",
    "not-found": "/ui/requests/unknown",
}


def seed(store: Store) -> None:
    """A few hours of an app's calls, some sessions, and the calls that have a picture of their own."""
    now = datetime.now(UTC)
    calls = traffic(420, until=now - timedelta(seconds=40))
    for made in few_sessions(now - timedelta(minutes=2)):
        calls += made
    context = records.who("linus@example.com", feature="help-desk", tier="pro", env="prod")
    shown = [
        replace(records.with_tools(headers=context, at=now - timedelta(seconds=38)), request_id="shown-tools"),
        replace(records.claude(headers=context, at=now - timedelta(seconds=30)), request_id="shown-claude"),
        replace(
            records.chat_stream(
                "For gravel, take something", end=End.CUT, has_usage=False, headers=context,
                at=now - timedelta(seconds=20), error="upstream closed the connection after 1,204 bytes",
            ),
            request_id="shown-cut",
        ),
    ]  # fmt: skip
    calls.sort(key=lambda one: one.timing.started_at)
    hostile = replace(records.hostile(at=now - timedelta(days=2)), request_id="shown-hostile")
    store.append([hostile, *calls, *shown])


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The dashboard over a seeded store at /ui, and over an empty one at /empty."""
    store, empty = open_store(folder / "records.db"), open_store(folder / "empty.db")
    seed(store)
    status = Status(gateway_url="http://127.0.0.1:8787")
    app = Starlette(
        routes=[
            Mount("/ui", create(store, status=lambda: status)),
            Mount("/empty", create(empty, status=lambda: status)),
        ]
    )
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        store.close()
        empty.close()


def photograph(browser: Browser, base: str, folder: Path, pages: list[str]) -> None:
    """One PNG for each page, theme and screen: requests-dark-phone.png."""
    for screen, (width, height, scale) in SCREENS.items():
        for theme in ("light", "dark"):
            context = browser.new_context(
                viewport={"width": width, "height": height},
                device_scale_factor=scale,
                color_scheme="dark" if theme == "dark" else "light",
                is_mobile=screen == "phone",
                reduced_motion="reduce",
            )
            page = context.new_page()
            page.on("console", lambda message: print("console:", message.text, file=sys.stderr))
            for name in pages:
                page.goto(base + PAGES[name])
                page.wait_for_timeout(250)
                page.screenshot(path=folder / f"{name}-{theme}-{screen}.png")
            context.close()


def main() -> int:
    """Take the pictures; 2 when called wrongly."""
    if len(sys.argv) < 2 or not set(sys.argv[2:]) <= PAGES.keys():
        print(f"usage: {Path(sys.argv[0]).name} FOLDER [{'|'.join(PAGES)} ...]", file=sys.stderr)
        return 2
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, serving(Path(scratch)) as base, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        photograph(browser, base, folder, sys.argv[2:] or list(PAGES))
        browser.close()
    print(f"{len(list(folder.glob('*.png')))} pictures in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
