"""Who and what a call is for: an immutable `CallContext` in a context variable, and the scopes that set it.

Two context variables. The *ambient* context belongs to the surrounding code: a web request, a `with context(...)`
block. The *run* belongs to one run of a framework (a LangChain chat model, say): a mutable holder that the
framework's callback sets and takes out of force again, because callbacks cannot reset a context variable in every mode.
`current()` is the ambient context overlaid by the nearest run in force: what a call made now would carry.

Values are kept as they were given; they become header text in one place, `heliconnect.protocol`.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Mapping
from contextvars import ContextVar, Token
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from types import MappingProxyType, TracebackType
from typing import Generic, TypedDict, TypeVar, Unpack

__all__ = [
    "CallContext",
    "Captured",
    "Run",
    "Scope",
    "Session",
    "active_run",
    "add_teller",
    "ambient",
    "capture",
    "context",
    "current",
    "enter_run",
    "identify",
    "in_run",
    "join_path",
    "last_request_id",
    "note_request",
    "serve",
    "session",
    "step",
    "told_context",
    "use",
]

_log = logging.getLogger("heliconnect")
_EMPTY: Mapping[str, object] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class CallContext:
    """What an LLM call carries besides its own content. Every field is optional; None means not said.

    user_id, session_id, session_name, session_path and the property values may be of any type: they are turned into
    text when a call is made. session_path is a path such as "/search/rank". The rest are Helicone's per-call options:
    cache (store and reuse the answer), cache_seed, cache_bucket_max_size (1-20 stored variants), retries (attempts in
    total, made by the gateway), rate_limit ("1000;w=3600;s=user"), omit_request and omit_response (do not store that
    body), prompt_id, model_override (the model name to price by).
    """

    user_id: object = None
    session_id: object = None
    session_name: object = None
    session_path: object = None
    properties: Mapping[str, object] = field(default_factory=lambda: _EMPTY)
    cache: bool | None = None
    cache_seed: object = None
    cache_bucket_max_size: int | None = None
    retries: int | None = None
    rate_limit: str | None = None
    omit_request: bool | None = None
    omit_response: bool | None = None
    prompt_id: object = None
    model_override: object = None

    def overlaid(self, other: CallContext) -> CallContext:
        """This context with all that `other` says on top; properties are merged name by name."""
        if other is _NOTHING:
            return self
        changes = {name: value for name in _SCALARS if (value := getattr(other, name)) is not None}
        if other.properties:
            changes["properties"] = MappingProxyType({**self.properties, **other.properties})
        return replace(self, **changes)


_NOTHING = CallContext()
_SCALARS = tuple(f.name for f in fields(CallContext) if f.name != "properties")


class ContextFields(TypedDict, total=False):
    """The keywords of `context`, each a field of `CallContext`."""

    user_id: object
    session_id: object
    session_name: object
    session_path: object
    properties: Mapping[str, object]
    cache: bool | None
    cache_seed: object
    cache_bucket_max_size: int | None
    retries: int | None
    rate_limit: str | None
    omit_request: bool | None
    omit_response: bool | None
    prompt_id: object
    model_override: object


class Run:
    """The overlay of one framework run: in force from its start until `active` is set to False.

    request_ids collects the `Helicone-Request-Id` of every call made under it, in order. Mutable on purpose: it is
    reached from tasks and threads that hold copies of the context, where a context variable could not be reset.
    """

    __slots__ = ("__weakref__", "active", "context", "parent", "request_ids")

    def __init__(self, context: CallContext, parent: Run | None = None) -> None:
        self.context = context
        self.parent = parent
        self.active = True
        self.request_ids: list[str] = []


class _Served:
    """The context of one web request: threads and tasks that serve it see the same, in their copies of the variable."""

    __slots__ = ("context",)

    def __init__(self, context: CallContext) -> None:
        self.context = context


_ambient: ContextVar[CallContext | _Served] = ContextVar("heliconnect_ambient", default=_NOTHING)
_run: ContextVar[Run | None] = ContextVar("heliconnect_run", default=None)
_last_request_id: ContextVar[str | None] = ContextVar("heliconnect_last_request_id", default=None)


def ambient() -> CallContext:
    """The context of the surrounding code alone, without any framework run."""
    here = _ambient.get()
    return here.context if isinstance(here, _Served) else here


def current() -> CallContext:
    """The context a call made now would carry: the surrounding one, overlaid by the framework run in force."""
    told = told_context() if active_run() is None else None
    return _here() if told is None else ambient().overlaid(told)


def _here() -> CallContext:
    """What scopes build on: the same, but for what adapters tell, which is told anew at each call."""
    run = active_run()
    return ambient() if run is None else ambient().overlaid(run.context)


_tellers: list[Callable[[], CallContext | None]] = []


def add_teller(teller: Callable[[], CallContext | None]) -> None:
    """Let an adapter tell the context of calls for which its framework has no callback; asked where no run is in force.

    It gives None for calls that are none of its business, and never raises. Added once, it stays.
    """
    if teller not in _tellers:
        _tellers.append(teller)


def told_context() -> CallContext | None:
    """What the adapters tell of a call made now; None when none of them knows it."""
    for teller in _tellers:
        found = teller()
        if found is not None:
            return found
    return None


def in_run(surroundings: CallContext, context: CallContext) -> Scope[Run]:
    """A `with` block that is a framework run of its own: `surroundings` within it, `context` over them.

    A run further inside takes the place of `context`, not of the surroundings.
    """
    run = Run(context, active_run())
    return Scope(surroundings, run, run)


def active_run() -> Run | None:
    """The nearest framework run that is still in force, or None."""
    run = _run.get()
    while run is not None and not run.active:
        run = run.parent
    return run


def enter_run(context: CallContext) -> Run:
    """Put a run in force for this context (task or thread); it ends when its `active` is set to False."""
    run = Run(context, active_run())
    _run.set(run)
    return run


def note_request(request_id: str) -> None:
    """Remember the id of a call that is about to leave, for `last_request_id()` and for the run in force."""
    _last_request_id.set(request_id)
    run = active_run()
    if run is not None:
        run.request_ids.append(request_id)


def last_request_id() -> str | None:
    """The `Helicone-Request-Id` of the last routed call made in this task or thread; None before the first."""
    return _last_request_id.get()


def join_path(*parts: object) -> str:
    """One session path out of parts: always a leading slash, never an empty step ("/search/rank").

    A part without a text form, None among them, is left out.
    """
    return _joined("/".join(_said(part) or "" for part in parts))


@lru_cache(maxsize=1024)
def _joined(path: str) -> str:
    return "/" + "/".join(step.strip() for step in path.split("/") if step.strip())


def _said(value: object) -> str | None:
    """`value` as text; None for None and where its own __str__ fails."""
    try:
        return None if value is None else str.__str__(str(value))
    except Exception:  # noqa: BLE001 - a value's own __str__ may raise anything; the caller's code must go on
        return None


ValueT = TypeVar("ValueT")


class Scope(Generic[ValueT]):
    """`with` block that puts a context in force and restores the one before, error or not.

    Used once, and never as a decorator. The framework run in force is set aside too: inside the block, the block's own
    words count.
    """

    __slots__ = ("_context", "_run", "_tokens", "_value")

    def __init__(self, context: CallContext | _Served, value: ValueT, run: Run | None = None) -> None:
        self._context = context
        self._value = value
        self._run = run
        self._tokens: tuple[Token[CallContext | _Served], Token[Run | None]] | None = None

    def __enter__(self) -> ValueT:
        if self._tokens is not None:
            raise RuntimeError("a heliconnect scope is entered once; make a new one for each `with`")
        self._tokens = (_ambient.set(self._context), _run.set(self._run))
        return self._value

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._tokens is None:
            return
        ambient_token, run_token = self._tokens
        try:
            _run.reset(run_token)
            _ambient.reset(ambient_token)
        except ValueError:
            # The block was left in another task (an async generator closed elsewhere): that task never had the value.
            return


def use(context: CallContext) -> Scope[CallContext]:
    """Put exactly `context` in force, whatever was before: `ctx = current()` here, `with use(ctx):` elsewhere."""
    return Scope(context, context)


def serve(context: CallContext) -> Scope[CallContext]:
    """Put `context` in force for a web request: `identify` changes it for all that serves this request."""
    return Scope(_Served(context), context)


class Captured:
    """What was in force when it was made, to be put in force elsewhere: `with captured.scope(): ...`."""

    __slots__ = ("_ambient", "_run")

    def __init__(self) -> None:
        self._ambient = _ambient.get()
        self._run = _run.get()

    @property
    def is_empty(self) -> bool:
        """Whether nothing was in force."""
        return self._ambient is _NOTHING and self._run is None

    def scope(self) -> Scope[None]:
        """A `with` block in which the captured context is in force; a new one for each use."""
        return Scope(self._ambient, None, self._run)


def capture() -> Captured:
    """What is in force now, for another thread, task or callback."""
    return Captured()


def context(**changes: Unpack[ContextFields]) -> Scope[CallContext]:
    """Add to the current context for the length of a `with` block: `with context(user_id="ada"): ...`.

    Takes the fields of `CallContext` by keyword; None leaves what was there, properties are merged (a None value
    takes a property out). The block's value is the new context.

    Raises TypeError for a keyword that is not a field.
    """
    merged = _here().overlaid(_changes("context", changes))
    return Scope(merged, merged)


def identify(**changes: Unpack[ContextFields]) -> None:
    """Add to the context for the rest of the web request, from wherever it is served: `identify(user_id=user.id)`.

    For what is known only once a request is under way, in a dependency or an endpoint, synchronous ones included: what
    they set in a context variable would be lost. Within a `with context(...)` block, and outside of web requests, it
    changes what is in force in this task or thread from here on. Takes what `context` takes.

    Raises TypeError for a keyword that is not a field.
    """
    given = _changes("identify", changes)
    here = _ambient.get()
    if isinstance(here, _Served):
        here.context = here.context.overlaid(given)
    else:
        _ambient.set(here.overlaid(given))


def _changes(function: str, changes: ContextFields) -> CallContext:
    unknown = changes.keys() - {f.name for f in fields(CallContext)}
    if unknown:
        raise TypeError(
            f"{function}() takes {', '.join(f.name for f in fields(CallContext))}, got {', '.join(sorted(unknown))}; "
            "anything else belongs into properties={...}"
        )
    if "properties" in changes:
        changes = {**changes, "properties": _frozen(changes["properties"])}
    return CallContext(**changes)


def _frozen(properties: object) -> Mapping[str, object]:
    if isinstance(properties, Mapping):
        return MappingProxyType(dict(properties))
    if properties is not None:
        _log.warning("properties must be a mapping of names to values, got %s: left out", type(properties).__name__)
    return _EMPTY


@dataclass(frozen=True, slots=True)
class Session:
    """A session under way: its id, and the name and path given."""

    id: str
    name: str
    path: str


def session(name: str, *, id: object = None, path: str = "/") -> Scope[Session]:  # noqa: A002 - the field's own word
    """Group calls as one session: `with session("trip planner") as s: ...`. Makes an id unless one is given."""
    made = Session(id=_said(id) or str(uuid.uuid4()), name=name, path=join_path(path))
    merged = replace(_here(), session_id=made.id, session_name=made.name, session_path=made.path)
    return Scope(merged, made)


def step(name: str) -> Scope[str]:
    """Extend the session's path for the length of a `with` block: `with step("search"): ...`. Gives the new path."""
    here = _here()
    path = join_path(here.session_path, name)
    return Scope(replace(here, session_path=path), path)
