"""Context where Python does not take it by itself: threads, executors, queues, processes, HTTP hops.

Context variables follow `await`, tasks and `asyncio.to_thread`. They do not follow `threading.Thread`, `Timer`,
`ThreadPoolExecutor.submit` and `loop.run_in_executor`: there `carry(fn)`, `Executor`, or `install(threads=True)` take
the call context along, and nothing else. To another process it goes as a signed token, `dump()` and `load()`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import thread as pool_threads
from dataclasses import fields
from functools import update_wrapper
from inspect import iscoroutinefunction
from typing import Any, ParamSpec, TypeVar, cast

from heliconnect.callcontext import CallContext, Captured, Scope, capture, current, use
from heliconnect.errors import SettingsError
from heliconnect.protocol import header_text
from heliconnect.wrapping import unwrap, wrap

__all__ = [
    "CONTEXT_HEADER",
    "Executor",
    "carries_threads",
    "carry",
    "dump",
    "load",
    "pack",
    "patch_threads",
    "read_token",
    "refused_tokens",
    "unpack",
    "unpatch_threads",
]

CONTEXT_HEADER = "X-Heliconnect-Context"
"""The request header that takes a token of `dump()` from one service to the next."""

_log = logging.getLogger("heliconnect")
_VERSION = "1"
_MAX_TOKEN = 8_000
_FIELDS = frozenset(f.name for f in fields(CallContext))
Params = ParamSpec("Params")
ResultT = TypeVar("ResultT")


# Threads


def carry(fn: Callable[Params, ResultT]) -> Callable[Params, ResultT]:
    """`fn` in the call context of this moment, wherever and whenever it is called: `Thread(target=carry(work))`.

    Takes functions, methods, coroutine functions and anything else callable; results and errors are theirs.
    Only the call context goes along, no other context variable.
    """
    captured = capture()
    if iscoroutinefunction(fn):

        async def carried_coroutine(*args: Params.args, **kwargs: Params.kwargs) -> Any:
            with captured.scope():
                return await fn(*args, **kwargs)

        return cast("Callable[Params, ResultT]", update_wrapper(carried_coroutine, fn))

    def carried(*args: Params.args, **kwargs: Params.kwargs) -> ResultT:
        with captured.scope():
            return fn(*args, **kwargs)

    return update_wrapper(carried, fn)


class Executor(ThreadPoolExecutor):
    """A `ThreadPoolExecutor` whose tasks run in the call context they were submitted in; `map` too."""

    def submit(self, fn: Callable[..., ResultT], /, *args: Any, **kwargs: Any) -> Future[ResultT]:
        """As in the base class."""
        return super().submit(carry(fn), *args, **kwargs)


def patch_threads() -> None:
    """Let every thread, timer and thread pool of the process carry the call context. Does nothing the second time."""
    _threads.is_on = True
    wrap(threading.Thread, "start", _carrying_start)
    wrap(ThreadPoolExecutor, "submit", _carrying_submit)


def carries_threads() -> bool:
    """Whether new threads carry the call context by themselves."""
    return _threads.is_on


def unpatch_threads() -> None:
    """Undo `patch_threads`; where somebody else has wrapped a method since, ours stays below it and does nothing."""
    _threads.is_on = False
    unwrap(threading.Thread, "start")
    unwrap(ThreadPoolExecutor, "submit")


class _Switch:
    is_on = False


_threads = _Switch()


def _carrying_start(original: Any) -> Any:
    def start(self: threading.Thread) -> None:
        captured = capture()
        # A pool's thread serves many callers: there each task brings its own context.
        is_pools = getattr(self, "_target", None) is pool_threads._worker
        if not _threads.is_on or captured.is_empty or is_pools:
            original(self)
            return
        _run_in(self, captured)
        try:
            original(self)
        except BaseException:
            self.__dict__.pop("run", None)
            raise

    return start


def _run_in(thread: threading.Thread, captured: Captured) -> None:
    run = thread.run

    def carried() -> None:
        thread.__dict__.pop("run", None)
        with captured.scope():
            run()

    thread.run = carried  # type: ignore[method-assign]  # for this start only


def _carrying_submit(original: Any) -> Any:
    def submit(self: ThreadPoolExecutor, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
        return original(self, carry(fn) if _threads.is_on else fn, *args, **kwargs)

    return submit


# Queues, processes, services


def pack(context: CallContext | None = None) -> dict[str, Any]:
    """A context (default: the current one) as JSON: fields that are not said are left out.

    Values that JSON does not know become the text they would have in a header, or are left out.
    """
    here = current() if context is None else context
    packed: dict[str, Any] = {name: _plain(getattr(here, name)) for name in _FIELDS - {"properties"}}
    properties = {str(name): _plain(value) for name, value in here.properties.items()}
    if properties:
        packed["properties"] = properties
    return {name: value for name, value in packed.items() if value is not None}


def _plain(value: object) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return header_text(value)


def unpack(packed: object) -> CallContext:
    """The context that `pack` made; what is not one gives an empty context."""
    if not isinstance(packed, Mapping):
        return CallContext()
    known = {name: value for name, value in packed.items() if name in _FIELDS}
    properties = known.get("properties")
    known["properties"] = dict(properties) if isinstance(properties, Mapping) else {}
    return CallContext(**known)


def dump(ttl_s: float = 300.0, *, secret: str | None = None) -> str:
    """The current context as a signed token of ASCII text, for a header, a message or an environment variable.

    ttl_s is how long it is believed, in seconds. secret signs it, by default the environment's HELICONNECT_SECRET; who
    loads it needs the same. The token can be read by anybody who sees it: it is signed, not encrypted.

    Raises SettingsError when there is no secret.
    """
    key = _secret(secret)
    if key is None:
        raise SettingsError("dump() needs a secret to sign with: set HELICONNECT_SECRET, or give secret=")
    body = json.dumps({"e": int(time.time() + ttl_s), "c": pack()}, separators=(",", ":"), ensure_ascii=False)
    payload = _encode(body.encode("utf-8", "replace"))
    return f"{_VERSION}.{payload}.{_encode(_signature(key, payload))}"


def load(token: str | bytes | None, *, secret: str | None = None) -> Scope[CallContext]:
    """Put the context of a token in force: `with load(token): ...`.

    A token that was tampered with, has expired or is none leaves the current context in force; it is counted, and said
    once of each kind. Never raises.
    """
    found = read_token(token, secret=secret)
    return use(current() if found is None else found)


def read_token(token: str | bytes | None, *, secret: str | None = None) -> CallContext | None:
    """The context of a token; None for one that is not believed, which is counted, or for none."""
    if not token:
        return None
    text = token.decode("latin-1") if isinstance(token, bytes) else token
    kind, context = _read(text, _secret(secret))
    if kind is not None:
        with _refused_lock:
            _refused[kind] += 1
            is_first = _refused[kind] == 1
        if is_first:
            _log.warning("a context token was not believed (%s); the call goes on without it", kind)
    return context


def refused_tokens() -> dict[str, int]:
    """How many tokens were not believed so far, by reason: "no secret", "malformed", "tampered", "expired"."""
    with _refused_lock:
        return dict(_refused)


_refused: Counter[str] = Counter()
_refused_lock = threading.Lock()


def _read(token: str, key: bytes | None) -> tuple[str | None, CallContext | None]:
    if key is None:
        return "no secret", None
    version, _, rest = token.partition(".")
    payload, _, signature = rest.partition(".")
    if len(token) > _MAX_TOKEN or version != _VERSION or not signature:
        return "malformed", None
    try:
        if not hmac.compare_digest(_decode(signature), _signature(key, payload)):
            return "tampered", None
        body = json.loads(_decode(payload))
        expires, packed = float(body["e"]), body["c"]
    except (ValueError, KeyError, TypeError, binascii.Error):
        return "malformed", None
    return ("expired", None) if time.time() > expires else (None, unpack(packed))


def _secret(secret: str | None) -> bytes | None:
    text = secret or os.environ.get("HELICONNECT_SECRET")
    return text.encode() if text else None


def _signature(key: bytes, payload: str) -> bytes:
    return hmac.new(key, f"{_VERSION}.{payload}".encode("utf-8", "replace"), hashlib.sha256).digest()


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
