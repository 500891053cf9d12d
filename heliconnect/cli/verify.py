"""`heliconnect verify`: one call through each installed adapter, its record read back by id, and what is missing in it.

The calls never reach a provider: they carry Helicone's `__helicone-mock-response` header, which makes the gateway
answer by itself and record the call as any other. So no provider key is needed and nothing is billed.
Source: worker/src/lib/HeliconeProxyRequest of Helicone/helicone.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

import heliconnect as hc
from heliconnect.callcontext import last_request_id
from heliconnect.cli.probes import PROBES, Probe
from heliconnect.errors import HeliconnectError
from heliconnect.routing import api_url
from heliconnect.settings import Gateway, Settings, configure

__all__ = ["run_verify"]

_USER = "heliconnect-verify"
_TIER = "größe"  # not ASCII on purpose: it has to arrive as it is
_READ_BACK_S = 15.0

Echo = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Finding:
    """What became of one adapter's call: what is wrong with its record (empty: nothing), or why there is none."""

    adapter: str
    request_id: str | None
    problems: tuple[str, ...]


def run_verify(settings: Settings, echo: Echo = print) -> int:
    """Check every installed adapter against the gateway of `settings`; print a line for each; 0 when all is right."""
    configure(replace(settings, failover=False))
    echo(f"gateway  {settings.base_url} ({settings.gateway}), key {'set' if settings.api_key else 'none'}")
    reason = _unreachable(settings)
    if reason is not None:
        echo(
            f"         cannot be reached: {reason}; start the local one with `heliconnect up`, or set HELICONE_BASE_URL"
        )
        return 1
    if settings.gateway is Gateway.CLOUD and settings.api_key is None:
        echo("         HELICONE_API_KEY is not set: Helicone's cloud passes calls on, but records none of them")
        return 1
    findings = list(_check_all(settings, echo))
    if not findings:
        echo("no adapter is installed: pip install 'heliconnect[all]', or the extra of your framework")
    return 0 if findings and not any(finding.problems for finding in findings) else 1


def _check_all(settings: Settings, echo: Echo) -> Iterator[Finding]:
    for probe in PROBES:
        absent = [name for name in probe.needs if find_spec(name) is None]
        if absent:
            echo(f"{probe.adapter:<22} not installed ({', '.join(absent)})")
            continue
        finding = _check(probe, settings)
        told = "; ".join(finding.problems) or "user, session, path, property, tokens and cost arrived"
        echo(f"{probe.adapter:<22} {'MISSING' if finding.problems else 'ok':<8} {told}")
        yield finding


def _check(probe: Probe, settings: Settings) -> Finding:
    path = f"/{probe.adapter.replace(' ', '-')}"
    context = hc.context(user_id=_USER, properties={"tier": _TIER})
    try:
        with context, hc.session("heliconnect verify") as session, hc.step(path):
            request_id = probe.call()
            request_id = request_id or last_request_id()
    except Exception as error:  # noqa: BLE001 - whatever an SDK raises is the finding
        return Finding(probe.adapter, None, (f"the call failed: {type(error).__name__}: {str(error)[:300]}",))
    if request_id is None:
        return Finding(probe.adapter, None, ("the call was not routed: no request id was given to it",))
    record = _read_back(request_id, settings)
    if record is None:
        return Finding(probe.adapter, request_id, (f"no record of {request_id} after {_READ_BACK_S:.0f} s",))
    return Finding(probe.adapter, request_id, tuple(_problems(record, session.id, path)))


def _problems(record: dict[str, Any], session_id: str, path: str) -> Iterator[str]:
    properties = record.get("request_properties") or record.get("properties") or {}
    expected = {
        "user": (record.get("request_user_id"), _USER),
        "session": (properties.get("Helicone-Session-Id"), session_id),
        "property": (properties.get("tier"), _TIER),
    }
    for name, (got, wanted) in expected.items():
        if got != wanted:
            yield f"{name}: expected {wanted!r}, got {got!r}"
    got_path = str(properties.get("Helicone-Session-Path"))
    if not got_path.startswith(path):
        yield f"session path: expected {path!r} or below, got {got_path!r}"
    if not record.get("prompt_tokens") or not record.get("completion_tokens"):
        yield "tokens are unknown"
    if not (record.get("costUSD") or record.get("cost")):
        yield "the cost is unknown"


def _read_back(request_id: str, settings: Settings) -> dict[str, Any] | None:
    deadline = time.monotonic() + _READ_BACK_S
    while time.monotonic() < deadline:
        request = urllib.request.Request(f"{api_url(settings)}/v1/request/{request_id}")  # noqa: S310 - an http(s) URL by Settings
        if settings.api_key is not None:
            request.add_header("Authorization", f"Bearer {settings.api_key}")
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - as above
                data = json.load(answer).get("data")
        except urllib.error.HTTPError as error:
            if error.code not in {404, 429, 500}:
                raise HeliconnectError(f"the gateway's API answered {error.code} to reading a record back") from error
            data = None
        except (OSError, ValueError):
            data = None
        if isinstance(data, dict):
            return data
        time.sleep(0.3)
    return None


def _unreachable(settings: Settings) -> str | None:
    try:
        with urllib.request.urlopen(f"{api_url(settings)}/healthcheck", timeout=5):  # noqa: S310 - an http(s) URL by Settings
            return None
    except urllib.error.HTTPError:
        return None  # it answered
    except OSError as error:
        return str(getattr(error, "reason", error))
