"""Helicone's SQL routes: which tables there are, and one SELECT at a time.

At most 1,000 rows; isTruncated says that there are more. Source: https://docs.helicone.ai/features/hql
"""

from __future__ import annotations

import time

import orjson

from heliconnect.errors import MissingExtraError
from heliconnect.server.rest.routes import Envelope, StoreOf, enveloped
from heliconnect.server.rest.spans import Body

try:
    from fastapi import APIRouter
    from pydantic import Field
except ImportError as exc:
    raise MissingExtraError("heliconnect.server.rest", "server") from exc

__all__ = ["hql_router"]

hql_router = APIRouter(prefix="/v1/helicone-sql")


class Statement(Body):
    """One SELECT."""

    sql: str = Field(max_length=100_000)


@hql_router.get("/schema")
def schema(store: StoreOf) -> Envelope:
    """The tables, with what each column means."""
    return enveloped(
        [
            {
                "table_name": table.name,
                "columns": [
                    {"name": column.name, "type": column.type, "comment": column.comment} for column in table.columns
                ],
            }
            for table in store.hql.tables()
        ]
    )


@hql_router.post("/execute")
def execute(body: Statement, store: StoreOf) -> Envelope:
    """The rows of a SELECT; size is that of the rows as JSON, in bytes."""
    started = time.perf_counter()
    answer = store.hql.answer(body.sql)
    elapsed_ms = (time.perf_counter() - started) * 1000
    return enveloped(
        {
            "rows": answer.rows,
            "elapsedMilliseconds": round(elapsed_ms, 3),
            "size": len(orjson.dumps(answer.rows)),
            "rowCount": len(answer.rows),
            "isTruncated": answer.is_truncated,
        }
    )
