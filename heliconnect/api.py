"""The gateway's REST API for Python: records, sessions, feedback, scores, properties.

    api = Api()                                         # the gateway and key of the process's settings
    for record in api.requests(where(user_id="u-42", status=200), limit=100): ...
    api.feedback(request_id, True)

`AsyncApi` is the same for asyncio. Records are dictionaries in Helicone's shape (`HeliconeRequest`).
Source: https://docs.helicone.ai/rest
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime
from itertools import count as counting
from typing import Any
from urllib.parse import quote

from heliconnect.errors import ApiError
from heliconnect.routing import api_url, is_loopback
from heliconnect.settings import Settings, get_settings

__all__ = ["Api", "AsyncApi", "Record", "feedback", "where"]

Record = dict[str, Any]
Filter = Any
"""Helicone's filter AST; `where` makes one."""

_log = logging.getLogger("heliconnect")
_PAGE = 100
_TIMEOUT_S = 30.0
_TRIES = 3
_PAUSE_S = 0.5
_AGAIN = frozenset({429, 500, 502, 503, 504})
_TABLE = "request_response_rmt"


def where(
    *,
    user_id: str | None = None,
    session_id: str | None = None,
    model: str | None = None,
    provider: str | None = None,
    status: int | None = None,
    properties: Mapping[str, str] | None = None,
    feedback: bool | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Filter:
    """A filter for what is given: `where(user_id="u-42", properties={"tier": "pro"})`. Times are those of the start."""
    named = {"Helicone-Session-Id": session_id, **(properties or {})}
    leaves: list[Any] = [
        {_TABLE: {column: {"equals": value}}}
        for column, value in (("user_id", user_id), ("model", model), ("provider", provider), ("status", status))
        if value is not None
    ]
    leaves += [
        {_TABLE: {"properties": {name: {"equals": value}}}} for name, value in named.items() if value is not None
    ]
    if feedback is not None:
        leaves.append({_TABLE: {"helicone-score-feedback": {"equals": feedback}}})
    times = (("gte", since), ("lt", until))
    leaves += [{_TABLE: {"request_created_at": {op: _stamp(time)}}} for op, time in times if time is not None]
    if not leaves:
        return "all"
    whole = leaves[0]
    for leaf in leaves[1:]:
        whole = {"left": whole, "operator": "and", "right": leaf}
    return whole


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Api:
    """A client of the gateway's REST API. Safe to use from any thread.

    settings default to the process's. Every method raises ApiError when there is no answer to use.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings

    def requests(
        self, matching: Filter = "all", *, limit: int | None = None, newest_first: bool = True
    ) -> Iterator[Record]:
        """The records that match, at most `limit`; pages are fetched as they are needed."""
        for offset in counting(0, _PAGE):
            size = _PAGE if limit is None else min(_PAGE, limit - offset)
            if size <= 0:
                return
            order = {"created_at": "desc" if newest_first else "asc"}
            body = {"filter": matching, "offset": offset, "limit": size, "sort": order}
            page = self._post("/v1/request/query-clickhouse", body)
            yield from page
            if len(page) < size:
                return

    def count(self, matching: Filter = "all") -> int:
        """How many records match."""
        return int(self._post("/v1/request/count/query", {"filter": matching}))

    def request(self, request_id: str) -> Record | None:
        """One record, bodies included; None when it is not recorded (yet)."""
        try:
            found = self._call("GET", f"/v1/request/{quote(request_id, safe='')}?includeBody=true")
        except ApiError as error:
            if error.status == 404:
                return None
            raise
        return found if isinstance(found, dict) else None

    def sessions(self, search: str = "", *, matching: Filter = "all", limit: int | None = None) -> Iterator[Record]:
        """Sessions, the one used last first, at most `limit`."""
        for offset in counting(0, _PAGE):
            size = _PAGE if limit is None else min(_PAGE, limit - offset)
            if size <= 0:
                return
            body = {"search": search, "filter": matching, "offset": offset, "limit": size}
            span = {"startTimeUnixMs": 0, "endTimeUnixMs": int(time.time() * 1000) + 86_400_000}
            page = self._post("/v1/session/query", {**body, "timeFilter": span, "timezoneDifference": 0})
            yield from page
            if len(page) < size:
                return

    def feedback(self, request_id: str, rating: bool) -> None:
        """Say whether an answer was good. The record may still be on its way."""
        self._post(f"/v1/request/{quote(request_id, safe='')}/feedback", {"rating": rating})

    def score(self, request_id: str, scores: Mapping[str, float | bool]) -> None:
        """Give scores by name."""
        self._post(f"/v1/request/{quote(request_id, safe='')}/score", {"scores": dict(scores)})

    def set_property(self, request_id: str, name: str, value: str) -> None:
        """Set a property of a record, as if its call had carried it."""
        self._call("PUT", f"/v1/request/{quote(request_id, safe='')}/property", {"key": name, "value": value})

    def session_feedback(self, session_id: str, rating: bool) -> None:
        """Say whether a session went well."""
        self._post(f"/v1/session/{quote(session_id, safe='')}/feedback", {"rating": rating})

    def _post(self, path: str, body: object) -> Any:
        return self._call("POST", path, body)

    def _call(self, method: str, path: str, body: object = None) -> Any:
        """The data of an answer. What may be asked twice is, when the API is busy or away."""
        failure = ApiError("there was no answer")
        for attempt in range(_TRIES):
            if attempt:
                time.sleep(_PAUSE_S * 2 ** (attempt - 1))
            try:
                return self._once(method, path, body)
            except ApiError as error:
                failure = error
                if error.status is not None and error.status not in _AGAIN:
                    raise
        raise failure

    def _once(self, method: str, path: str, body: object) -> Any:
        settings = self._settings if self._settings is not None else get_settings()
        base = api_url(settings)
        data = None if body is None else json.dumps(body, default=str).encode()
        request = urllib.request.Request(base + path, data, {"Content-Type": "application/json"}, method=method)  # noqa: S310 - http(s) by Settings
        if settings.api_key is not None:
            request.add_header("Authorization", f"Bearer {settings.api_key}")
        handlers = [urllib.request.ProxyHandler({})] if is_loopback(base) else []
        try:
            with urllib.request.build_opener(*handlers).open(request, timeout=_TIMEOUT_S) as answer:
                found = json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            with error:
                raise ApiError(f"{base} answered {error.code}: {_words(error.read())}", error.code) from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            raise ApiError(f"{base} gave no answer to use: {reason}; is the gateway running?") from error
        if isinstance(found, dict) and found.get("error"):
            raise ApiError(f"{base} answered: {found['error']}", 200)
        return found.get("data") if isinstance(found, dict) else found


def _words(raw: bytes) -> str:
    """What an error's body says, shortened."""
    try:
        found = json.loads(raw)
        words = found.get("error") or found.get("message") if isinstance(found, dict) else None
    except ValueError:
        words = None
    return str(words or raw[:200].decode("utf-8", "replace"))[:300]


class AsyncApi:
    """`Api` for asyncio: the same calls, awaited, each in a worker thread."""

    def __init__(self, settings: Settings | None = None) -> None:
        self._api = Api(settings)

    async def requests(
        self,
        matching: Filter = "all",
        *,
        limit: int | None = None,
        newest_first: bool = True,
    ) -> AsyncIterator[Record]:
        """As `Api.requests`."""
        async for record in _each(self._api.requests(matching, limit=limit, newest_first=newest_first)):
            yield record

    async def count(self, matching: Filter = "all") -> int:
        """As `Api.count`."""
        return await asyncio.to_thread(self._api.count, matching)

    async def request(self, request_id: str) -> Record | None:
        """As `Api.request`."""
        return await asyncio.to_thread(self._api.request, request_id)

    async def sessions(
        self,
        search: str = "",
        *,
        matching: Filter = "all",
        limit: int | None = None,
    ) -> AsyncIterator[Record]:
        """As `Api.sessions`."""
        async for record in _each(self._api.sessions(search, matching=matching, limit=limit)):
            yield record

    async def feedback(self, request_id: str, rating: bool) -> None:
        """As `Api.feedback`."""
        await asyncio.to_thread(self._api.feedback, request_id, rating)

    async def score(self, request_id: str, scores: Mapping[str, float | bool]) -> None:
        """As `Api.score`."""
        await asyncio.to_thread(self._api.score, request_id, scores)

    async def set_property(self, request_id: str, name: str, value: str) -> None:
        """As `Api.set_property`."""
        await asyncio.to_thread(self._api.set_property, request_id, name, value)

    async def session_feedback(self, session_id: str, rating: bool) -> None:
        """As `Api.session_feedback`."""
        await asyncio.to_thread(self._api.session_feedback, session_id, rating)


async def _each(records: Iterator[Record]) -> AsyncIterator[Record]:
    while (record := await asyncio.to_thread(next, records, None)) is not None:
        yield record


def feedback(request_id: str, rating: bool) -> bool:
    """Say whether an answer was good: `feedback(hc.last_request_id(), True)`. Gives whether the gateway took it.

    Never raises: what went wrong is logged. It waits for the gateway's answer; in asyncio code use `AsyncApi`.
    """
    try:
        Api().feedback(request_id, rating)
    except Exception as error:  # noqa: BLE001 - feedback may be lost, what it is about may not
        _log.warning("feedback was not taken: %s", error)
        return False
    return True
