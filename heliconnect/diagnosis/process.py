"""Checks of the running process: what is wrapped, which loggers are on, whether threads know the context."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from typing import Any

from heliconnect.callcontext import context, current
from heliconnect.carrying import carries_threads
from heliconnect.diagnosis.finding import Finding, Level
from heliconnect.wire.install import lost_wrappers
from heliconnect.wire.switch import Mode, switch

__all__ = ["check_libraries", "check_loggers", "check_routing", "check_threads"]

_CALLBACK_LISTS = ("callbacks", "success_callback", "failure_callback", "_async_success_callback", "input_callback")
_OURS = "HeliconeLogger"
_OTHER = "helicone"


def check_routing() -> Iterator[Finding]:
    """Nothing is routed at all, or not any more."""
    if switch.mode is Mode.OFF and not switch.has_clients:
        says = "nothing in this process is routed: neither install() nor connect() was called, no handler was made"
        yield Finding("not-routed", Level.WARNING, says, "call hc.install(), or hc.connect(client) for one client")
    for name in lost_wrappers():
        says = f"{name} is not wrapped any more: after install() a test tool or a tracer put back "
        says += "the method that it had found before"
        yield Finding("patched-late", Level.ERROR, says, "call hc.install() once more, after that tool")


def check_libraries(versions: dict[str, str], sdks: dict[str, list[str]]) -> Iterator[Finding]:
    """Both of httpx and httpx2 are here; sdks says which packages need which."""
    if not {"httpx", "httpx2"} <= versions.keys():
        return
    users = ", ".join(
        f"{name} {versions[name]} ({', '.join(sdks.get(name) or ['nothing known'])})" for name in ("httpx", "httpx2")
    )
    lost = {name.partition(".")[0] for name in lost_wrappers()} & {"httpx", "httpx2"}
    if len(lost) == 1:
        says = f"two HTTP libraries are in use, {users}, and only one of them is wrapped"
        yield Finding("mixed-httpx", Level.ERROR, says, f"call hc.install() again: {lost.pop()} was unwrapped since")
    else:
        says = f"two HTTP libraries are in use: {users}; both are routed"
        remedy = "a client of the one cannot be given to an SDK of the other as its http_client"
        yield Finding("mixed-httpx", Level.NOTE, says, remedy)


def check_loggers() -> Iterator[Finding]:
    """Two callbacks that record the same call."""
    litellm: Any = sys.modules.get("litellm")
    if litellm is None:
        return
    given = {name: getattr(litellm, name, None) for name in _CALLBACK_LISTS}
    found = [one for names in given.values() if isinstance(names, list) for one in names]
    ours = [one for one in given["callbacks"] or () if any(cls.__name__ == _OURS for cls in type(one).__mro__)]
    if len(ours) > 1:
        says = f"litellm.callbacks holds {len(ours)} of our loggers: one is enough, the others do nothing"
        yield Finding("double-logger", Level.WARNING, says, "keep one HeliconeLogger")
    if _OTHER in found and (ours or switch.mode is Mode.ALL):
        says = "LiteLLM's own callback 'helicone' is on, and its calls are routed as well: each is recorded twice"
        yield Finding("double-logger", Level.ERROR, says, "take 'helicone' out of LiteLLM's callbacks")


def check_threads() -> Iterator[Finding]:
    """Threads do not inherit the context by themselves."""
    remedy = "hand work over with hc.carry(fn) or hc.Executor, or call hc.install(threads=True)"
    if switch.bare_thread_calls and switch.carrying_calls:
        says = f"{switch.bare_thread_calls} calls left threads without user, session or property, while "
        says += f"{switch.carrying_calls} had some: their context was lost on the way into the thread"
        yield Finding("thread-context", Level.ERROR, says, remedy)
    elif not carries_threads() and not _reaches_threads():
        says = "threads that this process starts do not have the context of the code that starts them"
        yield Finding("thread-context", Level.NOTE, says, remedy)


def _reaches_threads() -> bool:
    seen: list[object] = []
    with context(user_id="diagnosis"):
        thread = threading.Thread(target=lambda: seen.append(current().user_id), daemon=True)
        thread.start()
        thread.join()
    return seen == ["diagnosis"]
