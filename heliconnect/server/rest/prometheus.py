"""`GET /metrics`: what was recorded and what waits, in Prometheus' text format.

Counters are by provider and model, for the first 200 pairs that occurred; all later ones are counted together as
"other", so that a caller's invented model names cannot make endless series, and no counter ever falls. A series begins
when something is known: there is no cost of 0 for calls that have no price.
Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from heliconnect.errors import MissingExtraError, StoreError
from heliconnect.server.rest.routes import StoreOf
from heliconnect.server.writer import WriterStatus
from heliconnect.store.filters import FilterError
from heliconnect.store.measures import Group

try:
    from fastapi import APIRouter
    from fastapi.responses import PlainTextResponse
except ImportError as exc:
    raise MissingExtraError("heliconnect.server.rest", "server") from exc

__all__ = ["prometheus_router"]

MAX_PAIRS = 200
_MAX_LABEL = 128
_TYPE = "text/plain; version=0.0.4; charset=utf-8"
Labels = tuple[tuple[str, str], ...]
Samples = Iterable[tuple[Labels, Any]]


def prometheus_router(status: Callable[[], WriterStatus]) -> APIRouter:
    """The route; status says how the writer is."""
    made = APIRouter()

    @made.get("/metrics", response_class=PlainTextResponse)
    def metrics(store: StoreOf) -> PlainTextResponse:
        """Calls, errors, tokens and cost by provider and model; what the writer stored, keeps waiting and dropped."""
        try:
            groups = store.measures.by_provider_and_model()
        except (StoreError, FilterError):
            groups = None
        lines = (*_calls(groups or []), *_writer(status()), *_up(is_up=groups is not None))
        return PlainTextResponse("\n".join(lines) + "\n", media_type=_TYPE)

    return made


def _calls(groups: list[Group]) -> Iterator[str]:
    pairs = _bounded(groups)
    yield from _family("requests_total", "counter", "Calls recorded.", _of(pairs, "requests"))
    yield from _family("errors_total", "counter", "Calls that failed.", _of(pairs, "errors"))
    yield from _family("unpriced_requests_total", "counter", "Calls whose cost is unknown.", _of(pairs, "unpriced"))
    tokens = (
        ((*labels, ("direction", kind)), sums[f"{kind}_tokens"])
        for labels, sums in pairs.items()
        for kind in ("input", "output")
        if sums[f"{kind}_tokens"]
    )
    yield from _family("tokens_total", "counter", "Tokens that providers reported.", tokens)
    cost = ((labels, sums["cost_usd"]) for labels, sums in pairs.items() if sums["unpriced"] < sums["requests"])
    yield from _family("cost_usd_total", "counter", "Cost in US dollars, of the calls where it is known.", cost)


def _writer(found: WriterStatus) -> Iterator[str]:
    for name, kind, says, value in (
        ("spool_waiting_bytes", "gauge", "Bytes that wait to be stored.", found.waiting_bytes),
        ("records_stored_total", "counter", "Records stored since the server began.", found.stored),
        ("records_dropped_total", "counter", "Records lost because the spool was full.", found.dropped),
        ("records_damaged_total", "counter", "Spool frames that could not be read.", found.damaged),
        ("records_set_aside_total", "counter", "Records that the store refused.", found.set_aside),
        ("store_takes_records", "gauge", "1 while the store takes records.", int(found.error is None)),
    ):
        yield from _family(name, kind, says, [((), value)])


def _up(*, is_up: bool) -> Iterator[str]:
    yield from _family("store_readable", "gauge", "1 while the store can be read.", [((), int(is_up))])


def _bounded(groups: list[Group]) -> dict[Labels, dict[str, Any]]:
    """The sums of each pair of labels, groups beyond the bound together."""
    found: defaultdict[Labels, dict[str, Any]] = defaultdict(dict)
    for number, group in enumerate(groups):
        names = (name or "unknown" for name in group.by) if number < MAX_PAIRS else ("other", "other")
        labels = tuple(zip(("provider", "model"), (name[:_MAX_LABEL] for name in names), strict=True))
        sums = found[labels]  # two long names may have the same beginning
        for name, value in group.of.items():
            sums[name] = sums.get(name, 0) + (value or 0)
    return found


def _of(pairs: dict[Labels, dict[str, Any]], name: str) -> Samples:
    return ((labels, sums[name]) for labels, sums in pairs.items())


def _family(name: str, kind: str, says: str, samples: Samples) -> Iterator[str]:
    yield f"# HELP heliconnect_{name} {says}"
    yield f"# TYPE heliconnect_{name} {kind}"
    for labels, value in samples:
        written = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels)
        yield f"heliconnect_{name}{'{' + written + '}' if written else ''} {_number(value)}"


def _number(value: Any) -> str:
    """A counter to its last digit, an amount to the fifteenth."""
    return str(value) if isinstance(value, int) else f"{float(value):.15g}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
