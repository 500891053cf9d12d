"""Calls that are logged to a running server: what tests of its API ask about."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import httpx

from tests.conftest import Running

ASKED = [{"role": "user", "content": "Why?"}]


@dataclass(frozen=True, slots=True)
class Call:
    """One call to log. cost is told by its caller; without one the model has no known price, nor tokens without any."""

    at: datetime
    user: str | None = None
    model: str = "m"
    status: int = 200
    latency_ms: int = 1_000
    first_token_ms: int | None = None
    tokens: tuple[int, int] | None = (10, 5)
    cost: float | None = None
    answer: str = "Because."
    headers: dict[str, str] = field(default_factory=dict)


def log_calls(live: Running, calls: Sequence[Call]) -> list[str]:
    """Log calls, wait until all are stored, and give their ids."""
    ids = [_log(live, call) for call in calls]
    found: list[Any] = []
    for _ in range(200):
        found = httpx.post(f"{live.url}/v1/request/query-ids", json={"requestIds": ids}).json()["data"]
        if len(found) == len(ids):
            return ids
        time.sleep(0.02)
    raise AssertionError(f"{len(found)} of {len(ids)} calls were stored in time")


def _log(live: Running, call: Call) -> str:
    request_id = str(uuid.uuid4())
    own = {"Authorization": "Bearer sk-helicone-secret", "Helicone-Request-Id": request_id}
    user = {} if call.user is None else {"Helicone-User-Id": call.user}
    answer: dict[str, Any] = {"model": call.model, "choices": [{"message": {"content": call.answer}}]}
    if call.tokens is not None:
        answer["usage"] = {"prompt_tokens": call.tokens[0], "completion_tokens": call.tokens[1]}
    told = {} if call.cost is None else {"cost": call.cost}
    log = {
        "providerRequest": {
            "url": "https://api.openai.com/v1/chat/completions",
            "json": {"model": call.model, "messages": ASKED},
            "meta": {},
        },
        "providerResponse": {"json": answer, "status": call.status, "headers": {}, **told},
        "timing": {
            "startTime": _parts(call.at),
            "endTime": _parts(call.at + timedelta(milliseconds=call.latency_ms)),
            "timeToFirstToken": call.first_token_ms,
        },
    }
    sent = httpx.post(f"{live.url}/oai/v1/log", json=log, headers={**own, **user, **call.headers})
    assert sent.status_code == 200, sent.text
    return request_id


def _parts(moment: datetime) -> dict[str, int]:
    return {"seconds": int(moment.timestamp()), "milliseconds": moment.microsecond // 1000}


def ask(live: Running, path: str, body: Any) -> Any:
    """The data that a POST is answered with."""
    answer = httpx.post(live.url + path, json=body, timeout=30)
    assert answer.status_code == 200, answer.text
    assert answer.json()["error"] is None
    return answer.json()["data"]


def refused(live: Running, path: str, body: Any) -> tuple[int, str]:
    """Status and words of a POST that is refused."""
    answer = httpx.post(live.url + path, json=body, timeout=30)
    assert answer.json()["data"] is None
    return answer.status_code, answer.json()["error"]
