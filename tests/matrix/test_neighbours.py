"""Beside other tools that watch LLM calls: they record the same, SDKs give the same types, each call is routed once.

What tools of the HTTP level record as the address of a request is left out: routed, it goes to the gateway.
A tool that is absent is skipped: `scripts/matrix` runs all of them, in an environment of their own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from heliconnect.testing import Provider

ROOT = Path(__file__).parents[2]
MODULES = {
    "opentelemetry": "opentelemetry.instrumentation.httpx",
    "openinference": "openinference.instrumentation.openai",
    "sentry": "sentry_sdk",
}
PACKAGES = {
    "opentelemetry": "opentelemetry-instrumentation-httpx",
    "openinference": "openinference-instrumentation-openai",
    "sentry": "sentry-sdk",
}
TOOLS = ("opentelemetry", "openinference", "langfuse", "logfire", "langsmith", "sentry", "ddtrace")
CALLS = 7


def is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def run(tool: str, order: str, provider: Provider, gateway: Provider) -> dict[str, Any]:
    words = [sys.executable, "-W", "ignore", "-m", "tests.matrix.neighbours", tool, order, provider.url, gateway.url]
    environ = {**os.environ, "DD_TRACE_STARTUP_LOGS": "false", "DD_INSTRUMENTATION_TELEMETRY_ENABLED": "false"}
    done = subprocess.run(words, env=environ, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr[-3000:]
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


@pytest.mark.parametrize("tool", TOOLS)
def test_what_another_tool_records_stays_the_same(tool: str, record_property: Callable[[str, object], None]) -> None:
    """Whichever of the two is set up first."""
    module = MODULES.get(tool, tool)
    if not is_there(module) or not is_there("langchain_openai"):
        pytest.skip(f"not installed: {module}")
    package = PACKAGES.get(tool, tool)
    record_property("package", f"{package} {version(package)}")
    with Provider() as provider, Provider(as_gateway=True) as gateway:
        alone = run(tool, "alone", provider, gateway)
        assert (len(provider.requests), len(gateway.requests)) == (CALLS, 0)
        assert alone["recorded"], "the tool recorded nothing, so nothing is shown"
        for order in ("before", "after"):
            gateway.clear()
            assert run(tool, order, provider, gateway) == alone, order
            assert [got.headers["helicone-user-id"] for got in gateway.requests] == ["ada"] * CALLS
        assert len(provider.requests) == CALLS
