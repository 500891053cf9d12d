"""The command line, as a user runs it: in processes of its own."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import httpx
import pytest

from heliconnect._version import __version__
from tests.conftest import Running

COMMAND = [sys.executable, "-m", "heliconnect.cli"]


def run(*words: str, timeout: float = 90, **environ: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("HELICON", "OPENAI"))}
    return subprocess.run(
        [*COMMAND, *words], capture_output=True, text=True, timeout=timeout, env={**env, **environ}, check=False
    )


def test_version_and_help() -> None:
    """The version is the package's; help lists the commands."""
    assert run("version").stdout.strip() == __version__
    text = run("--help").stdout
    commands = ("up", "demo", "verify", "doctor", "version", "status", "tail", "export", "import", "prune", "backup")
    assert all(command in text for command in commands)


def test_demo_once_records_every_call(tmp_path: Path) -> None:
    """The README's promise: every way of calling, five users at once, nobody mixed up, tokens and cost known."""
    done = run("demo", "--once", "--port", "0", "--data-dir", str(tmp_path / "data"))
    assert done.returncode == 0, done.stdout + done.stderr
    rows = re.findall(r"^(.{22}) +(\d+) +(\d+) +(\d+) +(\d+) +(\d+) +([\d.]+)$", done.stdout, re.MULTILINE)
    assert [row[0].strip() for row in rows] == [
        *("openai", "anthropic", "langchain invoke", "langchain astream", "langgraph", "langgraph, next node"),
        *("litellm", "litellm async", "litellm stream"),
    ]
    for row in rows:
        calls, recorded, wrong, with_path, tokens = (int(number) for number in row[1:6])
        assert (calls, recorded, wrong, with_path) == (5, 5, 0, 5)
        assert tokens > 0
        assert float(row[6]) > 0
    assert "51 records" in done.stdout


def test_demo_goes_on_until_it_is_told_to_stop() -> None:
    """Without --once it prints the page's URL, serves it, sends more calls, and ends at Ctrl-C, leaving nothing."""
    with subprocess.Popen([*COMMAND, "demo", "--port", "0"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while "Ctrl-C" not in (line := process.stdout.readline()):
            assert line, "the demo ended by itself"
        url = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert url is not None
        page = httpx.get(f"{url[0]}/ui/requests")
        assert "Name three sights" in page.text
        query = {"filter": "all"}
        deadline = time.monotonic() + 20
        while httpx.post(f"{url[0]}/v1/request/count/query", json=query).json()["data"] <= 51:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(url[0])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_up_serves_until_it_is_told_to_stop(tmp_path: Path) -> None:
    """One command starts proxy and pages; SIGTERM ends all processes, and the next start finds the records."""
    port, folder = free_port(), tmp_path / "data"
    command = [
        *COMMAND,
        "up",
        "--port",
        str(port),
        "--data-dir",
        str(folder),
        "--upstream",
        "openai=http://127.0.0.1:9",
    ]
    for expected in (1, 2):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            while "Ctrl-C" not in (line := process.stdout.readline()):
                assert line, "the server ended by itself"
            answer = httpx.post(f"http://127.0.0.1:{port}/v1/chat/completions", json={"model": "m"})
            assert answer.status_code == 502
            second = run("up", "--port", "0", "--data-dir", str(folder))
            assert (second.returncode, "already served" in second.stderr) == (1, True)
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        assert count_records(folder) == expected
        with pytest.raises(OSError, match=r".*"):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/healthcheck", timeout=2)


def count_records(folder: Path) -> int:
    from heliconnect.store import open_store

    store = open_store(folder / "heliconnect.db", read_only=True)
    try:
        return store.count()
    finally:
        store.close()


def test_children_end_with_their_supervisor(tmp_path: Path) -> None:
    """SIGKILL of the command leaves no server behind."""
    port = free_port()
    command = [*COMMAND, "up", "--port", str(port), "--data-dir", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while "Ctrl-C" not in process.stdout.readline():
            pass
        process.kill()
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            break
        assert time.monotonic() < deadline
        time.sleep(0.05)


MISTAKES: list[Any] = [
    pytest.param(["up", "--host", "0.0.0.0"], 1, "heliconnect keys create", id="public-address"),
    pytest.param(["up", "--host", "nonsense"], 2, "expected an IP address", id="no-address"),
    pytest.param(["up", "--upstream", "openai"], 2, "NAME=URL", id="upstream"),
    pytest.param(["up", "--upstream", "openai=ftp://x"], 2, "NAME=URL", id="upstream-url"),
    pytest.param(["nonsense"], 2, "No such command", id="command"),
]


@pytest.mark.parametrize(("words", "code", "message"), MISTAKES)
def test_mistakes_are_explained(words: list[str], code: int, message: str) -> None:
    """Exit code 2, and words that say what is expected."""
    done = run(*words)
    assert done.returncode == code
    assert message in re.sub(r"\s*[│\n]\s*", " ", done.stderr)


def test_a_taken_port_is_explained(tmp_path: Path) -> None:
    """The error names the port and the way out."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("up", "--port", str(port), "--data-dir", str(tmp_path))
    assert done.returncode == 1
    assert f"127.0.0.1:{port} cannot be listened on" in done.stderr
    assert "--port" in done.stderr
    assert "Traceback" not in done.stderr


def test_verify_reads_one_call_of_each_adapter_back(live: Running) -> None:
    """Every adapter installed here passes against a running gateway, without any provider key."""
    done = run("verify", HELICONE_BASE_URL=live.url)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    calls = [line.split()[:2] for line in lines[1:] if "arrived" in line]
    adapters = ["openai", "anthropic", "google-genai", "langchain", "litellm", "starlette"]
    assert calls == [[adapter, "ok"] for adapter in adapters]
    assert live.provider.requests == []


def test_verify_says_what_is_wrong() -> None:
    """No gateway, a cloud without a key, a variable that cannot be used."""
    done = run("verify", HELICONE_BASE_URL="http://127.0.0.1:9")
    assert done.returncode == 1
    assert "heliconnect up" in done.stdout
    bad = run("verify", HELICONE_BASE_URL="nonsense")
    assert (bad.returncode, "absolute http(s) URL" in bad.stderr) == (2, True)
