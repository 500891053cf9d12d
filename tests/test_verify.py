"""heliconnect verify: it finds what is missing, and says so."""

from __future__ import annotations

import json
from typing import Any

import pytest

from heliconnect.cli import verify
from heliconnect.cli.doctor import run_verify
from heliconnect.routing import api_url
from heliconnect.settings import Settings
from heliconnect.testing import Provider, Reply
from tests.conftest import GATEWAY_MARK

WHOLE = {
    "request_user_id": "heliconnect-verify",
    "request_properties": {"Helicone-Session-Id": "s", "Helicone-Session-Path": "/openai/x", "tier": "größe"},
    "prompt_tokens": 1,
    "completion_tokens": 1,
    "costUSD": 0.1,
}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        pytest.param({}, None, id="whole"),
        pytest.param({"request_user_id": "x"}, "user: expected 'heliconnect-verify', got 'x'", id="user"),
        pytest.param({"request_properties": {}}, "session: expected 's', got None", id="session"),
        pytest.param({"prompt_tokens": None}, "tokens are unknown", id="tokens"),
        pytest.param({"costUSD": None}, "the cost is unknown", id="cost"),
    ],
)
def test_each_thing_that_is_missing_is_named(changes: dict[str, Any], problem: str | None) -> None:
    """Expected and got, one sentence each."""
    arrived = verify._arrived({**WHOLE, **changes}, "context", "/openai", "httpx")
    found = list(verify._problems(arrived, "s", "/openai"))
    assert found == [] if problem is None else problem in found


def test_a_gateway_that_records_nothing_is_found_out(gateway: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls are answered, but no record comes back."""
    monkeypatch.setattr(verify, "_READ_BACK_S", 0.2)
    said_by = {"index": 0, "message": {"role": "assistant", "content": "x"}}
    body = {"status": "ok", "object": "chat.completion", "choices": [said_by]}
    claude = {"type": "message", "role": "assistant", "content": [], "model": "m", "usage": {}}
    gateway.always(Reply(headers=(GATEWAY_MARK,), body=json.dumps({**body, **claude, "model": "m"}).encode()))
    said: list[str] = []
    assert run_verify(Settings(base_url=gateway.url), said.append) == 1
    assert "no record of" in "\n".join(said)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        pytest.param(Settings(base_url="http://127.0.0.1:9"), "start it with `heliconnect up`", id="nobody-there"),
        pytest.param(
            Settings(base_url="http://127.0.0.1:9/v1/gateway"), "http://127.0.0.1:9/v1/gateway (self-hosted)", id="kind"
        ),
    ],
)
def test_a_gateway_that_is_not_there(settings: Settings, words: str) -> None:
    """It says which one, and how to start the local one."""
    said: list[str] = []
    assert run_verify(settings, said.append) == 1
    assert words in "\n".join(said)
    assert "no gateway at http://127.0.0.1:9" in "\n".join(said)


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        pytest.param(Settings(api_key="sk-helicone-a"), "https://api.helicone.ai", id="us"),
        pytest.param(Settings(api_key="sk-helicone-eu-a"), "https://eu.api.helicone.ai", id="eu"),
        pytest.param(Settings(base_url="http://b:8585/v1/gateway"), "http://b:8585", id="self-hosted"),
        pytest.param(Settings(), "http://127.0.0.1:8787", id="local"),
    ],
)
def test_where_records_are_read_back(settings: Settings, url: str) -> None:
    """Each kind of gateway has its API elsewhere."""
    assert api_url(settings) == url
