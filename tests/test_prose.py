"""Foreign text as HTML: indented, coloured, rendered, and never able to do anything."""

from __future__ import annotations

import json
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliconnect.server.dashboard import prose
from tests.dashboard_records import EVIL

LIVE = re.compile(
    r"<(?:script|img|svg|iframe|style|object|link|meta|form|input|base)|<[^>]*\son\w+=|href=\"(?:javascript|data|vbscript):",
    re.IGNORECASE,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param('{"a":1,"b":[true,null]}', '{\n  "a": 1,\n  "b": [\n    true,\n    null\n  ]\n}', id="object"),
        pytest.param("[]", "[]", id="empty"),
        pytest.param('{"a":{},"b":[]}', '{\n  "a": {},\n  "b": []\n}', id="empty-inside"),
        pytest.param('{"a":1,"a":2}', '{\n  "a": 1,\n  "a": 2\n}', id="doubled-key"),
        pytest.param(
            '{"n":123456789012345678901234567890}', '{\n  "n": 123456789012345678901234567890\n}', id="big-number"
        ),
        pytest.param('{"n":NaN}', '{\n  "n": NaN\n}', id="no-number"),
        pytest.param('{"s":"caf\\u00e9"}', '{\n  "s": "café"\n}', id="escape-made-readable"),
        pytest.param('{"s":"\\ud800"}', '{\n  "s": "\\ud800"\n}', id="half-a-pair-stays"),
        pytest.param('{"s":"a{b,c:d}\\""}', '{\n  "s": "a{b,c:d}\\""\n}', id="brackets-in-a-string"),
        pytest.param('{"s":"cut off', '{\n  "s": "cut off', id="cut"),
        pytest.param("data: {}\n\n", "data: {}\n\n", id="no-json"),
    ],
)
def test_json_is_indented_as_it_is(text: str, shown: str) -> None:
    """Numbers, doubled keys and cut JSON are shown as they came."""
    assert prose.indented(text, 1000) == (shown, True)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_indenting_changes_no_value(value: object) -> None:
    """What is indented parses to what it was."""
    text = json.dumps([value])
    assert json.loads(prose.indented(text, 1_000_000)[0]) == [value]


def test_indenting_is_bounded() -> None:
    """Neither length nor depth makes more text than was asked for."""
    for text in ("[" * 100_000, '{"a":' * 50_000, '["' + "x" * 1_000_000 + '"]'):
        shown, is_whole = prose.indented(text, 5_000)
        assert len(shown) <= 5_000
        assert not is_whole


def test_base64_is_told_by_its_size() -> None:
    """A picture inside JSON does not fill the page; ordinary long words stay."""
    text = prose.shortened('{"url": "data:image/png;base64,' + "iVBO" * 10_000 + '", "word": "' + "x" * 2000 + '"}')
    assert text == '{"url": "data:image/png;base64,iVBOiVBOiVBOiVBO… (30 kB of base64)", "word": "' + "x" * 2000 + '"}'


def test_many_runs_that_are_almost_long_enough_take_no_time() -> None:
    """The search for base64 is linear, also for text made to be slow."""
    began = time.process_time()
    prose.shortened(("A" * 2047 + " ") * 2_000)
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(EVIL, id="everything"),
        pytest.param("[a](javascript:alert(1)) [b](JaVaScRiPt:x) [c](data:text/html,x) [d](vbscript:x)", id="links"),
        pytest.param("<javascript:alert(1)> <https://ok.example>", id="autolinks"),
        pytest.param("![x](https://evil.example/a.png) ![y](data:image/svg+xml;base64,AAAA)", id="images"),
        pytest.param('```<script>\nx\n```\n\n``` "onload=x\n</pre><script>1</script>\n```', id="fences"),
        pytest.param("|a|\n|-|\n|<img src=x onerror=1>|", id="table"),
        pytest.param("<div\n\nonclick=x>", id="torn-tag"),
    ],
)
def test_markdown_is_inert(text: str) -> None:
    """No tag of the text's own, no link that runs, nothing that loads."""
    html = prose.markdown(text)
    assert html is not None
    assert not LIVE.search(html), html


def test_markdown_is_rendered() -> None:
    """Headings, tables, code with colours, links that tell nothing to where they lead."""
    html = prose.markdown("# T\n\n|a|b|\n|-|-|\n|1|2|\n\n```python\nx = 1\n```\n\n[x](https://example.org)")
    assert html is not None
    for piece in ("<h1>T</h1>", "<td>1</td>", 'class="y-', 'rel="noopener noreferrer nofollow"', 'target="_blank"'):
        assert piece in html
    assert prose.markdown("x" * (prose.MAX_MARKDOWN + 1)) is None


def test_colours_escape() -> None:
    """JSON with HTML in it stays text, coloured or not."""
    for text in ('{"a": "<script>"}', '["<b>' + "x" * prose.MAX_COLOURED + '"]'):
        html = prose.coloured_json(text)
        assert "<script>" not in html
        assert "<b>" not in html
