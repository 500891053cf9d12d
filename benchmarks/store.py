"""How fast the store keeps and finds records, in ratios to what plain sqlite3 does with the same data.

usage: python benchmarks/store.py [--rows 50000]

Kept: small records in batches of 2,000, against one INSERT of the same columns and bodies into one table without
indexes, and their ratio: what indexes, properties, rollups, facets, sessions and compression cost. Found: the median of
the queries that pages and the API make. The last line says whether the targets hold: 5,000 records/s kept (CPU time),
pages below 20 ms, a record by its id below 5 ms.
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from uuid import UUID

from heliconnect.exchange import Cost, End, Exchange, Timing, Usage
from heliconnect.store import Mark, Store, open_store
from heliconnect.store.filters import All, Leaf
from heliconnect.store.tables import request_row

BATCH = 2_000
MODELS = ("gpt-5", "gpt-5-mini", "claude", "gemini")
BEGIN = datetime(2026, 3, 1, tzinfo=UTC)


def record(number: int) -> Exchange:
    """A small but whole record; all that varies is derived from its number."""
    return Exchange(
        request_id=str(UUID(int=number)),
        timing=Timing(BEGIN + timedelta(seconds=number), 200.0 + number % 1_000, 90.0),
        method="POST",
        target_url="https://api.openai.com/v1/chat/completions",
        status=500 if number % 29 == 0 else 200,
        end=End.DONE,
        provider="openai",
        model=MODELS[number % 4],
        user_id=f"user-{number * 7 % 503}",
        session_id=f"session-{number // 8}",
        session_name="benchmark",
        properties={"tier": ("free", "pro", "team")[number % 3], "case": str(number)},
        usage=Usage(input_tokens=number % 4_000, output_tokens=number % 700),
        cost=Cost(Decimal(number % 9_000) / 10**6, source="benchmark"),
        request_headers=(("content-type", "application/json"),),
        request_body=f'{{"model": "gpt-5", "messages": [{{"role": "user", "content": "Why is {number}?"}}]}}',
        response_body=f'{{"choices": [{{"message": {{"role": "assistant", "content": "As {number} is."}}}}]}}',
        request_preview=f"What is the time in {number}?",
        response_preview=f"It is {number} o'clock.",
    )


def batches(rows: int) -> Iterator[list[Exchange]]:
    for begin in range(0, rows, BATCH):
        yield [record(number) for number in range(begin, min(begin + BATCH, rows))]


def cpu_s(action: Callable[[], object]) -> float:
    begin = time.process_time()
    action()
    return time.process_time() - begin


def keep(store: Store, rows: int) -> float:
    """CPU seconds to append all."""
    return sum(
        cpu_s(lambda batch=batch, at=at: store.append(batch, Mark("segment", at)))  # type: ignore[misc]  # defaults bind the loop's values
        for at, batch in enumerate(batches(rows))
    )


def keep_plainly(path: Path, rows: int) -> float:
    """CPU seconds for one table, one INSERT a record, nothing kept beside it."""
    plain = sqlite3.connect(path)
    plain.execute("PRAGMA journal_mode=WAL")
    plain.execute("PRAGMA synchronous=NORMAL")
    names = [*request_row(record(0), 0), "request", "response"]
    plain.execute(f"CREATE TABLE plain ({', '.join(names)})")
    insert = f"INSERT INTO plain VALUES ({', '.join('?' * len(names))})"

    def append(batch: list[Exchange]) -> None:
        with plain:
            plain.executemany(
                insert, [(*request_row(one, 0).values(), one.request_body, one.response_body) for one in batch]
            )

    spent = sum(cpu_s(lambda batch=batch: append(batch)) for batch in batches(rows))  # type: ignore[misc]  # as above
    plain.close()
    return spent


def median_ms(action: Callable[[], object], times: int = 9) -> float:
    def once() -> float:
        begin = time.perf_counter()
        action()
        return (time.perf_counter() - begin) * 1000

    return statistics.median(once() for _ in range(times))


def find(store: Store, rows: int) -> dict[str, float]:
    """Median milliseconds of each query."""
    some_id = str(UUID(int=rows // 2))
    rare = Leaf("property", "equals", str(rows // 100), "case")
    failed = All((Leaf("model", "equals", "claude"), Leaf("status", "gte", 400)))
    return {
        "page, newest": median_ms(lambda: store.page()),
        "page, one user": median_ms(lambda: store.page(Leaf("user_id", "equals", "user-7"))),
        "page, model and status": median_ms(lambda: store.page(failed)),
        "page, common property": median_ms(lambda: store.page(Leaf("property", "equals", "pro", "tier"))),
        "page, rare property": median_ms(lambda: store.page(rare)),
        "by id": median_ms(lambda: store.get(some_id)),
        "by id, as a filter": median_ms(lambda: store.page(Leaf("request_id", "equals", some_id), limit=1)),
        "one session": median_ms(lambda: store.session("session-100")),
        "list of sessions": median_ms(lambda: store.sessions()),
        "count, capped": median_ms(lambda: store.count(cap=10_001)),
    }


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=50_000)
    rows = min(parser.parse_args().rows, 200_000)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = open_store(folder / "records.db")
        kept, plain = keep(store, rows), keep_plainly(folder / "plain.db", rows)
        found = find(store, rows)
        store.close()
    print(f"keep    store {rows / kept:>8,.0f}/s   plain INSERT {rows / plain:>8,.0f}/s   ratio {plain / kept:.2f}")
    for query, spent_ms in found.items():
        print(f"find    {query:<24} {spent_ms:>8.2f} ms")
    pages_hold = all(spent_ms < 20 for query, spent_ms in found.items() if query.startswith("page"))
    is_met = rows / kept > 5_000 and pages_hold and found["by id"] < 5 and found["by id, as a filter"] < 5
    print(f"{rows:,} rows: targets {'hold' if is_met else 'DO NOT hold'}")
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
