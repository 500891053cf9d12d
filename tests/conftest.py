"""What tests share: scripted providers, a running server, and a process that no test leaves changed."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

import heliconnect as hc
from heliconnect import sender as sender_module
from heliconnect import settings as settings_module
from heliconnect.callcontext import CallContext, use
from heliconnect.failover import Breaker
from heliconnect.server.supervisor import Server, ServerOptions, running
from heliconnect.testing import Provider, Reply
from heliconnect.wire import attempt
from heliconnect.wire.switch import Mode, switch
from tests.plane import PlaneProcess, a_plane

# Set before any SDK is imported: no test asks the network for a price list or sends a trace.
os.environ.update(HELICONNECT_SPOOL_DIR=tempfile.mkdtemp(prefix="heliconnect-tests-"))
os.environ.update(LITELLM_LOCAL_MODEL_COST_MAP="True", LANGSMITH_TRACING="false", DO_NOT_TRACK="1")
for _name in [name for name in os.environ if name.startswith(("HELICONE_", "OPENAI_", "ANTHROPIC_"))]:
    del os.environ[_name]

GATEWAY_MARK = ("helicone-id", "00000000-0000-4000-8000-000000000000")


@pytest.fixture(autouse=True)
def clean_process() -> Iterator[None]:
    """Each test begins without context, settings, routing or a breaker's memory, and leaves none."""
    switch.mode, switch.breaker = Mode.OFF, Breaker()
    settings_module._current = None
    tried = attempt._tried.set(None)
    with use(CallContext()):
        yield
    attempt._tried.reset(tried)
    hc.uninstall()
    sender_module.discard()
    switch.breaker = Breaker()
    settings_module._current = None


@pytest.fixture(scope="session")
def _provider() -> Iterator[Provider]:
    with Provider() as provider:
        yield provider


@pytest.fixture
def provider(_provider: Provider) -> Provider:
    """A scripted provider that nothing has reached yet."""
    _provider.clear()
    return _provider


@pytest.fixture(scope="session")
def _marked() -> Iterator[Provider]:
    with Provider() as provider:
        yield provider


@pytest.fixture
def gateway(_marked: Provider) -> Provider:
    """A server that answers as a gateway would, and shows what arrived: the scripted provider, its answers marked."""
    _marked.clear()
    _marked.always(Reply(headers=(GATEWAY_MARK,)))
    return _marked


@dataclass(frozen=True, slots=True)
class Running:
    """A whole server, the provider behind it, and reading its records back."""

    server: Server
    provider: Provider

    @property
    def url(self) -> str:
        return self.server.url

    def records(self, user: str, count: int, timeout_s: float = 8.0) -> list[dict[str, Any]]:
        """The records of a user, oldest first, as soon as there are `count`."""
        query = {"filter": {"request_response_rmt": {"user_id": {"equals": user}}}, "limit": 1000}
        query["sort"] = {"created_at": "asc"}
        deadline = time.monotonic() + timeout_s
        while True:
            answer = httpx.post(f"{self.url}/v1/request/query-clickhouse", json=query)
            answer.raise_for_status()
            found: list[dict[str, Any]] = answer.json()["data"]
            if len(found) >= count or time.monotonic() > deadline:
                assert len(found) == count, [record["request_path"] for record in found]
                return found
            time.sleep(0.05)


@pytest.fixture(scope="session")
def _running(tmp_path_factory: pytest.TempPathFactory, _provider: Provider) -> Iterator[Running]:
    names = ("openai", "anthropic", "google", "groq", "mistral")
    options = ServerOptions(
        data_dir=tmp_path_factory.mktemp("data"), port=0, upstreams=dict.fromkeys(names, _provider.url)
    )
    with running(options) as server:
        yield Running(server, _provider)


@pytest.fixture
def live(_running: Running, provider: Provider) -> Running:
    """A running server in front of the scripted provider."""
    return _running


@pytest.fixture
def plane(tmp_path: Path, provider: Provider) -> Iterator[PlaneProcess]:
    """A data plane in front of the scripted provider."""
    upstreams = {"openai": provider.url, "google": provider.url}
    with a_plane(tmp_path, upstreams=upstreams, allow_targets=["127.0.0.1"]) as made:
        yield made


@pytest.fixture
def wait_until() -> Callable[[Callable[[], object]], None]:
    """Wait for a condition, five seconds at most."""

    def wait(condition: Callable[[], object], timeout_s: float = 5.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, "the condition did not come about in time"
            time.sleep(0.01)

    return wait


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's root folder."""
    return Path(__file__).parents[1]


@pytest.hookimpl(optionalhook=True)
def pytest_recording_configure(config: pytest.Config, vcr: Any) -> None:
    """Cassettes match on what heliconnect sends as well."""

    def same_helicone_headers(one: Any, other: Any) -> None:
        found, expected = (
            {name.lower(): value for name, value in request.headers.items() if name.lower().startswith("helicone-")}
            for request in (one, other)
        )
        assert found == expected

    vcr.register_matcher("helicone", same_helicone_headers)
