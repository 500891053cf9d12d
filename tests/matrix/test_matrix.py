"""Every SDK, every way: routed with the right headers by install(), and giving just what it gives without us.

A case whose package is absent is skipped: `scripts/matrix` runs all of them, in environments of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pytest

import heliconnect as hc
from heliconnect.settings import Settings
from heliconnect.testing import Provider, Reply
from heliconnect.wire.install import library_of
from heliconnect.wire.switch import switch
from tests.matrix.cases import CASES, Case

# The SDKs' own: closed loops, clients that nobody closes, what they deprecate.
pytestmark = pytest.mark.filterwarnings("ignore")

Record = Callable[[str, object], None]


@pytest.fixture
def servers() -> Iterator[tuple[Provider, Provider]]:
    """A provider, and a gateway that answers as it does."""
    with Provider() as provider, Provider(as_gateway=True) as gateway:
        yield provider, gateway
    hc.uninstall()


@pytest.fixture
def libraries(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The HTTP libraries whose requests were routed, told by the class of the client that sent them."""
    seen: set[str] = set()
    monkeypatch.setattr(switch, "watcher", lambda client, _: seen.add(library_of(client)))
    return seen


def shape(value: Any, depth: int = 0) -> Any:
    """The types of a result, as deep as they are told apart."""
    if isinstance(value, list | tuple):
        return [shape(one, depth + 1) for one in value]
    if isinstance(value, type):
        return value
    fields = getattr(value, "__dict__", None)
    if fields and depth < 6:
        return type(value), {name: shape(one, depth + 1) for name, one in sorted(fields.items()) if name[:1] != "_"}
    return type(value)


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CASES])
def test_a_call_is_routed_and_its_result_is_the_same(
    case: Case, servers: tuple[Provider, Provider], libraries: set[str], record_property: Record
) -> None:
    """User, session, path and property arrive, nothing reaches the provider beside the gateway, types are identical."""
    try:
        record_property("package", f"{case.package} {version(case.package)}")
    except PackageNotFoundError:
        pytest.skip(f"not installed: {case.package}")
    provider, gateway = servers
    if case.body is not None:
        kinds = (("content-type", "application/x-ndjson"),)
        provider.always(Reply(body=case.body, headers=kinds))
        gateway.always(Reply(body=case.body, headers=kinds))
    plain = case.call(provider.url)
    calls = len(provider.requests)
    assert calls > 0
    hc.install(Settings(base_url=gateway.url, providers={provider.url: case.provider}, failover=False))
    with hc.context(user_id="Zoë", properties={"tier": "pro"}), hc.session("trip", id="s-1"), hc.step("search"):
        routed = case.call(provider.url)
    assert len(provider.requests) == calls, "a call went past the gateway"
    assert len(gateway.requests) == calls
    record_property("calls", calls)
    record_property("libraries", ", ".join(sorted(libraries)))
    for got in gateway.requests:
        assert got.headers["helicone-user-id"] == "Zoë"
        assert got.headers["helicone-session-id"] == "s-1"
        assert got.headers["helicone-session-path"] == "/search"
        assert got.headers["helicone-property-tier"] == "pro"
        assert len(got.headers["helicone-request-id"]) == 36
    assert len({got.headers["helicone-request-id"] for got in gateway.requests}) == calls
    assert shape(plain) == shape(routed)
