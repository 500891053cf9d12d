"""The demo's check: reads the records back over REST and holds them against what was sent."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Sequence
from typing import Any

from heliconnect.cli.traffic import ODD_CASES, USERS, WAYS, Sent

__all__ = ["read_records", "summarize"]

_WAIT_S = 20.0
_COLUMNS = ("calls", "recorded", "wrong user", "with path", "tokens", "cost USD")

Record = dict[str, Any]


def read_records(url: str, sent: Sequence[Sent]) -> list[Record]:
    """All records of the server, as soon as there are as many as calls were sent, or after some seconds."""
    deadline = time.monotonic() + _WAIT_S
    body = json.dumps({"filter": "all", "limit": 1000}).encode()
    while True:
        request = urllib.request.Request(  # noqa: S310 - our own http URL
            f"{url}/v1/request/query-clickhouse", body, {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - as above
            records: list[Record] = json.load(answer)["data"]
        found = sum(1 for one in sent if _of(one, records))
        is_complete = found == len(sent) and len(records) >= len(sent) + ODD_CASES
        if is_complete or time.monotonic() > deadline:
            return records
        time.sleep(0.2)


def _of(sent: Sent, records: Sequence[Record]) -> list[Record]:
    """The records whose prompt names this call's text and place, whoever they say made it."""
    texts = ((record, json.dumps(record.get("request_body"), ensure_ascii=False)) for record in records)
    return [record for record, text in texts if sent.way.prompt in text and sent.place in text]


def summarize(sent: Sequence[Sent], records: Sequence[Record]) -> tuple[str, bool]:
    """A table with a line for each way of calling, and whether every call is recorded once, whole and rightly."""
    lines = [f"{'':<22}" + "".join(f"{name:>12}" for name in _COLUMNS)]
    is_right = True
    for way in WAYS:
        calls = [one for one in sent if one.way is way]
        pairs = [(one, record) for one in calls for record in _of(one, records)]
        wrong = sum(record.get("request_user_id") != one.user for one, record in pairs)
        with_path = sum(_path(record).startswith(way.path) for _, record in pairs)
        tokens = sum(record.get("total_tokens") or 0 for _, record in pairs)
        costs = [record.get("costUSD") for _, record in pairs]
        cost = sum(known for known in costs if known)
        lines.append(
            f"{way.label:<22}{len(calls):>12}{len(pairs):>12}{wrong:>12}{with_path:>12}{tokens:>12}{cost:>12.6f}"
        )
        is_whole = len(pairs) == len(calls) == with_path and all(costs) and tokens > 0
        is_right = is_right and is_whole and wrong == 0
    sessions = {_properties(record).get("Helicone-Session-Id") for record in records} - {None}
    lines.append(
        f"{len(records)} records of {len(USERS)} users and the odd cases, in {len(sessions)} sessions: "
        + ("every call is recorded, with the right user" if is_right else "NOT every call is recorded rightly")
    )
    return "\n".join(lines), is_right


def _properties(record: Record) -> dict[str, str]:
    return record.get("request_properties") or record.get("properties") or {}


def _path(record: Record) -> str:
    return _properties(record).get("Helicone-Session-Path") or ""
