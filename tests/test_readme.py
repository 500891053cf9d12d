"""The README: every Python block runs as it stands, and its call is recorded."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from heliconnect.settings import from_env
from tests.conftest import Running

README = (Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"^### (.+?)$|^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def blocks() -> list[object]:
    found, title = [], ""
    for heading, code in BLOCKS:
        title = heading or title
        if code:
            found.append(pytest.param(code, id=f"{len(found)}-{title.split(':')[0]}"))
    return found


ASK_THE_APP = """
from starlette.testclient import TestClient
with TestClient(app) as asking:
    answer = asking.get("/ask", params={"question": "hi"}, headers={"x-user": "u-42"})
    assert answer.status_code == 200, answer.text
    print(answer.json())
"""


@pytest.mark.parametrize("code", blocks())
def test_a_block_runs_and_is_recorded(code: str, live: Running) -> None:
    """Run by a fresh interpreter, with the SDKs pointed at a scripted provider."""
    name = "anthropic" if "anthropic" in code else "openai"
    before = len(live.provider.requests)
    environ = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("HELICON", "OPENAI", "ANTHROPIC"))},
        "HELICONE_BASE_URL": live.url,
        "HELICONNECT_PROVIDERS": f"{name}={live.provider.url}",
        "OPENAI_BASE_URL": f"{live.provider.url}/v1",
        "OPENAI_API_KEY": "sk-test",
        "ANTHROPIC_BASE_URL": live.provider.url,
        "ANTHROPIC_API_KEY": "sk-test",
    }
    script = code + (ASK_THE_APP if "FastAPI()" in code else "")
    done = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Here is my answer to" in done.stdout
    assert len(live.provider.requests) == before + 1
    arrived = live.provider.requests[-1].headers
    assert not [header for header in arrived if header.startswith("helicone")]


def test_the_calls_of_all_blocks_have_their_user(live: Running) -> None:
    """The README's user is in the records of a block that ran."""
    code = next(code for _, code in BLOCKS if "hc.install()" in code)
    test_a_block_runs_and_is_recorded(code, live)
    query = {"filter": {"request_response_rmt": {"user_id": {"equals": "u-42"}}}, "limit": 50}
    for _ in range(100):
        rows = httpx.post(f"{live.url}/v1/request/query-clickhouse", json=query).json()["data"]
        if any(row["provider"] == "ANTHROPIC" for row in rows):
            return
    pytest.fail("no record of the README's user")


def test_every_setting_is_documented() -> None:
    """Each variable that is read stands in the README, and nothing else that looks like one."""
    named = set(re.findall(r"`(HELICON[A-Z_]+)", README))
    read = {name for name in _named_in_code() if name.startswith("HELICON")}
    assert named == read
    from_env(dict.fromkeys(named, ""))


def _named_in_code() -> set[str]:
    package = Path(__file__).parents[1] / "heliconnect"
    texts = [(package / name).read_text() for name in ("settings.py", "carrying.py")]
    return {name for text in texts for name in re.findall(r'"(HELICON[A-Z_]+)"', text)}


GUIDE = (Path(__file__).parents[1] / "docs" / "guide.md").read_text()
EXAMPLES = re.findall(r"^```python\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("code", [pytest.param(code, id=str(number)) for number, code in enumerate(EXAMPLES)])
def test_an_example_of_the_guide_runs(code: str, live: Running, tmp_path: Path) -> None:
    """As it stands, in a fresh interpreter; an example of a test as a test."""
    script = tmp_path / "test_example.py"
    script.write_text(code)
    environ = {**os.environ, "HELICONE_BASE_URL": live.url}
    # What older OpenTelemetry says about itself is no mistake of the example.
    strict = ["-W", "error", "-W", "ignore:SelectableGroups dict interface is deprecated:DeprecationWarning"]
    runner = ["-m", "pytest", "-q", "-p", "no:cacheprovider"] if "def test_" in code else strict
    command = [sys.executable, *runner, str(script)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_extra_is_named(root: Path) -> None:
    """The extras of the package are the README's."""
    import tomllib

    extras = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert not [extra for extra in extras if f"`{extra}`" not in README]


def test_links_lead_somewhere(root: Path) -> None:
    """Relative links name files that exist."""
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (root / target).exists(), target
