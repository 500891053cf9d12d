"""The page of one request: its facts, its conversation, its bodies; hostile, huge and odd ones included."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from heliconnect.store import Store, open_store
from tests import dashboard_records as records
from tests.dashboard_pages import CSP, Tags, browse, filled, rows_of, text_of


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


def test_unknown_is_shown_as_unknown(client: TestClient) -> None:
    """No usage, no cost, no status, no user: a dash for the eye, a word for the ear, never a zero."""
    (row,) = rows_of(client.get("/ui/requests?q=r-14").text)
    assert re.fullmatch(
        "Mar 14 09:30:14 timeout gpt-4o .* \N{EN DASH} unknown \N{EN DASH} unknown \N{EN DASH} unknown 1.23 s", row
    ), row
    page = text_of(client.get("/ui/requests/r-14").text)
    for shown in (
        "TTFT \N{EN DASH} unknown",
        "Cost \N{EN DASH} unknown",
        "Tokens \N{EN DASH} unknown",
        "tokens unknown",
        "cost unknown",
        "User none given",
    ):
        assert shown in page
    assert "no byte of an answer came" in page
    assert "The provider did not answer in time." in page


def test_tokens_and_cost_are_shown_by_part(client: TestClient) -> None:
    """What was read from a cache is told apart, and the parts add up."""
    page = text_of(client.get("/ui/requests/r-09").text)
    assert (
        "input 284 cache read 128 output 246 input cost $0.00087 output cost $0.0025 cost $0.0033 Rates: genai-prices"
        in page
    )
    page = text_of(client.get("/ui/requests/r-03").text)
    assert "output 31 reasoning 64" in page


def test_a_request_knows_its_neighbours_among_those_that_match(client: TestClient) -> None:
    """Newer and older go through the filtered list, and the way back keeps the filter."""
    html = client.get("/ui/requests/r-12?status=errors").text
    steps = {str(a["rel"]): a["href"] for tag, a in Tags(html).found if tag == "a" and a.get("rel") in {"prev", "next"}}
    assert steps == {"prev": "/ui/requests/r-14?status=errors", "next": "/ui/requests/r-11?status=errors"}
    assert any("data-back" in a and a["href"] == "/ui/requests?status=errors" for _, a in Tags(html).found)
    oldest = client.get("/ui/requests/r-00").text
    assert 'rel="next"' not in oldest


@pytest.mark.parametrize(
    ("request_id", "words"),
    [
        pytest.param(
            "r-01", ["Which tyres for gravel?", "Something wide with a smooth middle."], id="stream-put-together"
        ),
        pytest.param(
            "r-03", ["Be brief.", "reasoning", "The rider wants", "Let me look.", "book_slot", "10"], id="responses"
        ),
        pytest.param(
            "r-04", ["Describe pictures.", "A round shape, warm.", "An orange sun on a blue sky"], id="anthropic"
        ),
        pytest.param("r-05", ["Answer in one line.", "What does 1x12 mean?", "Twelve speeds"], id="gemini"),
        pytest.param("r-06", ["Name a hub.", "A freehub."], id="cohere"),
        pytest.param("r-07", ["chain", "sprocket", "2 vectors"], id="embeddings"),
        pytest.param("r-08", ["Pump it up", "and ride on."], id="completion"),
        pytest.param("r-09", ["2 tools offered", "search_stock", "mineral oil", "Bleeding a disc brake"], id="tools"),
        pytest.param("r-10", ["error", "Incorrect API key provided"], id="error"),
        pytest.param("r-12", ["broke off", "upstream closed the connection", "It broke off after"], id="cut"),
        pytest.param("r-13", ["The client went away", "The reader left"], id="cancelled"),
        pytest.param("r-15", ["No connection to the provider", "refused"], id="unreachable"),
        pytest.param("r-16", ["Nothing to show"], id="binary"),
        pytest.param("r-17", ["what", "answer"], id="unknown-api"),
    ],
)
def test_the_conversation_is_shown_for_every_flavour(client: TestClient, request_id: str, words: list[str]) -> None:
    """What was asked and answered, in that order, errors and endings explained."""
    page = text_of(client.get(f"/ui/requests/{request_id}").text.partition('class="left"')[2].partition("<aside")[0])
    at = 0
    for word in words:
        at = page.find(word, at)
        assert at >= 0, (word, page)


def test_a_record_names_its_session_path_and_properties(client: TestClient) -> None:
    """Each leads to what shares it."""
    html = client.get("/ui/requests/r-09").text
    links = [a.get("href") for _, a in Tags(html).found]
    assert {"/ui/sessions/s-1", "/ui/requests?property=tier%3Dpro", "/ui/requests?user=ada"} <= set(links)
    assert "Session brakes Path /help" in text_of(html)


def test_hostile_text_is_text(client: TestClient) -> None:
    """A record full of markup shows its markup, in every place it comes to."""
    for path in (
        "/ui/requests/r-19",
        "/ui/requests/r-19?view=plain",
        "/ui/requests/r-19?tab=headers",
        "/ui/requests?q=r-19",
    ):
        html = client.get(path).text
        assert "&lt;script&gt;window.hit=1&lt;/script&gt;" in html.replace("&#34;", '"')
        for live in ("<script>", "<img src=x", "<svg onload", "<iframe", "<style>", "<b>u</b>", "<s>x</s>", "49 "):
            assert live not in html, (path, live)
    assert "&lt;u&gt;name&lt;/u&gt;" in client.get("/ui/sessions").text


def test_bodies_can_be_had_as_they_are_and_do_nothing(client: TestClient) -> None:
    """Text as plain text, bytes as a download, a cut part whole; never as a page."""
    raw = client.get("/ui/raw/request?id=r-19")
    assert raw.headers["content-type"] == "text/plain; charset=utf-8"
    assert records.EVIL.replace("\\", "\\\\")[:20] in raw.text
    binary = client.get("/ui/raw/response?id=r-16")
    assert (binary.content, binary.headers["content-type"]) == (b"\x80\x81", "application/octet-stream")
    assert binary.headers["content-disposition"].startswith("attachment")
    assert client.get("/ui/part/asked.1.0?id=r-00").text == "Is a 32-hole rim stronger?"
    for nowhere in (
        "raw/response?id=r-18",
        "raw/key?id=r-00",
        "raw/request?id=nope",
        "part/asked.9.9?id=r-00",
        "part/x?id=nope",
    ):
        answer = client.get(f"/ui/{nowhere}")
        assert (answer.status_code, answer.headers["content-security-policy"]) == (404, CSP)


def test_a_large_body_begins_with_its_first_part(blank: Store) -> None:
    """64 kB at first, all of it on demand, and no more than a browser bears."""
    words = [f"word {at} <b>" for at in range(60_000)]
    blank.append([records.call(f"{records.OPENAI}/embeddings", {"model": "m", "input": words}, {}, request_id="big")])
    client = browse(blank)
    first = client.get("/ui/requests/big?tab=json").text
    assert len(first) < 400_000
    assert "Show all" in first
    assert "word 59999" not in first
    everything = client.get("/ui/requests/big?tab=json&all=request").text
    assert "word 59999 &lt;b&gt;" in everything


def test_ten_thousand_messages_make_a_page(blank: Store) -> None:
    """Both ends are shown, and the rest is a link away."""
    messages = [{"role": "user", "content": f"message {at}."} for at in range(10_000)]
    blank.append([records.call(f"{records.OPENAI}/chat/completions", {"messages": messages}, {}, request_id="long")])
    client = browse(blank)
    html = client.get("/ui/requests/long").text
    assert len(html) < 300_000
    for shown in ("message 0.", "message 9999.", "more messages in between"):
        assert shown in html
    assert "message 5000." not in html
    between = client.get("/ui/requests/long?from=4990").text
    assert "message 5000." in between
    assert "Earlier messages" in between
    assert "Later messages" in between


@pytest.mark.parametrize("name", ["a/b", "..", ".", "a?b#c", "tail", "ä ö", "a//b", "x/raw/request", "<b>"])
def test_any_id_has_a_page(blank: Store, name: str) -> None:
    """Ids are the caller's free text; links to them work all the same."""
    blank.append([records.chat("hi", "ho", request_id=name, headers=records.who(session=name, path="/x"))])
    client = browse(blank)
    html = client.get("/ui/requests").text
    link = next(
        str(a["href"])
        for _, a in Tags(html).found
        if str(a.get("href")).startswith(("/ui/requests/", "/ui/requests?id="))
    )
    page = client.get(link)
    assert page.status_code == 200
    assert unescape(page.text).count(name) > 0
    session = next(
        str(a["href"])
        for _, a in Tags(page.text).found
        if str(a.get("href")).startswith("/ui/sessions") and a.get("data-go") is None
    )
    assert client.get(session).status_code == 200
