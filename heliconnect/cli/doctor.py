"""What `heliconnect verify` and `heliconnect doctor` print, as lines for people or as JSON for programs.

verify asks whether calls arrive; doctor also looks for what is set up wrongly, in an app's process if it is named one.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from heliconnect.cli.verify import Checked, check_adapters
from heliconnect.diagnosis import Finding, Level, diagnose
from heliconnect.errors import HeliconnectError, SettingsError
from heliconnect.settings import Settings, from_env

__all__ = ["load_app", "run_doctor", "run_verify"]

Echo = Callable[[str], None]
# Of a process that only runs the command, these say nothing.
_OF_APPS = frozenset({"not-routed", "thread-context"})
# With one of these no call can arrive.
_BLOCKING = frozenset({"no-gateway", "wrong-url", "bad-setting", "key-missing"})
_COLUMNS = ("user", "session", "path", "property", "request id")


def load_app(target: str) -> None:
    """Import an app's module, as `uvicorn` would: "package.module" or "package.module:app".

    Raises HeliconnectError when it cannot be imported.
    """
    sys.path.insert(0, str(Path.cwd()))
    name = target.partition(":")[0]
    try:
        import_module(name)
    except Exception as error:
        raise HeliconnectError(f"the app {name} cannot be imported: {type(error).__name__}: {error}") from error


def run_verify(settings: Settings, echo: Echo = print, *, as_json: bool = False) -> int:
    """Check every installed adapter against the gateway of `settings`; 0 when all is right."""
    found = [finding for finding in diagnose(settings) if finding.level is Level.ERROR and finding.code in _BLOCKING]
    return _report(settings, found, echo, as_json=as_json)


def run_doctor(environ: dict[str, str], echo: Echo = print, *, as_json: bool = False, has_app: bool = False) -> int:
    """All checks, then every installed adapter; 0 when nothing is wrong that loses calls or records."""
    try:
        settings = from_env(environ)
    except SettingsError as error:
        finding = Finding("bad-setting", Level.ERROR, str(error), "correct it; until then calls are not routed")
        return _report(None, [finding], echo, as_json=as_json)
    found = [finding for finding in diagnose(settings, environ=environ) if has_app or finding.code not in _OF_APPS]
    return _report(settings, found, echo, as_json=as_json)


def _report(settings: Settings | None, found: Sequence[Finding], echo: Echo, *, as_json: bool) -> int:
    say: Echo = (lambda _: None) if as_json else echo
    if settings is not None:
        say(f"gateway  {settings.base_url} ({settings.gateway}), key {'set' if settings.api_key else 'none'}")
    for finding in found:
        say(f"{finding.level:<8} {finding.code}: {finding.says}")
        say(f"         -> {finding.remedy}")
    checked: list[Checked] = []
    if settings is not None and not any(finding.code in _BLOCKING for finding in found):
        for one in check_adapters(settings):
            checked.append(one)
            _say(one, say)
        if all(one.absent for one in checked):
            say("no adapter is installed: pip install 'heliconnect[all]', or the extra of your framework")
    called = [one for one in checked if not one.absent]
    is_well = bool(called) and not any(one.problems for one in called)
    is_ok = is_well and not any(finding.level is Level.ERROR for finding in found)
    if as_json:
        echo(json.dumps(_as_json(settings, found, checked, is_ok=is_ok), indent=2, ensure_ascii=False))
    return 0 if is_ok else 1


def _say(one: Checked, say: Echo) -> None:
    if one.absent:
        say(f"{one.adapter:<14} not installed ({', '.join(one.absent)})")
        return
    told = "; ".join(one.problems) or "user, session, path, property, tokens and cost arrived"
    say(f"{one.adapter:<14} {'MISSING' if one.problems else 'ok':<8} {told}")
    if one.arrived:
        layers = ", ".join(f"{name}: {one.arrived[name].layer}" for name in _COLUMNS)
        say(f"{'':<14} {'':<8} {layers}")


def _as_json(
    settings: Settings | None, found: Iterable[Finding], checked: Iterable[Checked], *, is_ok: bool
) -> dict[str, Any]:
    gateway = None
    if settings is not None:
        gateway = {"url": settings.base_url, "kind": str(settings.gateway), "has_key": settings.api_key is not None}
    calls = []
    for one in checked:
        facts = asdict(one)
        cost = facts["arrived"].get("cost")
        if cost is not None and cost["value"] is not None:
            cost["value"] = str(cost["value"])
        calls.append({"adapter": facts.pop("adapter"), "state": one.state, **facts})
    return {"ok": is_ok, "gateway": gateway, "findings": [asdict(finding) for finding in found], "calls": calls}
