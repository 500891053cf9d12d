"""The tables, in SQLAlchemy Core, and a record's way into and out of their rows.

Times are integer microseconds since 1970 UTC, money integer billionths of a US dollar; NULL is unknown. Lists read
`requests` only; bodies and headers stand apart, compressed. Rollups, facets and sessions are kept on insert, so that no
page scans.
"""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import orjson
import zstandard
from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, LargeBinary, MetaData, Table, Text

from heliconnect.exchange import Cost, End, Exchange, Pairs, Timing, Usage

__all__ = [
    "COUNTS",
    "bodies",
    "body_row",
    "facets",
    "latencies",
    "marks",
    "metadata",
    "migrations",
    "nano",
    "notes",
    "properties",
    "read_exchange",
    "removed",
    "request_row",
    "requests",
    "rollups",
    "session_users",
    "sessions",
]

NANO = Decimal(10**9)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
COUNTS = tuple(f.name for f in fields(Usage) if f.name != "estimated")
_TEXTS = (
    *("request_id", "method", "target_url", "provider", "flavor", "model", "request_model", "response_model"),
    *(
        "user_id",
        "session_id",
        "session_name",
        "session_path",
        "request_preview",
        "response_preview",
        "key_hash",
        "cache_reference_id",
        "error",
    ),
)

metadata = MetaData()
requests = Table(
    "requests",
    metadata,
    Column("key", Integer, primary_key=True, autoincrement=True),
    Column("started_us", BigInteger, nullable=False),
    Column("latency_ms", Float, nullable=False),
    Column("first_byte_ms", Float),
    Column("status", Integer),
    Column("ended", Text, nullable=False),
    Column("is_stream", Boolean, nullable=False),
    *(Column(name, Text) for name in _TEXTS),
    *(Column(name, BigInteger) for name in COUNTS),
    Column("is_estimated", Boolean),
    Column("total_tokens", BigInteger),
    Column("cost_nano", BigInteger),
    Column("input_cost_nano", BigInteger),
    Column("output_cost_nano", BigInteger),
    Column("cost_source", Text),
    Column("priced_on", Text),
    Column("request_size_bytes", BigInteger, nullable=False),
    Column("response_size_bytes", BigInteger, nullable=False),
    Column("properties", Text, nullable=False),
    Column("warnings", Text, nullable=False),
    sqlite_autoincrement=True,
)
Index("requests_by_id", requests.c.request_id)
Index("requests_by_start", requests.c.started_us)
Index("requests_by_user", requests.c.user_id, requests.c.key)
Index("requests_by_session", requests.c.session_id, requests.c.started_us)
Index("requests_by_model", requests.c.model, requests.c.key)
Index("requests_by_status", requests.c.status, requests.c.key)

bodies = Table(
    "bodies",
    metadata,
    Column("key", Integer, primary_key=True),
    Column("request", LargeBinary),
    Column("response", LargeBinary),
    Column("request_is_base64", Boolean, nullable=False),
    Column("response_is_base64", Boolean, nullable=False),
    Column("heads", LargeBinary, nullable=False),
)
properties = Table(
    "properties",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, primary_key=True),
    Column("key", Integer, primary_key=True),
    sqlite_with_rowid=False,
)
Index("properties_by_key", properties.c.key)
rollups = Table(
    "rollups",
    metadata,
    Column("grain_s", Integer, primary_key=True),
    Column("bucket_s", BigInteger, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("provider", Text, primary_key=True),
    Column("count", BigInteger, nullable=False),
    Column("errors", BigInteger, nullable=False),
    Column("unpriced", BigInteger, nullable=False),
    Column("cost_nano", BigInteger, nullable=False),
    Column("input_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
# What removed records had added to the hourly rollups: counters over all calls ever stored never fall.
removed = Table(
    "removed",
    metadata,
    Column("model", Text, primary_key=True),
    Column("provider", Text, primary_key=True),
    Column("bucket_s", BigInteger, nullable=False),
    Column("count", BigInteger, nullable=False),
    Column("errors", BigInteger, nullable=False),
    Column("unpriced", BigInteger, nullable=False),
    Column("cost_nano", BigInteger, nullable=False),
    Column("input_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
latencies = Table(
    "latencies",
    metadata,
    Column("grain_s", Integer, primary_key=True),
    Column("bucket_s", BigInteger, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("provider", Text, primary_key=True),
    Column("bin", Integer, primary_key=True),
    Column("count", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
facets = Table(
    "facets",
    metadata,
    Column("kind", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", Text, primary_key=True),
    Column("count", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
sessions = Table(
    "sessions",
    metadata,
    Column("session_id", Text, primary_key=True),
    Column("session_name", Text, primary_key=True),
    Column("first_us", BigInteger, nullable=False),
    Column("last_us", BigInteger, nullable=False),
    Column("requests", BigInteger, nullable=False),
    Column("errors", BigInteger, nullable=False),
    Column("unpriced", BigInteger, nullable=False),
    Column("cost_nano", BigInteger),
    Column("input_tokens", BigInteger),
    Column("output_tokens", BigInteger),
    Column("latency_sum_ms", Float, nullable=False),
    sqlite_with_rowid=False,
)
Index("sessions_by_last", sessions.c.last_us)
session_users = Table(
    "session_users",
    metadata,
    Column("session_id", Text, primary_key=True),
    Column("session_name", Text, primary_key=True),
    Column("user_id", Text, primary_key=True),
    sqlite_with_rowid=False,
)
notes = Table(
    "notes",
    metadata,
    Column("subject", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
marks = Table(
    "marks",
    metadata,
    Column("segment", Text, primary_key=True),
    Column("offset", BigInteger, nullable=False),
)
migrations = Table("migrations", metadata, Column("name", Text, primary_key=True), Column("applied_at", Text))


def nano(amount: Decimal | None) -> int | None:
    """US dollars as billionths, rounded half to even."""
    return None if amount is None else int((amount * NANO).to_integral_value())


def dollars(amount: int | None) -> Decimal | None:
    """Billionths as US dollars."""
    return None if amount is None else (Decimal(amount) / NANO).normalize() + Decimal(0)


def micros(moment: datetime) -> int:
    """A moment as microseconds since 1970 UTC."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def moment(us: int) -> datetime:
    """Microseconds since 1970 as an aware UTC moment."""
    return _EPOCH + timedelta(microseconds=us)


def request_row(exchange: Exchange, key: int) -> dict[str, Any]:
    """The row of `requests`."""
    usage, cost = exchange.usage, exchange.cost
    row: dict[str, Any] = {name: getattr(exchange, name) for name in _TEXTS}
    row |= {name: None if usage is None else getattr(usage, name) for name in COUNTS}
    row |= {
        "key": key,
        "started_us": micros(exchange.timing.started_at),
        "latency_ms": exchange.timing.latency_ms,
        "first_byte_ms": exchange.timing.first_byte_ms,
        "status": exchange.status,
        "ended": str(exchange.end),
        "is_stream": exchange.is_stream,
        "is_estimated": None if usage is None else usage.estimated,
        "total_tokens": None if usage is None else usage.total,
        "cost_nano": None if cost is None else nano(cost.total_usd),
        "input_cost_nano": None if cost is None else nano(cost.input_usd),
        "output_cost_nano": None if cost is None else nano(cost.output_usd),
        "cost_source": None if cost is None else cost.source,
        "priced_on": None if cost is None or cost.priced_on is None else cost.priced_on.isoformat(),
        "request_size_bytes": exchange.request_size_bytes,
        "response_size_bytes": exchange.response_size_bytes,
        "properties": orjson.dumps(exchange.properties).decode(),
        "warnings": orjson.dumps(exchange.warnings).decode(),
    }
    return row


def body_row(exchange: Exchange, key: int, packer: zstandard.ZstdCompressor) -> dict[str, Any]:
    """The row of `bodies`."""

    def packed(text: str | None) -> bytes | None:
        return None if text is None else packer.compress(text.encode("utf-8", "surrogatepass"))

    heads = orjson.dumps([exchange.request_headers, exchange.response_headers])
    return {
        "key": key,
        "request": packed(exchange.request_body),
        "response": packed(exchange.response_body),
        "request_is_base64": exchange.request_is_base64,
        "response_is_base64": exchange.response_is_base64,
        "heads": packer.compress(heads),
    }


def unpack(blob: bytes | None) -> str | None:
    """A compressed text as it was."""
    return None if blob is None else zstandard.decompress(blob).decode("utf-8", "surrogatepass")


def read_exchange(row: Any, body: Any = None) -> Exchange:
    """The exchange of a row of `requests`, with what stands in `bodies` where that row is given."""
    texts = {name: getattr(row, name) for name in _TEXTS}
    usage = None
    if row.is_estimated is not None:
        usage = Usage(**{name: getattr(row, name) for name in COUNTS}, estimated=row.is_estimated)
    bodies_of: dict[str, Any] = {}
    if body is not None:
        heads = orjson.loads(unpack(body.heads) or "[[],[]]")
        bodies_of = {
            "request_body": unpack(body.request),
            "response_body": unpack(body.response),
            "request_is_base64": body.request_is_base64,
            "response_is_base64": body.response_is_base64,
            "request_headers": _pairs(heads[0]),
            "response_headers": _pairs(heads[1]),
        }
    return Exchange(
        **texts,
        **bodies_of,
        timing=Timing(moment(row.started_us), row.latency_ms, row.first_byte_ms),
        status=row.status,
        end=End(row.ended),
        is_stream=row.is_stream,
        usage=usage,
        cost=_cost(row),
        properties=orjson.loads(row.properties),
        warnings=tuple(orjson.loads(row.warnings)),
        request_size_bytes=row.request_size_bytes,
        response_size_bytes=row.response_size_bytes,
    )


def _cost(row: Any) -> Cost | None:
    total = dollars(row.cost_nano)
    if total is None:
        return None
    return Cost(
        total_usd=total,
        input_usd=dollars(row.input_cost_nano),
        output_usd=dollars(row.output_cost_nano),
        source=row.cost_source or "",
        priced_on=None if row.priced_on is None else date.fromisoformat(row.priced_on),
    )


def _pairs(raw: list[list[str]]) -> Pairs:
    return tuple((name, value) for name, value in raw)
