"""The pages in a real browser: nothing complains, new calls appear by themselves, keys work, phones fit."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount

from heliconnect.exchange import Exchange
from heliconnect.server.dashboard import create
from heliconnect.server.keys import KEYS, Keys
from heliconnect.server.supervisor import ServerOptions, running
from heliconnect.store import Store, open_store
from tests import dashboard_records as records
from tests.dashboard_traffic import trip

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, Page

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
DESK, TABLET, PHONE = (1440, 900), (940, 700), (390, 844)


def unavailable(what: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing: CI runs the browser tests")
    pytest.skip(f"{what} is not installed")


class Served:
    """The pages on a real port, which can be stopped and started again."""

    def __init__(self, store: Store) -> None:
        self.store = store
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/ui"

    def start(self) -> None:
        app = Starlette(routes=[Mount("/ui", create(self.store))])
        config = uvicorn.Config(
            app, port=self.port, log_level="error", lifespan="off", timeout_graceful_shutdown=1, ws="none"
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        deadline = time.monotonic() + 10
        while not self.server.started:
            assert time.monotonic() < deadline, "the pages did not start"
            time.sleep(0.01)

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(10)


def late(exchange: Exchange, request_id: str, **seconds: float) -> Exchange:
    """`exchange` as one that has just ended."""
    at = datetime.now(UTC) - timedelta(**seconds)
    return replace(exchange, request_id=request_id, timing=replace(exchange.timing, started_at=at))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """Pages over an empty store of the test's own."""
    store = open_store(tmp_path / "records.db")
    served = Served(store)
    served.start()
    yield served
    served.stop()
    store.close()


@pytest.fixture
def filled(served: Served) -> Served:
    """Pages over one call of each kind, a session, and 200 more calls."""
    served.store.append([late(records.chat(f"question {at}", "yes"), f"n-{at:03d}", hours=1) for at in range(200)])
    served.store.append([*records.every_flavour(), *trip(records.START)])
    return served


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    """One Chromium for all tests here."""
    try:
        from playwright.async_api import async_playwright
    except ImportError:
        unavailable("playwright")
    if CHROMIUM is None:
        unavailable("chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        await browser.close()


class Watched:
    """A page that keeps what the browser complains about, and to which hosts it talks."""

    def __init__(self, page: Page, context: BrowserContext) -> None:
        self.page = page
        self.context = context
        self.complaints: list[str] = []
        self.hosts: set[str] = set()
        page.on(
            "console",
            lambda message: self.complaints.append(message.text) if message.type in {"error", "warning"} else None,
        )
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.hosts.add(request.url.split("/")[2] if "//" in request.url else "data"))

    async def script(self, code: str) -> Any:
        return await self.page.evaluate(code)


async def watch(browser: Browser, size: tuple[int, int] = DESK, **options: Any) -> Watched:
    context = await browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
    context.set_default_timeout(10_000)
    return Watched(await context.new_page(), context)


PAGES = (
    *("requests", "requests?status=errors&user=grace", "requests?q=nothing", "sessions", "sessions/sess-234328e7"),
    *("requests/r-03", "requests/r-04", "requests/r-09", "requests/r-09?tab=json", "requests/r-09?tab=headers"),
    *(
        "requests/r-12",
        "requests/r-14",
        "requests/r-16",
        "requests/r-19",
        "requests/r-19?view=plain",
        "requests/r-19?tab=json",
    ),
)


@pytest.mark.parametrize(
    "size", [pytest.param(DESK, id="desk"), pytest.param(TABLET, id="tablet"), pytest.param(PHONE, id="phone")]
)
@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_no_page_complains_runs_foreign_code_or_overflows(
    browser: Browser, filled: Served, size: tuple[int, int], theme: Any
) -> None:
    """No error, no violation of the policy, no request to elsewhere, no sideways scrolling, whatever is shown."""
    seen = await watch(browser, size, color_scheme=theme)
    for path in PAGES:
        await seen.page.goto(f"{filled.url}/{path}")
        assert seen.complaints == [], path
        assert await seen.script("document.documentElement.scrollWidth - innerWidth") <= 0, path
        assert await seen.script("window.hit") is None, path
        assert await seen.page.locator("h1").is_visible(), path
    assert seen.hosts - {"data"} == {f"127.0.0.1:{filled.port}"}
    await seen.context.close()


async def test_a_new_call_appears_by_itself(browser: Browser, filled: Served) -> None:
    """Within two seconds of being stored, on top, with its facts, counted; only where it matches the filter."""
    seen, filtered = await watch(browser), await watch(browser)
    await seen.page.goto(f"{filled.url}/requests")
    await filtered.page.goto(f"{filled.url}/requests?user=grace")
    await seen.page.locator(".state-text[data-is=on]").wait_for()
    filled.store.append([late(records.chat("Just now?", "Yes, now."), "just-now")])
    began = time.monotonic()
    row = seen.page.locator("tbody tr").first
    await seen.page.get_by_text("Just now?").wait_for(timeout=2_000)
    assert time.monotonic() - began < 2
    assert "Yes, now." in await row.inner_text()
    assert await seen.page.locator("[data-count]").inner_text() == "234"
    filled.store.append([late(records.chat("Mine?", "Yes.", headers=records.who("grace")), "mine")])
    await filtered.page.get_by_text("Mine?").wait_for(timeout=2_500)
    assert await filtered.page.get_by_text("Just now?").count() == 0
    await seen.page.get_by_text("Mine?").click()
    await seen.page.wait_for_url("**/requests/mine")
    assert seen.complaints == filtered.complaints == []
    await seen.context.close()
    await filtered.context.close()


async def test_new_rows_do_not_move_what_is_being_read(browser: Browser, filled: Served) -> None:
    """Scrolled down, the rows in sight stay in their place, and a pill counts what is new."""
    seen = await watch(browser)
    await seen.page.goto(f"{filled.url}/requests")
    await seen.page.locator(".state-text[data-is=on]").wait_for()
    await seen.script("document.querySelector('[data-scroll]').scrollTop = 700")
    place = "document.querySelector('tr[data-key=\"200\"]').getBoundingClientRect().top"
    before = await seen.script(place)
    filled.store.append([late(records.chat(f"fresh {at}", "yes"), f"fresh-{at}") for at in range(3)])
    pill = seen.page.locator("[data-new]")
    await pill.wait_for(timeout=2_500)
    assert await pill.inner_text() == "3 new"
    assert abs(await seen.script(place) - before) < 1
    await pill.click()
    await pill.wait_for(state="hidden")
    assert await seen.script("document.querySelector('[data-scroll]').scrollTop") < 10
    await seen.context.close()


async def test_older_rows_come_while_scrolling(browser: Browser, filled: Served) -> None:
    """Down to the very first call, each row once."""
    seen = await watch(browser)
    await seen.page.goto(f"{filled.url}/requests?model=gpt-4o-mini")
    assert await seen.page.locator("tbody tr").count() == 60
    for _ in range(600):
        await seen.script("document.querySelector('[data-scroll]').scrollTop = 1e9")
        if await seen.page.locator("[data-more]").count() == 0:
            break
        await asyncio.sleep(0.1)
    keys = await seen.script("[...document.querySelectorAll('tbody tr')].map(row => Number(row.dataset.key))")
    assert keys == sorted(set(keys), reverse=True)
    assert keys[-1] == 1
    assert seen.complaints == []
    await seen.context.close()


async def test_the_keyboard_walks_through_the_pages(browser: Browser, filled: Served) -> None:
    """Search, move, open, newer and older, back, theme, live, help, other pages: no mouse needed."""
    seen = await watch(browser, color_scheme="light")
    page = seen.page
    await page.goto(f"{filled.url}/requests")
    await page.keyboard.press("/")
    await page.keyboard.type("Rate limit")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/requests?q=Rate+limit")
    await page.goto(f"{filled.url}/requests?status=errors")
    await page.keyboard.press("j")
    await page.keyboard.press("j")
    await page.keyboard.press("j")
    await page.keyboard.press("k")
    assert await page.locator("tr.sel").count() == 1
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/requests/sess-234328e7-05?status=errors")
    await page.keyboard.press("j")
    await page.wait_for_url("**/requests/r-15?status=errors")
    await page.keyboard.press("k")
    await page.wait_for_url("**/requests/sess-234328e7-05?status=errors")
    assert seen.complaints == []
    await page.keyboard.press("Escape")
    await page.wait_for_url("**/requests?status=errors")
    await page.keyboard.press("t")
    assert await seen.script("document.documentElement.dataset.theme") == "dark"
    await page.keyboard.press("l")
    assert await page.locator("[data-live]").get_attribute("aria-pressed") == "false"
    await page.keyboard.press("?")
    assert await page.locator("dialog[open]").count() == 1
    await page.keyboard.press("Escape")
    assert await page.locator("dialog[open]").count() == 0
    await page.keyboard.press("g")
    await page.keyboard.press("s")
    await page.wait_for_url("**/sessions")
    assert await seen.script("document.documentElement.dataset.theme") == "dark"
    await page.keyboard.press("j")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/sessions/**")
    assert seen.complaints == []
    await seen.context.close()


async def test_filters_are_chosen_with_menus_and_kept_by_back_and_forward(browser: Browser, filled: Served) -> None:
    """A choice is a link at once; going back and forth shows what was chosen."""
    seen = await watch(browser)
    page = seen.page
    await page.goto(f"{filled.url}/requests")
    await page.select_option("select[name=status]", "errors")
    await page.wait_for_url("**/requests?status=errors")
    await page.select_option("select[name=property]", "tier=free")
    await page.wait_for_url("**/requests?status=errors&property=tier%3Dfree")
    assert await page.locator("tbody tr").count() == 1
    await page.go_back()
    assert await page.locator("a.filter").count() == 1
    assert await page.locator("select[name=status]").input_value() == "errors"
    assert await page.locator("select[name=property]").input_value() == ""
    await page.go_forward()
    await page.locator("a.filter", has_text="errors").click()
    await page.wait_for_url("**/requests?property=tier%3Dfree")
    assert seen.complaints == []
    await seen.context.close()


async def test_the_first_call_ends_the_waiting(browser: Browser, served: Served) -> None:
    """The first-run page becomes the table when the first call is stored."""
    seen = await watch(browser)
    await seen.page.goto(f"{served.url}/")
    await seen.page.get_by_text("Waiting for the first call").wait_for()
    served.store.append([late(records.chat("The very first?", "Yes."), "first")])
    await seen.page.get_by_text("The very first?").wait_for(timeout=3_000)
    assert seen.complaints == []
    await seen.context.close()


async def test_a_restart_of_the_server_is_told_and_survived(browser: Browser, filled: Served) -> None:
    """The page says that it is reconnecting, keeps what it shows, and goes on by itself."""
    seen = await watch(browser)
    await seen.page.goto(f"{filled.url}/requests")
    await seen.page.locator(".state-text[data-is=on]").wait_for()
    filled.stop()
    await seen.page.get_by_text("reconnecting…").wait_for()
    assert await seen.page.locator("tbody tr").count() >= 60
    filled.store.append([late(records.chat("While you were away", "Yes."), "away")])
    filled.start()
    await seen.page.get_by_text("While you were away").wait_for()
    await seen.page.get_by_text("connected", exact=True).wait_for()
    await seen.context.close()


async def test_a_long_part_is_shown_whole_on_demand(browser: Browser, served: Served) -> None:
    """The rest is fetched into its place, as text."""
    text = "<b>word</b> " * 5_000
    served.store.append([records.chat(text, "ok", request_id="long")])
    seen = await watch(browser)
    await seen.page.goto(f"{served.url}/requests/long")
    part = seen.page.locator(".user .text")
    assert len(await part.inner_text()) < len(text) - 1000
    await seen.page.get_by_text("Show all 60,000 characters").click()
    await seen.page.locator("[data-rest]").wait_for(state="detached")
    assert await part.text_content() == text
    assert await part.locator("b").count() == 0
    assert seen.complaints == []
    await seen.context.close()


async def test_reading_needs_no_script(browser: Browser, filled: Served) -> None:
    """With scripts off: rows, filters by button, older by link, request and session are all there."""
    seen = await watch(browser, java_script_enabled=False)
    page = seen.page
    await page.goto(f"{filled.url}/requests")
    await page.select_option("select[name=model]", "gpt-4o-mini")
    await page.get_by_role("button", name="Apply").click()
    await page.locator("a.filter", has_text="gpt-4o-mini").wait_for()
    await page.get_by_role("link", name="Older").click()
    assert await page.locator("tbody tr").count() == 60
    assert await page.locator("[data-live]").count() == 0
    await page.locator("tbody tr a").first.click()
    await page.get_by_role("link", name="JSON", exact=True).click()
    await page.locator("pre.json").first.wait_for()
    await page.goto(f"{filled.url}/sessions")
    await page.locator("tbody tr a").first.click()
    await page.locator("svg.line").first.wait_for()
    await seen.context.close()


@pytest.mark.parametrize("name", ["..", "a/../b", "%2e", "a?b#c&d", "%00", "rows"])
async def test_odd_ids_are_found_by_a_browser(browser: Browser, served: Served, name: str) -> None:
    """What a browser makes of a link still leads to the record."""
    served.store.append([late(records.chat("odd one", "ok", headers=records.who(session=name)), name)])
    seen = await watch(browser)
    await seen.page.goto(f"{served.url}/requests")
    await seen.page.locator("tbody tr").click()
    await seen.page.get_by_text("odd one").wait_for()
    assert await seen.page.locator("h1").inner_text() == name
    await seen.page.locator(".right a[href*=sessions]").click()
    await seen.page.locator("svg.line").wait_for()
    assert seen.complaints == []
    await seen.context.close()


async def test_a_gateway_with_keys_asks_a_browser_for_one(browser: Browser, tmp_path: Path) -> None:
    """A wrong key is told of; the right one leads to the page that was asked for, without any complaint."""
    key = Keys(tmp_path / KEYS).create("ada")
    with running(ServerOptions(tmp_path, port=0, demands_keys=True)) as server:
        watched = await watch(browser)
        page = watched.page
        await page.goto(f"{server.url}/ui/sessions")
        await page.fill("#key", "nonsense")
        await page.press("#key", "Enter")
        await page.wait_for_selector("text=That is no key of this gateway")
        await page.fill("#key", key)
        await page.press("#key", "Enter")
        await page.wait_for_url("**/ui/sessions")
        assert watched.complaints == []
        await watched.context.close()
