"""`heliconnect tail`: new records of a running server, as they come.

The server's REST API lists records in the order of their arrival, the latest first: what is new is all that stands
before the first record that was seen already.
"""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

from heliconnect.api import where
from heliconnect.cli.asking import ask, data_of
from heliconnect.errors import ApiError
from heliconnect.server.dashboard.format import cost, count, duration
from heliconnect.settings import Settings

__all__ = ["Newest", "follow", "line_of", "matching"]

Record = dict[str, Any]
Query = Callable[[int, int], list[Record]]
_TABLE = "request_response_rmt"
_FIRST = 1
_PAGE = 50
_MAX_SEEN = 20_000
_MAX_NEW = 5_000
_FAILED = ("cut", "timeout", "unreachable")
_UNKNOWN = "unknown"


def matching(*, user: str | None, session: str | None, model: str | None, errors: bool) -> Any:
    """Helicone's filter AST for what is given."""
    chosen = where(user_id=user, session_id=session, model=model)
    if not errors:
        return chosen
    failed: list[dict[str, dict[str, Any]]] = [{"ended": {"equals": end}} for end in _FAILED]
    failed += [{"status": {"gte": 400}}, {"status": {"is-unknown": True}}]
    either: Any = {_TABLE: failed[0]}
    for leaf in failed[1:]:
        either = {"left": either, "operator": "or", "right": {_TABLE: leaf}}
    return either if chosen == "all" else {"left": chosen, "operator": "and", "right": either}


class Newest:
    """What has come since the last look. query(offset, limit) gives records, the latest arrival first."""

    def __init__(self, query: Query) -> None:
        self._query = query
        self._seen: OrderedDict[str, None] = OrderedDict()

    def begin(self, last: int) -> list[Record]:
        """Look for the first time; gives the `last` records, oldest first."""
        found = self._query(0, max(last, _FIRST))
        self._remember(found)
        return found[:last][::-1]

    def fresh(self) -> list[Record]:
        """The records that came since, oldest first; after more than 5,000 the older of them are left out."""
        found: list[Record] = []
        offset, limit = 0, _FIRST  # mostly nothing is new: one record tells
        while len(found) < _MAX_NEW:
            page = self._query(offset, limit)
            new = self._unseen(page)
            found += new
            if len(new) < len(page) or len(page) < limit:
                break
            offset, limit = offset + len(page), _PAGE
        unique = list({record["request_id"]: record for record in reversed(found)}.values())
        self._remember(unique)
        return unique

    def _unseen(self, page: list[Record]) -> list[Record]:
        known = (index for index, record in enumerate(page) if record["request_id"] in self._seen)
        return page[: next(known, len(page))]

    def _remember(self, records: list[Record]) -> None:
        for record in records:
            self._seen[record["request_id"]] = None
        while len(self._seen) > _MAX_SEEN:
            self._seen.popitem(last=False)


def follow(
    settings: Settings,
    chosen: Any,
    *,
    last: int,
    every_s: float,
    warn: Callable[[str], None],
    sleep: Callable[[float], object] = time.sleep,
) -> Iterator[Record]:
    """The last records and then, without end, those that come. A server that goes away is waited for.

    Raises ApiError when nobody answers at first, or the filter is refused.
    """

    def query(offset: int, limit: int) -> list[Record]:
        body = json.dumps({"filter": chosen, "offset": offset, "limit": limit}).encode()
        found: list[Record] = data_of(ask(settings, "/v1/request/query-clickhouse", body))
        return found

    newest = Newest(query)
    yield from newest.begin(last)
    is_away = False
    while True:
        sleep(every_s)
        try:
            found = newest.fresh()
        except ApiError as error:
            if error.status is not None and 400 <= error.status < 500:
                raise
            if not is_away:
                warn(f"{error}; waiting for it")
            is_away = True
            continue
        if is_away:
            warn("the server answers again")
            is_away = False
        yield from found


def line_of(record: Record) -> str:
    """One line: time, status, model, user, session path, tokens, cost, latency."""
    properties = record.get("request_properties") or record.get("properties") or {}
    amount, latency = record.get("cost"), record.get("delay_ms")
    tokens = record.get("total_tokens")
    parts = (
        _time(record.get("request_created_at")),
        f"{_status(record):<11}",
        f"{_text(record.get('model')) or _UNKNOWN:<24}",
        f"{_text(record.get('request_user_id')) or '-':<16}",
        f"{_text(properties.get('Helicone-Session-Path')) or '-':<20}",
        f"{_UNKNOWN if tokens is None else count(tokens):>7} tok",
        f"{_UNKNOWN if amount is None else cost(Decimal(str(amount))):>9}",
        f"{_UNKNOWN if latency is None else duration(latency):>8}",
    )
    return "  ".join(parts)


def _status(record: Record) -> str:
    """The HTTP status; in a word how a call ended that was not answered whole."""
    ended, status = record.get("ended"), record.get("response_status")
    if ended in (None, "done"):
        return _UNKNOWN if status is None else str(status)
    return _text(ended)


def _time(text: object) -> str:
    """A time in this machine's zone, to the second."""
    try:
        return f"{datetime.fromisoformat(str(text)).astimezone():%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError):
        return f"{_UNKNOWN:<19}"


def _text(value: object) -> str:
    """Text that moves no cursor: what callers sent may hold anything."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in str(value or ""))
