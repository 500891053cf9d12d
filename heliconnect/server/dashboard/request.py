"""The page of one request, its bodies as they are, and the whole text of one part of its conversation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from urllib.parse import quote

from markupsafe import Markup, escape
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from heliconnect.exchange import Exchange
from heliconnect.server.dashboard import prose
from heliconnect.server.dashboard.dialogue import body_bytes, content_type, dialogue, full_text, parameters, read, tools
from heliconnect.server.dashboard.query import Query
from heliconnect.server.dashboard.requests import key_of
from heliconnect.server.dashboard.site import Link, link_of, site_of
from heliconnect.store import Row
from heliconnect.store.filters import Filter

__all__ = ["request_page", "request_part", "request_raw"]

TABS = ("conversation", "json", "headers")
FIRST_CHARACTERS = 64_000
ALL_CHARACTERS = 4_000_000


def request_page(request: Request, request_id: str) -> Response:
    """One request. `?tab=` is conversation, json or headers; filters in the URL decide what is newer and older."""
    site = site_of(request)
    row = site.store.get(request_id)
    if row is None:
        raise HTTPException(404, "There is no request with this id.")
    params = request.query_params
    query = Query.read(params.multi_items())
    exchange = row.exchange
    tab = params.get("tab") if params.get("tab") in TABS else TABS[0]
    newer, older = _neighbours(request, row, query.where(site.now()))
    said = read(exchange)
    is_plain = params.get("view") == "plain"
    start = key_of(request, "from")
    everything = params.get("all", "")
    return site.page(
        request,
        "request.html",
        query=query,
        exchange=exchange,
        tab=tab,
        here=partial(_here, link_of(request), exchange.request_id, query.encoded()),
        newer=newer,
        older=older,
        is_plain=is_plain,
        talk=dialogue(said, is_markdown=not is_plain, start=start) if tab == "conversation" else None,
        bodies=_bodies(exchange, everything) if tab == "json" else (),
        parameters=parameters(said.request),
        tools=tools(said.request),
        tokens=_tokens(exchange),
        timing=_timing(exchange),
    )


def _here(link: Link, request_id: str, filters: str, tab: str, **more: str | int | None) -> str:
    """This request on another tab, the filters kept."""
    return link.request(request_id, filters, tab=tab, **more)


def request_raw(request: Request) -> Response:
    """A body exactly as it was recorded: text as plain text, anything else as a download."""
    row = site_of(request).store.get(request.query_params.get("id", ""))
    side = request.path_params["side"]
    if row is None or side not in {"request", "response"}:
        raise HTTPException(404, "There is no such body.")
    one = row.exchange
    text, is_base64 = (
        (one.request_body, one.request_is_base64) if side == "request" else (one.response_body, one.response_is_base64)
    )
    if text is None:
        raise HTTPException(404, f"The {side} has no body, or it was not kept.")
    name = quote(f"{one.request_id[:40]}-{side}", safe="")
    if is_base64:
        headers = {"content-disposition": f"attachment; filename*=UTF-8''{name}.bin"}
        return Response(body_bytes(text, is_base64=True), media_type="application/octet-stream", headers=headers)
    headers = {"content-disposition": f"inline; filename*=UTF-8''{name}.txt"}
    return Response(body_bytes(text, is_base64=False), media_type="text/plain; charset=utf-8", headers=headers)


def request_part(request: Request) -> Response:
    """All of one part of the conversation, as plain text."""
    row = site_of(request).store.get(request.query_params.get("id", ""))
    text = full_text(read(row.exchange), request.path_params["address"]) if row is not None else None
    if text is None:
        raise HTTPException(404, "There is no such part.")
    return Response(text.encode("utf-8", "replace"), media_type="text/plain; charset=utf-8")


def _neighbours(request: Request, row: Row, where: Filter | None) -> tuple[str | None, str | None]:
    """The ids of the next newer and the next older request among those that match."""
    store = site_of(request).store
    newer = store.page(where, after=row.key, limit=1, newest_first=False)
    older = store.page(where, before=row.key, limit=1)
    return (newer[0].exchange.request_id if newer else None, older[0].exchange.request_id if older else None)


@dataclass(frozen=True, slots=True)
class _BodyView:
    side: str
    html: Markup | None
    size_bytes: int
    media_type: str
    is_whole: bool
    is_binary: bool
    can_show_all: bool


def _bodies(exchange: Exchange, everything: str) -> tuple[_BodyView, ...]:
    return (
        _body(
            "request", exchange.request_body, exchange.request_size_bytes, content_type(exchange.request_headers),
            is_base64=exchange.request_is_base64, wants_all=everything == "request",
        ),
        _body(
            "response", exchange.response_body, exchange.response_size_bytes, content_type(exchange.response_headers),
            is_base64=exchange.response_is_base64, wants_all=everything == "response",
        ),
    )  # fmt: skip


def _body(
    side: str, text: str | None, size_bytes: int, media_type: str, *, is_base64: bool, wants_all: bool
) -> _BodyView:
    html: Markup | None = None
    is_whole = True
    if text is not None and not is_base64:
        limit = ALL_CHARACTERS if wants_all else FIRST_CHARACTERS
        # Base64 is shortened in what is looked at only: a body of 10 MB is not searched through for its first page.
        shown, is_whole = prose.indented(prose.shortened(text if wants_all else text[: 40 * limit]), limit)
        is_whole = is_whole and (wants_all or len(text) <= 40 * limit)
        is_json = text.lstrip()[:1] in {"{", "["}
        html = prose.coloured_json(shown) if is_json else escape(shown)
    return _BodyView(
        side=side,
        html=html,
        size_bytes=size_bytes,
        media_type=media_type[:80],
        is_whole=is_whole,
        is_binary=is_base64,
        can_show_all=not is_whole and not wants_all,
    )


_PARTS = (
    ("input", "input_tokens"),
    ("cache read", "cache_read_tokens"),
    ("cache write", "cache_write_tokens"),
    ("cache write, 1 h", "cache_write_1h_tokens"),
    ("audio in", "input_audio_tokens"),
    ("output", "output_tokens"),
    ("reasoning", "reasoning_tokens"),
    ("audio out", "output_audio_tokens"),
)


def _tokens(exchange: Exchange) -> list[tuple[str, int | None]]:
    """The parts of the usage that are known; input and output always, unknown or not."""
    usage = exchange.usage
    if usage is None:
        return []
    found = [(label, getattr(usage, name)) for label, name in _PARTS]
    return [(label, value) for label, value in found if value is not None or label in {"input", "output"}]


@dataclass(frozen=True, slots=True)
class _TimingView:
    wait_ms: float | None
    generation_ms: float | None
    wait_share: float
    output_tokens: int | None


def _timing(exchange: Exchange) -> _TimingView:
    first, latency = exchange.timing.first_byte_ms, exchange.timing.latency_ms
    generation = max(latency - first, 0.0) if first is not None else None
    share = 1.0 if first is None or latency <= 0 else min(first / latency, 1.0)
    usage = exchange.usage
    return _TimingView(first, generation, share, usage.total_output if usage is not None else None)
