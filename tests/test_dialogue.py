"""A record's bodies as bubbles: what is shown, as what, and how much of it."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from typing import Any

import pytest

from heliconnect.exchange import Exchange
from heliconnect.server.dashboard.dialogue import (
    HEAD_BUBBLES,
    MAX_BUBBLES,
    MAX_PART,
    MAX_PARTS,
    MAX_TEXT,
    Bubble,
    Shown,
    dialogue,
    full_text,
    parameters,
    read,
    tools,
)
from tests import dashboard_records as records
from tests.dashboard_picture import picture


def asking(content: Any) -> Exchange:
    """A chat that asks `content` and is answered with "ok"."""
    return records.call(
        f"{records.OPENAI}/chat/completions",
        {"messages": [{"role": "user", "content": content}]},
        records.chat_answer("ok", "gpt-4o", 1, 1),
    )


def test_questions_are_plain_and_answers_markdown() -> None:
    """Markdown would eat what people write in prompts; an answer is meant to be rendered, unless plain is asked for."""
    said = read(records.chat("*why*?", "*so*"))
    system, user, answer = dialogue(said).bubbles
    assert (system.role, user.tone, user.is_answer) == ("system", "user", False)
    assert user.parts == (Shown("text", "*why*?", size=6),)
    assert (answer.tone, answer.is_answer, str(answer.parts[0].html).strip()) == (
        "assistant",
        True,
        "<p><em>so</em></p>",
    )
    assert dialogue(said, is_markdown=False).bubbles[2] == Bubble(
        "assistant", "assistant", True, (Shown("text", "*so*", size=4),)
    )


def test_only_bitmaps_in_data_urls_are_pictures() -> None:
    """A picture elsewhere would be fetched by the browser, and a drawing can carry a script: both are text."""
    svg = "data:image/svg+xml;base64," + b64encode(b"<svg onload=x>").decode()
    urls = [
        picture(),
        svg,
        "https://example.org/a.png",
        "javascript:x",
        "data:image/png;base64,<b>",
        "data:image/png,x",
    ]
    (bubble, _) = dialogue(read(asking([{"type": "image_url", "image_url": {"url": url}} for url in urls]))).bubbles
    assert [(part.kind, part.image or part.text) for part in bubble.parts] == [
        ("image", urls[0]),
        *(("address", url) for url in urls[1:]),
    ]


def test_a_long_part_is_cut_and_can_be_had_whole() -> None:
    """The page shows the beginning and where the rest is."""
    text = "word " * 500_000
    said = read(asking(text))
    (part,) = dialogue(said).bubbles[0].parts
    assert (len(part.text), part.size, part.address) == (MAX_PART, len(text), "asked.0.0")
    assert full_text(said, "asked.0.0") == text
    for nowhere in (
        "asked.1.0",
        "asked.0.1",
        "asked.-1.0",
        "answered",
        "x.0.0",
        "asked.0.\u00b2",
        "asked.0." + "9" * 60,
    ):
        assert full_text(said, nowhere) is None


def test_a_page_is_bounded_whatever_the_number_of_parts() -> None:
    """Thousands of parts and megabytes of text make one page that opens."""
    (bubble, _) = dialogue(read(asking([{"type": "text", "text": "x" * 30_000}] * 1000))).bubbles
    assert len(bubble.parts) == MAX_PARTS + 1
    assert bubble.parts[-1] == Shown("note", f"{1000 - MAX_PARTS} more parts: see the JSON")
    assert sum(len(part.text) for part in bubble.parts) < MAX_TEXT + MAX_PART + MAX_PARTS * 600


def test_a_long_conversation_shows_both_ends() -> None:
    """Beginning and end, and a way to what is in between."""
    messages = [{"role": "user", "content": f"m{at}"} for at in range(1000)]
    said = read(
        records.call(f"{records.OPENAI}/chat/completions", {"messages": messages}, records.chat_answer("ok", "m", 1, 1))
    )
    first = dialogue(said)
    assert (first.total, first.gap_at, first.hidden) == (1001, HEAD_BUBBLES, 1001 - MAX_BUBBLES)
    assert [bubble.parts[0].text for bubble in first.bubbles][HEAD_BUBBLES - 1 : HEAD_BUBBLES + 1] == ["m4", "m886"]
    between = dialogue(said, start=first.hidden_from)
    assert (between.earlier, between.later, between.bubbles[0].parts[0].text) == (0, HEAD_BUBBLES + MAX_BUBBLES, "m5")
    last = dialogue(said, start=10**8)
    assert (last.later, last.bubbles[0].is_answer) == (None, True)


@pytest.mark.parametrize(
    "exchange",
    [
        pytest.param(replace(records.chat("a", "b"), flavor="of-tomorrow"), id="flavour"),
        pytest.param(replace(records.chat("a", "b"), request_body="{" * 5000, response_body="\x00"), id="no-json"),
        pytest.param(replace(records.chat("a", "b"), request_body="!!", request_is_base64=True), id="no-base64"),
        pytest.param(replace(records.chat("a", "b"), request_body="\ud800", response_body=None), id="half-a-character"),
        pytest.param(replace(records.chat("a", "b"), request_body=None, response_body=None), id="no-bodies"),
    ],
)
def test_unreadable_bodies_are_left_out(exchange: Exchange) -> None:
    """A record that nothing can be made of still has a page."""
    said = read(exchange)
    assert all(isinstance(bubble, Bubble) for bubble in dialogue(said).bubbles)
    assert parameters(said.request) is not None


def test_settings_and_tools_of_a_request_are_listed() -> None:
    """Those of OpenAI's, Anthropic's and Gemini's shape."""
    said = read(records.with_tools())
    assert parameters(said.request) == [("temperature", "0.2"), ("max_tokens", "600")]
    assert tools(said.request) == [
        ("search_stock", "Parts in stock by name"),
        ("book_slot", "Books an hour in the workshop"),
    ]
    assert ("maxOutputTokens", "200") in parameters(read(records.gemini()).request)
    assert tools({"tools": [{"functionDeclarations": [{"name": "a"}, {"name": "b", "description": "c"}]}]}) == [
        ("a", ""),
        ("b", "c"),
    ]
    assert tools({"tools": [{"name": "x", "input_schema": {}}, {"type": "web_search"}, 7, {"function": 1}]}) == [
        ("x", ""),
        ("web_search", ""),
    ]
    assert tools([]) == tools({"tools": {}}) == []
    assert parameters(None) == parameters({"temperature": None}) == []
