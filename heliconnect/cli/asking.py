"""Asking a running server over HTTP, once, without hiding what it says."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from heliconnect.errors import ApiError
from heliconnect.routing import api_url, is_loopback
from heliconnect.settings import Gateway, Settings

__all__ = ["Answer", "ask", "data_of"]

_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said; said is None for what is no JSON."""

    url: str
    status: int
    said: Any


def ask(settings: Settings, path: str, content: bytes | None = None, kind: str = "application/json") -> Answer:
    """The answer to a GET, or to a POST of `content`, whatever its status. Raises ApiError when there is none."""
    base = api_url(settings)
    headers = {} if content is None else {"Content-Type": kind}
    if settings.api_key is not None:
        headers["Authorization"] = f"Bearer {settings.api_key}"
    request = urllib.request.Request(base + path, content, headers)  # noqa: S310 - an http(s) URL by Settings
    handlers = [urllib.request.ProxyHandler({})] if is_loopback(base) else []
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=_TIMEOUT_S) as answer:
            return Answer(base, answer.status, _json(answer.read()))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(base, error.code, _json(error.read()))
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        start = "start one with `heliconnect up`, or " if settings.gateway is Gateway.LOCAL else ""
        raise ApiError(f"no server answers at {base}: {reason}; {start}name another with --url") from error


def data_of(answer: Answer) -> Any:
    """What stands in the API's envelope. Raises ApiError for an error, and for what is no answer of that API."""
    if not isinstance(answer.said, dict) or "data" not in answer.said:
        raise ApiError(
            f"what answers at {answer.url} is no server of heliconnect's or Helicone's (status {answer.status}): "
            "name another with --url",
            answer.status,
        )
    if answer.status in {401, 403}:
        words = answer.said.get("error")
        raise ApiError(f"{answer.url} answered {answer.status}: {words}; set HELICONE_API_KEY to one", answer.status)
    if answer.said.get("error") or answer.status >= 400:
        raise ApiError(f"{answer.url} answered {answer.status}: {answer.said.get('error')}", answer.status)
    return answer.said["data"]


def _json(raw: bytes) -> Any:
    try:
        return json.loads(raw or b"null")
    except ValueError:
        return None
