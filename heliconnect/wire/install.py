"""Switching routing on: for one client, for the process, or for the calls that an adapter speaks for.

`connect` wraps single clients and nothing else. For all others the HTTP libraries are wrapped when they are imported,
before or after `install`; none is imported for it. `uninstall` unwraps them, but where another tool has wrapped them
since, so that the wrapper stays and does nothing.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any, TypeVar, Unpack

from heliconnect.carrying import patch_threads, unpatch_threads
from heliconnect.errors import MissingExtraError, UnsupportedClientError
from heliconnect.settings import Settings, SettingsChanges, configure, get_settings
from heliconnect.settings import merged as merged_settings
from heliconnect.wire.switch import Mode, switch
from heliconnect.wrapping import is_wrapped

__all__ = ["activate_for_runs", "connect", "install", "library_of", "lost_wrappers", "uninstall"]

# The modules that are wrapped once they are loaded, and the shells that do it.
_LIBRARIES = {
    **{name: name for name in ("httpx", "httpx2", "aiohttp", "requests")},
    "lm15.transports": "lm15",
    "dspy._vendor.lm15.transports": "lm15",
}
_SUPPORTED = (
    "OpenAI, AsyncOpenAI, Anthropic, AsyncAnthropic and other SDK clients built on httpx or httpx2, google-genai's "
    "Client, clients and sessions of httpx, httpx2, aiohttp and requests, transports of lm15, LangChain chat models "
    "and embeddings"
)
# Where SDKs and LangChain models keep the clients inside them.
_INNER = (
    *("_client", "_async_client", "client", "async_client", "root_client", "root_async_client", "_api_client"),
    *("_httpx_client", "_async_httpx_client", "_aiohttp_session", "sdk_configuration", "http_client"),
)
_MAX_DEPTH = 5
ClientT = TypeVar("ClientT")


def install(settings: Settings | None = None, *, threads: bool = False, **changes: Unpack[SettingsChanges]) -> None:
    """Route every LLM call of the process, whatever client or framework makes it.

    settings default to those of the environment; `changes` are applied to them. With threads every new thread, timer
    and task of a thread pool takes the call context along. Calling it again only changes the settings.

    Raises SettingsError for a value that cannot be used.
    """
    configure(settings, **changes)
    _patch()
    switch.mode = Mode.ALL
    if threads:
        patch_threads()


def uninstall() -> None:
    """Undo `install` and what adapters switched on; clients given to `connect` stay connected."""
    switch.mode = Mode.OFF
    unpatch_threads()
    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, _Finder)]
    for shell in _shells():
        shell.unpatch()


def activate_for_runs() -> None:
    """Route the calls that an adapter speaks for: made under its runs, or carrying a Helicone header."""
    _patch()
    switch.mode = max(switch.mode, Mode.RUNS)


def connect(client: ClientT, settings: Settings | None = None, **changes: Unpack[SettingsChanges]) -> ClientT:
    """Route the calls of one client; gives back the same object.

    Takes SDK clients (OpenAI, Anthropic, google-genai, ...), clients and sessions of httpx, httpx2, aiohttp and
    requests, LangChain chat models and embeddings. settings and `changes` hold for this client only; without them it
    follows the process's settings.

    Raises UnsupportedClientError for anything else, SettingsError for a value that cannot be used.
    """
    own = merged_settings(settings, changes) if settings is not None or changes else None
    if own is None:
        get_settings()
    found = list(_clients_in(client))
    if not found:
        raise UnsupportedClientError(
            f"connect() takes {_SUPPORTED}; got {type(client).__module__}.{type(client).__name__}"
        )
    for one in found:
        _connect(one, own)
    return client


def _connect(http_client: Any, settings: Settings | None) -> None:
    for shell in _shells():
        if shell.is_client(http_client):
            shell.patch_client(http_client)
            switch.connect(http_client, settings)


def library_of(client: object) -> str:
    """The HTTP library that a client belongs to ("httpx2"), be it by its class's base; "" for none."""
    for cls in type(client).__mro__:
        for name, shell in _LIBRARIES.items():
            if cls.__module__ == name or cls.__module__.startswith(f"{name}."):
                return shell
    return ""


def _clients_in(value: Any, depth: int = 0, seen: set[int] | None = None) -> Iterator[Any]:
    """The HTTP clients within `value`, itself included."""
    seen = set() if seen is None else seen
    if value is None or id(value) in seen or depth > _MAX_DEPTH or isinstance(value, str | bytes | int | float):
        return
    seen.add(id(value))
    if _is_http_client(value):
        yield value
        return
    _watch_genai(value)
    for name in _INNER:
        try:
            inner = getattr(value, name, None)
            if name == "_client" and isinstance(getattr(inner, "__dict__", None), dict) and _is_http_client(inner):
                inner = _own_client(value, inner)
        except Exception:  # noqa: BLE001, S112 - an SDK's lazy attribute may raise anything, a missing key say
            continue
        yield from _clients_in(inner, depth + 1, seen)


def _is_http_client(value: Any) -> bool:
    return any(shell.is_client(value) for shell in _shells())


def _own_client(sdk: Any, client: Any) -> Any:
    """A twin of an SDK's HTTP client for this SDK alone, on the same connections.

    Several SDK clients may share one HTTP client, as LangChain's models do; connecting one must not route the others.
    The twin keeps the shared client alive, and leaves the closing at its end to it.
    """
    if switch.is_connected(client):
        return client
    cls: Any = type(client)
    if hasattr(cls, "__del__"):
        cls = _undying(cls)
    twin = cls.__new__(cls)
    twin.__dict__.update(client.__dict__)
    twin._heliconnect_shared = client
    sdk._client = twin
    return twin


@cache
def _undying(cls: type) -> type:
    """A subclass of the same name that closes nothing when it is freed."""
    names = {"__del__": lambda self: None, "__module__": cls.__module__, "__qualname__": cls.__qualname__}
    return type(cls.__name__, (cls,), names)


def _watch_genai(value: Any) -> None:
    """google-genai makes its aiohttp session at the first asynchronous call: connect it then."""
    make = getattr(value, "_get_aiohttp_session", None)
    if make is None or getattr(make, "_heliconnect", False):
        return

    async def _get_aiohttp_session(*args: Any, **kwargs: Any) -> Any:
        session = await make(*args, **kwargs)
        _connect(session, switch.settings_of(getattr(value, "_httpx_client", None)))
        return session

    _get_aiohttp_session._heliconnect = True  # type: ignore[attr-defined]  # marks the wrapper
    value._get_aiohttp_session = _get_aiohttp_session


def _shells() -> Iterator[Any]:
    """The shells of the libraries that are imported; one that is too old for its shell is told of, once."""
    for shell in {shell: None for name, shell in _LIBRARIES.items() if name in sys.modules}:
        try:
            yield import_module(f"heliconnect.wire.{shell}")
        except MissingExtraError as error:
            switch.report(error)


def lost_wrappers() -> list[str]:
    """What is wrapped no more although it should be, as "httpx.Client": another tool put back what was there before."""
    if switch.mode is Mode.OFF:
        return []
    points = [point for shell in _shells() for point in shell.points()]
    return [f"{cls.__module__.partition('.')[0]}.{cls.__name__}" for cls, name in points if not is_wrapped(cls, name)]


def _patch() -> None:
    """Wrap the libraries that are imported, and see to it that the others are when they come."""
    for shell in _shells():
        shell.patch()
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(MetaPathFinder):
    """Finds what the others find; a library of ours is wrapped as soon as it is loaded."""

    def __init__(self) -> None:
        self._searching = threading.local()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in _LIBRARIES or getattr(self._searching, "is_on", False):
            return None
        self._searching.is_on = True
        try:
            spec = find_spec(fullname)
        finally:
            self._searching.is_on = False
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(Loader):
    """Loads as another loader does, then wraps the library."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        try:
            import_module(f"heliconnect.wire.{_LIBRARIES[module.__name__]}").patch()
        except Exception as error:  # noqa: BLE001 - an HTTP library must load, whatever we think of it
            switch.report(error)
