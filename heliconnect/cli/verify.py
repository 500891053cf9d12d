"""`heliconnect verify` and `doctor`: one call through each installed adapter, read back by id, and what is wrong.

The calls never reach a provider: they carry Helicone's `__helicone-mock-response` header, which makes the gateway
answer by itself and record the call as any other. So no provider key is needed and nothing is billed.
Source: worker/src/lib/HeliconeProxyRequest of Helicone/helicone.
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import Any

import heliconnect as hc
from heliconnect.cli.probes import PROBES, Probe
from heliconnect.errors import HeliconnectError
from heliconnect.routing import api_url
from heliconnect.settings import Settings, configure
from heliconnect.wire.install import library_of
from heliconnect.wire.switch import switch

__all__ = ["Arrived", "Checked", "check_adapters"]

_USER = "heliconnect-verify"
_TIER = "größe"  # not ASCII on purpose: it has to arrive as it is
_READ_BACK_S = 15.0


@dataclass(frozen=True, slots=True)
class Arrived:
    """One value of a record, and which layer set it: "context", "middleware", "run tree", the HTTP library, ..."""

    value: object
    layer: str


@dataclass(frozen=True, slots=True)
class Checked:
    """What became of one adapter's call: what arrived, what is wrong with it (empty: nothing).

    absent are the packages for want of which no call was made.
    """

    adapter: str
    request_id: str | None = None
    problems: tuple[str, ...] = ()
    arrived: dict[str, Arrived] = field(default_factory=dict)
    absent: tuple[str, ...] = ()

    @property
    def state(self) -> str:
        """ "ok", "missing" or "absent"."""
        if self.absent:
            return "absent"
        return "missing" if self.problems else "ok"


def check_adapters(settings: Settings) -> Iterator[Checked]:
    """Make one call through each adapter, to the gateway of `settings`, whatever is switched off otherwise."""
    configure(replace(settings, failover=False, disabled=False))
    for probe in PROBES:
        absent = tuple(name for name in probe.needs if not _is_there(name))
        yield Checked(probe.adapter, absent=absent) if absent else _check(probe, settings)


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _check(probe: Probe, settings: Settings) -> Checked:
    path = f"/{probe.adapter.replace(' ', '-')}"
    context = hc.context(user_id=_USER, properties={"tier": _TIER})
    calls: list[tuple[str, str]] = []
    switch.watcher = lambda client, request_id: calls.append((library_of(client), request_id))
    try:
        with context, hc.session("heliconnect verify") as session, hc.step(path):
            probe.call()
    except Exception as error:  # noqa: BLE001 - whatever an SDK raises is the finding
        return Checked(probe.adapter, None, (f"the call failed: {type(error).__name__}: {str(error)[:300]}",))
    finally:
        switch.watcher = None
    if not calls:
        return Checked(probe.adapter, None, ("the call was not routed: no request id was given to it",))
    library, request_id = calls[-1]
    record = _read_back(request_id, settings)
    if record is None:
        return Checked(probe.adapter, request_id, (f"no record of {request_id} after {_READ_BACK_S:.0f} s",))
    arrived = _arrived(record, probe.layer, path, library)
    return Checked(probe.adapter, request_id, tuple(_problems(arrived, session.id, path)), arrived)


def _arrived(record: dict[str, Any], layer: str, path: str, library: str) -> dict[str, Arrived]:
    properties = record.get("request_properties") or record.get("properties") or {}
    got_path = properties.get("Helicone-Session-Path")
    is_longer = isinstance(got_path, str) and got_path.startswith(f"{path}/")
    return {
        "user": Arrived(record.get("request_user_id"), layer),
        "session": Arrived(properties.get("Helicone-Session-Id"), layer),
        "path": Arrived(got_path, f"{layer}, then run tree" if is_longer else layer),
        "property": Arrived(properties.get("tier"), layer),
        "request id": Arrived(record.get("request_id"), library),
        "prompt tokens": Arrived(record.get("prompt_tokens"), "gateway"),
        "completion tokens": Arrived(record.get("completion_tokens"), "gateway"),
        "cost": Arrived(record.get("costUSD") or record.get("cost"), "gateway"),
    }


def _problems(arrived: dict[str, Arrived], session_id: str, path: str) -> Iterator[str]:
    for name, wanted in (("user", _USER), ("session", session_id), ("property", _TIER)):
        if arrived[name].value != wanted:
            yield f"{name}: expected {wanted!r}, got {arrived[name].value!r}"
    if not str(arrived["path"].value).startswith(path):
        yield f"session path: expected {path!r} or below, got {str(arrived['path'].value)!r}"
    if not arrived["prompt tokens"].value or not arrived["completion tokens"].value:
        yield "tokens are unknown"
    if not arrived["cost"].value:
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
