"""The routes of Helicone's dashboard: totals and averages of a time, and charts over it.

Spans without a call have count and cost 0, and no average. Nothing here looks for threats or countries: threats are
null, the list of countries is empty. Source: valhalla/jawn/src/managers/MetricsManager.ts of Helicone/helicone
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from heliconnect.errors import MissingExtraError
from heliconnect.server.rest.filters import read_filter
from heliconnect.server.rest.routes import Envelope, StoreOf, enveloped
from heliconnect.server.rest.rows import stamp
from heliconnect.server.rest.spans import Body, ChartBody, IsoSpan, iso_moment, within
from heliconnect.store import Store
from heliconnect.store.filters import Filter, FilterError, both
from heliconnect.store.measures import Question, of_no_calls

try:
    from fastapi import APIRouter
    from pydantic import Field
except ImportError as exc:
    raise MissingExtraError("heliconnect.server.rest", "server") from exc

__all__ = ["metrics_router", "plain"]

metrics_router = APIRouter(prefix="/v1")
# Routes that give one number -> what they measure.
_TOTALS = {
    "totalRequests": "requests",
    "totalCost": "cost_usd",
    "averageLatency": "average_latency_ms",
    "averageTimeToFirstToken": "average_first_byte_ms",
    "activeUsers": "users",
}
# Routes that give a chart -> its columns -> what they measure.
_CHARTS = {
    "requestOverTime": {"count": "requests"},
    "costOverTime": {"cost": "cost_usd"},
    "tokensOverTime": {"prompt_tokens": "input_tokens", "completion_tokens": "output_tokens"},
    "detailedTokensOverTime": {
        "prompt_tokens": "plain_input_tokens",
        "completion_tokens": "plain_output_tokens",
        "reasoning_tokens": "reasoning_tokens",
        "prompt_cache_read_tokens": "cache_read_tokens",
        "prompt_cache_write_tokens": "cache_write_tokens",
    },
    "latencyOverTime": {"duration": "average_latency_ms"},
    "timeToFirstToken": {"ttft": "average_first_byte_ms"},
    "usersOverTime": {"count": "users"},
    "errorOverTime": {"count": "errors"},
}
_QUANTILES_OF = {
    "latency": "latency_ms",
    "time_to_first_token": "first_byte_ms",
    "prompt_tokens": "input_tokens",
    "completion_tokens": "output_tokens",
    "total_tokens": "total_tokens",
}


class TotalBody(Body):
    """The body of a query of one total."""

    filter: Any = "all"
    timeFilter: IsoSpan | None = None  # noqa: N815 - Helicone's spelling
    offset: int = Field(0, ge=0)
    limit: int = Field(100, ge=1, le=10_000)
    isCached: bool = False  # noqa: N815 - Helicone's spelling

    def where(self) -> Filter | None:
        """The calls that are meant. Raises FilterError."""
        return both(read_filter(self.filter), _within(self.timeFilter))


class QuantileBody(ChartBody):
    """The body of a chart of quantiles."""

    metric: str = "latency"


class ScoreBody(ChartBody):
    """The body of a chart of scores, which calls its filter userFilter."""

    userFilter: Any = "all"  # noqa: N815 - Helicone's spelling


def _within(span: IsoSpan | None) -> Filter | None:
    return None if span is None else within(iso_moment(span.start), iso_moment(span.end))


def _where(body: ChartBody) -> Filter | None:
    return both(read_filter(body.filter), _within(body.timeFilter))


def plain(value: Any) -> Any:
    """A measure as JSON has it: money as a number."""
    return float(value) if isinstance(value, Decimal) else value


def _measured(store: Store, body: TotalBody, *names: str) -> list[Any]:
    (group,) = store.measures.groups(Question(of=names, where=body.where()))
    return [plain(group.of[name]) for name in names]


def _total(name: str) -> Callable[[TotalBody, StoreOf], Envelope]:
    def total(body: TotalBody, store: StoreOf) -> Envelope:
        return enveloped(_measured(store, body, name)[0])

    return total


def _chart(columns: dict[str, str]) -> Callable[[ChartBody, StoreOf], Envelope]:
    def chart(body: ChartBody, store: StoreOf) -> Envelope:
        grid = body.grid()
        question = Question(of=tuple(columns.values()), by=("time",), where=_where(body), grid=grid, sort="time")
        found = {group.by[0]: group.of for group in store.measures.groups(question)}
        none = {name: of_no_calls(name) for name in columns.values()}
        return enveloped(
            [
                {"time": stamp(start), **{label: plain(found.get(n, none)[name]) for label, name in columns.items()}}
                for n, start in enumerate(grid.starts)
            ]
        )

    return chart


for _path, _name in _TOTALS.items():
    metrics_router.add_api_route(f"/metrics/{_path}", _total(_name), methods=["POST"], name=_path)
for _path, _columns in _CHARTS.items():
    metrics_router.add_api_route(f"/metrics/{_path}", _chart(_columns), methods=["POST"], name=_path)


@metrics_router.post("/metrics/averageTokensPerRequest")
def average_tokens(body: TotalBody, store: StoreOf) -> Envelope:
    """The average tokens of the calls whose tokens are known."""
    kinds = {"prompt": "input", "completion": "output", "total": "total"}
    found = _measured(store, body, *(f"average_{name}_tokens" for name in kinds.values()))
    return enveloped({f"average_{kind}_tokens_per_response": value for kind, value in zip(kinds, found, strict=True)})


@metrics_router.post("/metrics/totalThreats")
def total_threats(body: TotalBody) -> Envelope:
    """Unknown: nothing here looks for threats."""
    return enveloped(None)


@metrics_router.post("/metrics/threatsOverTime")
def threats_over_time(body: ChartBody) -> Envelope:
    """Unknown at all times."""
    return enveloped([{"time": stamp(start), "count": None} for start in body.grid().starts])


@metrics_router.post("/metrics/country")
def countries(body: TotalBody) -> Envelope:
    """No call's country is known."""
    return enveloped([])


@metrics_router.post("/metrics/requestCount")
def request_count(body: TotalBody, store: StoreOf) -> Envelope:
    """How many calls match; with isCached, how many of them were answered from the cache."""
    cached = read_filter({"request_response_rmt": {"cached": {"equals": True}}}) if body.isCached else None
    return enveloped(store.count(both(body.where(), cached)))


@metrics_router.post("/metrics/models")
def models(body: TotalBody, store: StoreOf) -> Envelope:
    """The models, the one with the most calls first."""
    of = ("output_tokens", "input_tokens", "total_tokens", "cost_usd")
    question = Question(of=of, by=("model",), where=body.where(), limit=body.limit, offset=body.offset)
    return enveloped(
        [
            {
                "model": group.by[0],
                "total_requests": group.of["requests"],
                "total_completion_tokens": group.of["output_tokens"],
                "total_prompt_token": group.of["input_tokens"],
                "total_tokens": group.of["total_tokens"],
                "cost": plain(group.of["cost_usd"]),
            }
            for group in store.measures.groups(question)
        ]
    )


@metrics_router.post("/metrics/requestStatusOverTime")
def statuses_over_time(body: ChartBody, store: StoreOf) -> Envelope:
    """Calls by status, for the spans that have any."""
    grid = body.grid()
    starts = [stamp(start) for start in grid.starts]
    question = Question(of=(), by=("time", "status"), where=_where(body), grid=grid, sort="time", descending=False)
    return enveloped(
        [
            {"time": starts[group.by[0]], "count": group.of["requests"], "status": group.by[1]}
            for group in store.measures.groups(question)
        ]
    )


@metrics_router.post("/metrics/modelUsageOverTime")
def models_over_time(body: ChartBody, store: StoreOf) -> Envelope:
    """Calls and tokens by model, for the spans that have any."""
    grid = body.grid()
    starts = [stamp(start) for start in grid.starts]
    of, by = ("total_tokens",), ("time", "model")
    question = Question(of=of, by=by, where=_where(body), grid=grid, sort="time", descending=False)
    return enveloped(
        [
            {
                "time": starts[group.by[0]],
                "model": group.by[1],
                "request_count": group.of["requests"],
                "total_tokens": group.of["total_tokens"],
            }
            for group in store.measures.groups(question)
        ]
    )


@metrics_router.post("/metrics/quantiles")
def quantiles(body: QuantileBody, store: StoreOf) -> Envelope:
    """The quantiles of latency, time to first token or tokens: values that occurred; null where there are none."""
    value = _QUANTILES_OF.get(body.metric)
    if value is None:
        raise FilterError(f"metric is one of {', '.join(_QUANTILES_OF)}, got {body.metric[:64]!r}")
    grid = body.grid()
    found = store.measures.quantiles(value, _where(body), grid)
    return enveloped(
        [
            {"time": stamp(start), **dict(zip(("p75", "p90", "p95", "p99"), found.get(n, (None,) * 4), strict=True))}
            for n, start in enumerate(grid.starts)
        ]
    )


@metrics_router.post("/dashboard/scores/query")
def scores_over_time(body: ScoreBody, store: StoreOf) -> Envelope:
    """The average of each score, for the spans that have any. The average is called score_sum, as Helicone does."""
    grid = body.grid()
    starts = [stamp(start) for start in grid.starts]
    where = both(_where(body), read_filter(body.userFilter))
    return enveloped(
        [
            {"created_at_trunc": starts[span], "score_key": name, "score_sum": average}
            for span, name, average in store.measures.scores(where, grid)
        ]
    )
