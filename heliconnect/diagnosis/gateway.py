"""Checks that ask the gateway: whether it is one, whether it takes the key, what time it has, whether it streams."""

from __future__ import annotations

import http.client
import json
import ssl
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from typing import Any

from heliconnect.diagnosis.finding import Finding, Level
from heliconnect.protocol import AUTH, ID, REQUEST_ID, USER_ID
from heliconnect.routing import api_url
from heliconnect.settings import LOCAL_BASE_URL, Gateway, Settings

__all__ = ["check_gateway"]

PROBE_USER = "heliconnect-verify"
_TIMEOUT_S = 5.0
_MAX_SKEW_S = 30.0
_EVENTS = 5
_STATES = {Gateway.LOCAL: "start it with `heliconnect up`", Gateway.SELF_HOSTED: "start it, or see why it is not there"}


def check_gateway(settings: Settings, now: Callable[[], float] = time.time) -> Iterator[Finding]:
    """Nothing is asked further where there is no gateway. Takes up to a few seconds."""
    try:
        status, headers, body = _get(f"{api_url(settings)}/healthcheck", settings)
    except (OSError, http.client.HTTPException) as error:
        yield _unreachable(settings, error)
        return
    if status == 503 and _is_ours(body):
        says = f"the gateway passes calls on but cannot keep their records: {json.loads(body).get('error')}"
        yield Finding("gateway-degraded", Level.ERROR, says, "see to its data folder; records wait in its spool")
    elif status != 200 or (settings.gateway is Gateway.LOCAL and not _is_ours(body)):
        says = f"what answers at {settings.base_url} is no gateway: /healthcheck gave {status} {_start_of(body)}"
        remedy = f"set HELICONE_BASE_URL to the gateway's address ({LOCAL_BASE_URL} for the local one)"
        yield Finding("wrong-url", Level.ERROR, says, remedy)
        return
    yield from _skew(headers, now())
    yield from _key(settings)
    yield from _streaming(settings)


def _unreachable(settings: Settings, error: Exception) -> Finding:
    reason = getattr(error, "reason", error)
    if isinstance(reason, ssl.SSLError):
        says = f"{settings.base_url} does not speak TLS, or has a certificate that is not trusted: {reason}"
        return Finding(
            "wrong-url", Level.ERROR, says, "write http:// for a gateway without TLS, or trust its authority"
        )
    if "Name or service not known" in str(reason) or "getaddrinfo" in str(reason) or "nodename" in str(reason):
        says = f"the host of {settings.base_url} has no address: {reason}"
        return Finding("wrong-url", Level.ERROR, says, "correct HELICONE_BASE_URL, or unset it for the local gateway")
    remedy = _STATES.get(settings.gateway, "see whether this machine may reach it, through a proxy perhaps")
    says = f"no gateway at {settings.base_url}: {reason}; calls go straight to their providers, and wait to be recorded"
    return Finding("no-gateway", Level.ERROR, says, f"{remedy}, or set HELICONE_BASE_URL")


def _get(url: str, settings: Settings, **headers: str) -> tuple[int, Any, bytes]:
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - an http(s) URL by Settings
    try:
        with _opener(settings).open(request, timeout=_TIMEOUT_S) as answer:
            return answer.status, answer.headers, answer.read(1 << 20)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers, error.read(1 << 20)


def _opener(settings: Settings) -> urllib.request.OpenerDirector:
    """A local gateway is reached without any proxy, as calls reach it."""
    if settings.gateway is Gateway.LOCAL:
        return urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return urllib.request.build_opener()


def _is_ours(body: bytes) -> bool:
    try:
        return json.loads(body).get("status") in {"ok", "degraded"}
    except (ValueError, AttributeError):
        return False


def _start_of(body: bytes) -> str:
    text = " ".join(body[:200].decode("utf-8", "replace").split())
    return repr(text[:60]) if text else "and nothing else"


def _skew(headers: Any, now_s: float) -> Iterator[Finding]:
    try:
        skew_s = now_s - parsedate_to_datetime(headers["Date"]).timestamp()
    except (TypeError, ValueError):
        return
    if abs(skew_s) > _MAX_SKEW_S:
        way = "ahead of" if skew_s > 0 else "behind"
        says = f"this machine's clock is {abs(skew_s):.0f} s {way} the gateway's: times in records logged by hand are "
        says += "wrong, and context tokens of other services are refused"
        yield Finding("clock-skew", Level.ERROR, says, "set the clock, by NTP best")


def _key(settings: Settings) -> Iterator[Finding]:
    """Whether the gateway lets this key read; a record that does not exist is asked for."""
    key = {"Authorization": f"Bearer {settings.api_key}"} if settings.api_key is not None else {}
    try:
        status, _, _ = _get(f"{api_url(settings)}/v1/request/{uuid.uuid4()}", settings, **key)
    except (OSError, http.client.HTTPException):
        return
    if status in {401, 403}:
        says = f"the gateway does not take the key (HTTP {status})"
        yield Finding("key-kind", Level.ERROR, says, "set HELICONE_API_KEY to a key of this gateway that may read")


def _streaming(settings: Settings) -> Iterator[Finding]:
    """A streamed answer whose events the gateway makes itself, a tenth of a second apart: do they arrive so?"""
    if settings.gateway is not Gateway.LOCAL:
        says = "whether streams pass unbuffered was not checked: only heliconnect's own gateway can be asked for one"
        yield Finding("streaming", Level.NOTE, says, "nothing is to be done if answers appear word by word")
        return
    chunk = {"id": "chatcmpl-verify", "object": "chat.completion.chunk", "created": 0, "model": "gpt-4o-mini"}
    events = [{**chunk, "choices": [{"index": 0, "delta": {"content": "ok "}}]}] * _EVENTS
    usage = {"prompt_tokens": 12, "completion_tokens": _EVENTS, "total_tokens": 12 + _EVENTS}
    asked = {"model": "gpt-4o-mini", "stream": True, "messages": [{"role": "user", "content": "Do you stream?"}]}
    headers = {
        "Content-Type": "application/json",
        "__helicone-mock-response": json.dumps([*events, {**chunk, "choices": [], "usage": usage}, "[DONE]"]),
        REQUEST_ID: str(uuid.uuid4()),
        USER_ID: PROBE_USER,
    }
    if settings.api_key is not None:
        headers[AUTH] = f"Bearer {settings.api_key}"
    url = f"{settings.base_url}/oai/v1/chat/completions"
    request = urllib.request.Request(url, json.dumps(asked).encode(), headers)  # noqa: S310 - as above
    try:
        arrived = list(_arrivals(request, settings))
    except (OSError, http.client.HTTPException):
        return
    if len(arrived) > 1 and arrived[-1] - arrived[0] < 0.1 * (len(arrived) - 1) / 2:
        says = "streamed answers arrive in one piece: something before the gateway, nginx say, holds them back"
        remedy = "switch its buffering off (nginx: proxy_buffering off; proxy_http_version 1.1)"
        yield Finding("not-streaming", Level.ERROR, says, remedy)


def _arrivals(request: urllib.request.Request, settings: Settings) -> Iterator[float]:
    """When each event arrives, in seconds of a monotonic clock."""
    with _opener(settings).open(request, timeout=_TIMEOUT_S) as answer:
        if answer.headers.get(ID) is None:
            return
        for line in answer:
            if line.startswith(b"data:"):
                yield time.monotonic()
