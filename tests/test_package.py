"""The package itself: light to import, honest about what it exports and what it needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import heliconnect

HEAVY = {"httpx", "httpx2", "aiohttp", "langchain_core", "litellm", "starlette", "fastapi", "openai", "pydantic"}


def test_importing_it_loads_nothing_heavy() -> None:
    """No HTTP library, no framework, not even asyncio."""
    code = f"import sys, heliconnect; print(sorted(({HEAVY!r} | {{'asyncio', 'ssl'}}) & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_using_the_core_loads_nothing_heavy() -> None:
    """Contexts and headers need the standard library only."""
    code = (
        "import sys, heliconnect as hc\nwith hc.context(user_id=1), hc.session('s'), hc.step('x'): hc.headers()\n"
        f"hc.configure(); hc.install(); print(sorted({HEAVY!r} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_all_names_are_there() -> None:
    """__all__ is sorted, complete, and every name loads."""
    assert list(heliconnect.__all__) == sorted(heliconnect.__all__)
    assert set(heliconnect.__all__) - {"__version__"} == set(heliconnect._HOMES)
    for name in heliconnect.__all__:
        assert getattr(heliconnect, name) is not None
    assert set(dir(heliconnect)) >= set(heliconnect.__all__)
    with pytest.raises(AttributeError, match="nonsense"):
        heliconnect.nonsense  # noqa: B018 - reading it is the test


MISSING = [
    pytest.param("heliconnect.starlette", "starlette", "starlette", id="starlette"),
    pytest.param("heliconnect_langchain", "langchain_core", "langchain", id="langchain"),
    pytest.param("heliconnect_langchain.agent", "langchain", "agents", id="agents"),
    pytest.param("heliconnect_litellm", "litellm", "litellm", id="litellm"),
    pytest.param("heliconnect.wire.httpx", "httpx", "httpx", id="httpx"),
    pytest.param("heliconnect.wire.httpx2", "httpx2", "httpx2", id="httpx2"),
    pytest.param("heliconnect.wire.aiohttp", "aiohttp", "aiohttp", id="aiohttp"),
    pytest.param("heliconnect.wire.requests", "requests", "requests", id="requests"),
    pytest.param("heliconnect.tasks.celery", "celery", "celery", id="celery"),
    pytest.param("heliconnect.tasks.dramatiq", "dramatiq", "dramatiq", id="dramatiq"),
    pytest.param("heliconnect.tasks.arq", "arq", "arq", id="arq"),
    pytest.param("heliconnect.store", "sqlalchemy", "server", id="store"),
    pytest.param("heliconnect.prices", "genai_prices", "server", id="prices"),
    pytest.param("heliconnect.server.control", "uvicorn", "server", id="control"),
    pytest.param("heliconnect.server.dataplane.plane", "httptools", "server", id="dataplane"),
    pytest.param("heliconnect.cli.commands", "typer", "server", id="cli"),
]


@pytest.mark.parametrize(("module", "absent", "extra"), MISSING)
def test_a_missing_extra_is_named(module: str, absent: str, extra: str) -> None:
    """The error holds the pip line to run; it is an ImportError too."""
    code = f"import sys\nsys.modules[{absent!r}] = None\ntry:\n    import {module}\nexcept ImportError as e: print(e)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert f"pip install 'heliconnect[{extra}]'" in said


def test_all_three_packages_are_typed(root: Path) -> None:
    """py.typed ships with each."""
    for package in ("heliconnect", "heliconnect_langchain", "heliconnect_litellm"):
        assert (root / package / "py.typed").exists()
