"""The pages, over a real store: what they show, what they link to, and that nothing in a record can act."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.testclient import TestClient

from heliconnect.errors import StoreError
from heliconnect.exchange import Exchange
from heliconnect.server.dashboard import Status, create
from heliconnect.store import Row, Store, open_store
from heliconnect.store.sqlite import SqliteStore
from tests import dashboard_records as records
from tests.dashboard_pages import CSP, Tags, browse, filled, ids_of, rows_of, text_of


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One record of each kind, and a session."""
    store = filled(tmp_path_factory.mktemp("pages"))
    yield store
    store.close()


@pytest.fixture
def blank(tmp_path: Path) -> Iterator[Store]:
    """A store of the test's own."""
    store = open_store(tmp_path / "records.db")
    yield store
    store.close()


@pytest.fixture(scope="module")
def client(store: Store) -> TestClient:
    return browse(store)


PAGES = [
    *("/ui/", "/ui/requests", "/ui/requests?q=gravel", "/ui/requests?q=nothing+like+it", "/ui/sessions"),
    *("/ui/sessions?q=nothing", "/ui/sessions/sess-234328e7", "/ui/sessions/s-1?name=brakes"),
    *(f"/ui/requests/r-{at:02d}?tab={tab}" for at in range(20) for tab in ("conversation", "json", "headers")),
    *("/ui/requests/r-04?view=plain", "/ui/requests/r-19?tab=json&all=request", "/ui/requests/r-00?tab=nonsense"),
]


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_a_page(client: TestClient, path: str) -> None:
    """Well-formed, titled, with one main heading, under the strict policy, without a line of inline code."""
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-security-policy"] == CSP
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    tags = Tags(answer.text).found
    names = [tag for tag, _ in tags]
    assert (names.count("h1"), names.count("main"), answer.text.partition("</head>")[0].count("<title>")) == (1, 1, 1)
    for tag, attributes in tags:
        assert tag not in {"style", "iframe", "object", "embed", "base"}
        assert not any(name.startswith("on") or name == "style" for name in attributes), (tag, attributes)
        assert tag != "script" or str(attributes.get("src")).startswith("/ui/static/")
        assert not re.match(r"\s*(javascript|vbscript|data:text)", attributes.get("href") or "", re.IGNORECASE)
    assert "<script>" not in re.sub(r"<script src=\"[^\"]+\"( defer)?></script>", "", answer.text)


def test_every_link_stays_below_the_mount_point_and_leads_somewhere(client: TestClient) -> None:
    """No link of ours is broken, and none leaves /ui."""
    links: set[str] = set()
    for path in PAGES[::4] + PAGES[:8]:
        for _, attributes in Tags(client.get(path).text).found:
            links.add(attributes.get("href") or attributes.get("action") or "#")
    ours = {link for link in links if not link.startswith(("#", "https://"))}
    assert len(ours) > 100
    assert all(link.startswith("/ui/") for link in ours)
    assert {link for link in ours if client.get(link).status_code != 200} == set()


def test_pictures_and_scripts_come_from_nowhere_else(client: TestClient) -> None:
    """No page makes the browser fetch what a record names; pictures are inside the page."""
    for path in PAGES:
        for tag, attributes in Tags(client.get(path).text).found:
            if tag in {"img", "link", "script", "source", "video", "audio"}:
                source = attributes.get("src") or attributes.get("href") or ""
                assert source.startswith(("/ui/static/", "data:image/png;base64,")), (path, source)


def test_the_newest_request_is_on_top_with_its_facts(client: TestClient) -> None:
    """A row tells when, how it ended, model, question, answer, user, tokens, cost and latency."""
    html = client.get("/ui/requests?user=ada&model=gpt-4o-2024-08-06").text
    assert rows_of(html) == [
        "Mar 14 09:30:09 200 gpt-4o-2024-08-06 How do I bleed my disc brakes, and have you got the oil? "
        f"{records.with_tools().response_preview} ada 412 → 246 $0.0033 1.23 s"
    ]
    ids = ids_of(client.get("/ui/requests").text)
    assert ids[:2] == ["sess-234328e7-12", "sess-234328e7-11"]
    assert ids[-2:] == ["r-01", "r-00"]


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        pytest.param("q=GRAVEL", ["r-13", "r-12", "r-02", "r-01"], id="text-any-case"),
        pytest.param("q=100%25", [], id="text-is-no-pattern"),
        pytest.param("q=r-07", ["r-07"], id="id"),
        pytest.param("model=claude-sonnet-4-5&q=picture", ["r-04"], id="model"),
        pytest.param("status=429", ["r-11"], id="code"),
        pytest.param("status=-3", ["r-13"], id="cancelled"),
        pytest.param("status=errors&until=2026-03-14T09:30:59Z", ["r-15", "r-14", "r-12", "r-11", "r-10"], id="errors"),
        pytest.param("user=grace", ["r-11"], id="user"),
        pytest.param("session=s-1", ["r-09"], id="session"),
        pytest.param("property=tier%3Dpro", ["r-09"], id="property"),
        pytest.param("property=Tier%3Dfree&status=errors", ["r-11"], id="property-name-in-any-case"),
        pytest.param("property=tier%3Dpro&property=tier%3Dfree", [], id="both-properties"),
        pytest.param("since=2026-03-14T09:30:17Z&until=2026-03-14T09:30:18Z", ["r-18", "r-17"], id="time"),
        pytest.param("range=15m&q=r-19", ["r-19"], id="range"),
        pytest.param("q=%00%27%22--", [], id="odd-text"),
    ],
)
def test_filters_are_in_the_url(client: TestClient, query: str, ids: list[str]) -> None:
    """Only what matches is listed and counted; each filter is a chip that takes it away."""
    html = client.get(f"/ui/requests?{query}").text
    assert ids_of(html) == ids
    assert f"{len(ids)} request" in text_of(html)
    chips = [
        attributes["href"] for tag, attributes in Tags(html).found if attributes.get("title") == "Remove this filter"
    ]
    assert len(chips) == len(parse_qsl(query))
    rest = [sorted(name for name, _ in parse_qsl(urlsplit(str(chip)).query)) for chip in chips]
    names = [name for name, _ in parse_qsl(query)]
    assert sorted(rest) == sorted(sorted(names[:at] + names[at + 1 :]) for at in range(len(names)))
    if not ids:
        assert "No request matches" in html


def test_ok_and_errors_are_all_there_is_but_for_those_who_left(client: TestClient, store: Store) -> None:
    """The two filters take every request once, cancelled ones apart."""
    ok, bad = (client.get(f"/ui/requests?status={name}").text for name in ("ok", "errors"))
    assert not set(ids_of(ok)) & set(ids_of(bad))
    assert len(ids_of(ok)) + len(ids_of(bad)) + 1 == store.count()


def many(count: int) -> list[Exchange]:
    return [replace(records.chat(f"question {at}", "yes"), request_id=f"n-{at:03d}") for at in range(count)]


def test_pages_are_linked_by_key_without_a_script(blank: Store) -> None:
    """Older and Newer walk through everything once, both ways; filters stay."""
    blank.append(many(150))
    client = browse(blank)
    expected = [f"n-{at:03d}" for at in reversed(range(150))]
    seen: list[list[str]] = []
    link: str | None = "/ui/requests?q=question"
    while link:
        html = client.get(link).text
        seen.append(ids_of(html))
        link = next((a["href"] for tag, a in Tags(html).found if a.get("rel") == "next" and tag == "a"), None)
    assert [one for page in seen for one in page] == expected
    back = next(a["href"] for tag, a in Tags(html).found if a.get("rel") == "prev" and tag == "a")
    assert ids_of(client.get(str(back)).text) == seen[-2]
    assert parse_qsl(urlsplit(str(back)).query)[0] == ("q", "question")
    fragment = client.get("/ui/requests/rows?q=question&before=31")
    assert ids_of(fragment.text) == [f"n-{at:03d}" for at in reversed(range(30))]
    assert "x-older" not in fragment.headers
    assert client.get("/ui/requests/rows?before=121").headers["x-older"] == "61"


def test_newer_than_a_full_page_is_the_first_page_when_little_is_newer(blank: Store) -> None:
    """Newer never shows half a page of three rows."""
    blank.append(many(70))
    html = browse(blank).get("/ui/requests?after=67").text
    assert len(ids_of(html)) == 60
    assert ids_of(html)[0] == "n-069"


def test_the_tail_gives_what_arrived_since_and_each_once(blank: Store) -> None:
    """In order, in pieces when much came, nothing (204) when nothing did; with the filters of the page."""
    client = browse(blank)
    blank.append(many(3))
    assert client.get("/ui/requests/tail?after=3").status_code == 204
    blank.append([replace(one, request_id=f"new-{one.request_id}") for one in many(130)])
    blank.append([replace(records.chat("other", "no"), request_id="other")])
    got: list[str] = []
    after, more = "3", "1"
    while more:
        answer = client.get(f"/ui/requests/tail?q=question&after={after}")
        got += reversed(ids_of(answer.text))
        assert answer.headers["x-rows"] == str(len(ids_of(answer.text)))
        after, more = answer.headers["x-newest"], answer.headers.get("x-more", "")
    assert got == [f"new-n-{at:03d}" for at in range(130)]
    assert after == "134"
    assert client.get("/ui/requests/tail?q=question&after=134").status_code == 204
    assert client.get("/ui/requests/tail?after=junk").status_code == 200


def test_a_session_is_drawn_as_a_tree(client: TestClient) -> None:
    """Steps under steps, folders where none were sent, bars for waiting and generation, failures in red."""
    html = client.get("/ui/sessions/sess-234328e7").text
    page = text_of(html)
    assert "Duration 13.8 s Requests 13 2 failed" in page
    assert "User: ada@example.com" in page
    body = html.partition("<tbody")[2]
    steps = re.findall(
        r'<td class="c-step d(\d+)">.*?(?:<b>(\w+)</b>|<span title="[^"]*">(\w+)</span>)', body, re.DOTALL
    )
    assert [(int(depth), step or folder) for depth, step, folder in steps] == [
        *(
            (0, "plan"),
            (1, "search"),
            (2, "rank"),
            (0, "draft"),
            (1, "critique"),
            (2, "fix"),
            (0, "tools"),
            (1, "weather"),
        ),
        *((1, "weather"), (0, "plan"), (1, "search"), (2, "rank"), (0, "draft"), (0, "answer")),
    ]
    kinds = [a.get("class") for tag, a in Tags(body).found if tag == "rect"]
    assert (kinds.count("wait"), kinds.count("gen"), kinds.count("bad"), kinds.count("span")) == (11, 11, 2, 1)


def test_sessions_are_listed_the_last_used_first(client: TestClient) -> None:
    """With name, id, start, duration, requests, tokens, cost and users; what is not priced is not passed over."""
    rows = [text_of(row) for row in re.findall(r"<tr>.*?</tr>", client.get("/ui/sessions").text, re.DOTALL)][1:]
    assert rows[0].startswith("trip planner sess-234328e7 Mar 14 09:31:00 13.8 s 2 failed 13 requests")
    assert rows[0].endswith("+ ada@example.com")
    assert [row.split()[0] for row in rows] == ["trip", "<u>name</u>", "brakes"]
    assert "No session matches" in client.get("/ui/sessions?q=nothing").text


def test_many_sessions_have_pages(blank: Store) -> None:
    """Sixty a page, and links to the rest."""
    blank.append([records.chat("hi", "ho", headers=records.who(session=f"s{at:03d}")) for at in range(70)])
    client = browse(blank)
    first = client.get("/ui/sessions").text
    older = next(str(a["href"]) for _, a in Tags(first).found if a.get("rel") == "next")
    second = client.get(older).text
    assert (first.count("c-name"), second.count("c-name")) == (61, 11)
    assert 'rel="prev"' in second


def test_the_first_run_shows_how_to_make_the_first_call(blank: Store) -> None:
    """Snippets with the address of this very server, until something is there."""
    client = browse(blank)
    for path in ("/ui/requests", "/ui/sessions"):
        html = unescape(client.get(path).text)
        for piece in (
            "Waiting for the first call",
            "hc.install()",
            '"http://127.0.0.1:8787/oai/v1"',
            '"http://127.0.0.1:8787/anthropic"',
            "curl http://127.0.0.1:8787/oai/v1/chat/completions",
        ):
            assert piece in html
    html = browse(blank, Status(gateway_url="https://gate.example.org")).get("/ui/requests").text
    assert "https://gate.example.org/oai/v1" in html
    blank.append(many(1))
    assert "Waiting for the first call" not in client.get("/ui/requests").text
    assert "No sessions yet" in client.get("/ui/sessions").text


def test_lost_and_waiting_calls_are_shown(blank: Store) -> None:
    """The foot of each page says what could not be recorded and what is not stored yet."""
    page = text_of(
        browse(blank, Status(dropped=1204, waiting_bytes=60_000_000, error="disk full")).get("/ui/requests").text
    )
    for shown in ("1,204 not recorded", "60.0 MB waiting to be stored", "The store takes no records now"):
        assert shown in page
    quiet = text_of(browse(blank, Status(dropped=0, waiting_bytes=900)).get("/ui/requests").text)
    assert "not recorded" not in quiet
    assert "waiting to be stored" not in quiet


@pytest.mark.parametrize(
    ("path", "words"),
    [
        pytest.param("/ui/requests/none", "no request with this id", id="request"),
        pytest.param("/ui/sessions/none", "no session with this id", id="session"),
        pytest.param("/ui/users", "no such page", id="page"),
        pytest.param("/ui/static/none.css", "no such page", id="file"),
        pytest.param("/ui/static/../app.py", "no such page", id="file-outside"),
    ],
)
def test_what_is_not_there_is_said(client: TestClient, path: str, words: str) -> None:
    """404 with a page that leads back, under the same policy."""
    answer = client.get(path)
    assert (answer.status_code, answer.headers["content-security-policy"]) == (404, CSP)
    assert words in text_of(answer.text)


def test_only_reading_is_possible(client: TestClient) -> None:
    """Nothing takes POST, PUT or DELETE."""
    for path in ("/ui/requests", "/ui/requests/r-00", "/ui/sessions"):
        assert {client.request(method, path).status_code for method in ("POST", "PUT", "DELETE", "PATCH")} == {405}


def test_own_files_are_kept_while_pages_are_asked_for_again(client: TestClient) -> None:
    """A file is named by its content and may be kept for ever; a page may not."""
    html = client.get("/ui/requests").text
    for link in re.findall(r'(?:src|href)="(/ui/static/[^"]+)"', html):
        answer = client.get(link)
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "public, max-age=31536000, immutable")
    assert client.get("/ui/static/app.css").headers["cache-control"] == "private, no-cache"
    assert client.get("/ui/requests").headers["cache-control"] == "private, no-cache"


def test_our_script_stays_small() -> None:
    """Behaviour belongs into the HTML: 16 kB are the bound for the script."""
    static = Path(__file__).parents[1] / "heliconnect" / "server" / "dashboard" / "static"
    assert sum(file.stat().st_size for file in static.glob("*.js")) <= 16_000


class Broken(SqliteStore):
    """A store whose disk fails while a page is read."""

    def page(self, *_: object, **__: object) -> list[Row]:
        raise StoreError("the store cannot be read: disk I/O error")

    def get(self, request_id: str) -> Row | None:
        raise RuntimeError("a mistake of ours")


def test_a_broken_store_is_said_and_hides_nothing_else(tmp_path: Path) -> None:
    """503 with the reason for a store that fails, 500 without one for a mistake; both under the policy."""
    store = Broken(tmp_path / "records.db")
    app = Starlette(routes=[Mount("/ui", create(store))])
    client = TestClient(app, raise_server_exceptions=False)
    unreadable, mistaken = client.get("/ui/requests"), client.get("/ui/requests/x")
    store.close()
    assert (unreadable.status_code, mistaken.status_code) == (503, 500)
    assert "disk I/O error" in unreadable.text
    assert "a mistake of ours" not in mistaken.text
    assert {answer.headers["content-security-policy"] for answer in (unreadable, mistaken)} == {CSP}


def test_links_follow_the_place_where_the_pages_are_mounted(store: Store) -> None:
    """Behind another prefix, every link has it."""
    client = TestClient(Starlette(routes=[Mount("/tools/llm", create(store))]))
    assert client.get("/tools/llm/").url.path == "/tools/llm/requests"
    links = [
        a["href"]
        for tag, a in Tags(client.get("/tools/llm/requests").text).found
        if tag == "a" and a.get("href") != "#main"
    ]
    assert links
    assert all(str(link).startswith("/tools/llm/") for link in links)
