"""Foreign text made into safe HTML: JSON indented and coloured, code coloured, Markdown rendered. Pure; bounded.

Prompts and answers are hostile input. Everything here goes through an escaping writer: pygments' formatter, or
markdown-it with raw HTML switched off; images in Markdown become text, so that no answer makes a
browser fetch anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import OptionsDict
from markupsafe import Markup, escape
from pygments import highlight
from pygments.formatters.html import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.lexers.data import JsonLexer
from pygments.util import ClassNotFound

__all__ = ["MAX_COLOURED", "coloured_json", "indented", "markdown", "shortened"]

MAX_COLOURED = 200_000
MAX_MARKDOWN = 60_000
_MAX_CODE = 20_000
_MAX_INDENT = 24
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"?|[{}\[\],:]|[^\s{}\[\],:"]+', re.DOTALL)
_BASE64 = re.compile(r"(?<![A-Za-z0-9+/_=-])[A-Za-z0-9+/_=-]{2048,}+")
_FORMATTER = HtmlFormatter(nowrap=True, classprefix="y-")


def shortened(text: str) -> str:
    """`text` with long runs of base64 replaced by their size: nobody reads them, and they freeze browsers."""
    return _BASE64.sub(lambda run: f"{run[0][:16]}… ({len(run[0]) * 3 // 4000} kB of base64)", text)


def indented(text: str, limit: int) -> tuple[str, bool]:
    """JSON with one member a line, up to about `limit` characters, and whether that was all of it.

    Works on the text, so that numbers, doubled keys and cut JSON stay as they are; only \\u escapes become the
    characters they mean. Text that does not begin as JSON does is only cut.
    """
    if text.lstrip()[:1] not in {"{", "["}:
        return text[:limit], len(text) <= limit
    pieces: list[str] = []
    size = depth = 0
    before = ""
    for found in _TOKEN.finditer(text):
        word = found[0]
        if word in "}]":
            depth = max(depth - 1, 0)
            piece = word if before in {"{", "["} else _line(depth) + word
        elif word in ",:":
            piece = word if word == "," else ": "
        else:
            starts_line = before in {"{", "[", ","}
            piece = (_line(depth) if starts_line else "") + (_readable(word) if "\\u" in word else word)
            depth += word in "{["
        pieces.append(piece)
        before = word
        size += len(piece)
        if size > limit:
            return "".join(pieces)[:limit], False
    return "".join(pieces), True


def _line(depth: int) -> str:
    return "\n" + "  " * min(depth, _MAX_INDENT)


def _readable(word: str) -> str:
    """A JSON string with its \\u escapes undone; as it is where that gives half a surrogate pair."""
    try:
        text = json.dumps(json.loads(word), ensure_ascii=False)
        text.encode()
    except (ValueError, UnicodeEncodeError):
        return word
    return text


def coloured_json(text: str) -> Markup:
    """JSON as coloured HTML; plain where it is too long to be coloured quickly."""
    if len(text) > MAX_COLOURED:
        return escape(text)
    coloured = highlight(text, JsonLexer(stripnl=False, ensurenl=False), _FORMATTER)
    return Markup(coloured)  # noqa: S704 - escaped by the formatter


def _code(text: str, language: str, _: str) -> str:
    """A code block's inside as coloured HTML; "" leaves it to markdown-it, which escapes it."""
    if not language or len(text) > _MAX_CODE:
        return ""
    try:
        lexer = get_lexer_by_name(language.lower(), stripnl=False)
    except ClassNotFound:
        return ""
    return str(highlight(text, lexer, _FORMATTER))


class _Renderer(RendererHTML):
    """Images as text, links that tell their target nothing."""

    def image(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Any) -> str:
        token = tokens[idx]
        alt = self.renderInlineAsText(token.children or [], options, env)
        return f'<span class="image-text">image: {escape(alt)} {escape(shortened(str(token.attrGet("src"))))}</span>'

    def link_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: Any) -> str:
        tokens[idx].attrSet("rel", "noopener noreferrer nofollow")
        tokens[idx].attrSet("target", "_blank")
        return str(self.renderToken(tokens, idx, options, env))


_MARKDOWN = MarkdownIt(
    "commonmark", {"html": False, "highlight": _code, "maxNesting": 20, "breaks": True}, renderer_cls=_Renderer
).enable(["table", "strikethrough"])


def markdown(text: str) -> Markup | None:
    """Markdown as HTML; None where it is too long, to be shown plain."""
    if len(text) > MAX_MARKDOWN:
        return None
    return Markup(_MARKDOWN.render(text))  # noqa: S704 - raw HTML is off: everything is escaped by the renderer
