"""The control plane as a process: it says when it serves, and drains the spool before it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from heliconnect.spool import SpoolReader, SpoolWriter
from heliconnect.store import open_store
from tests.test_spool import a_capture

WaitUntil = Callable[..., None]
# A path is a "host" of its own to the plugin that keeps tests off the network.
pytestmark = pytest.mark.block_network(allowed_hosts=["/.*"])


@contextmanager
def control(folder: Path, **changes: object) -> Iterator[subprocess.Popen[bytes]]:
    """The process, its standard input held open as its supervisor does; killed if it still runs at the end."""
    config = {
        "socket": str(folder / "s"),
        "store": str(folder / "records.db"),
        "spool": str(folder / "spool"),
        "hosts": [],
    }
    command = [sys.executable, "-m", "heliconnect.server.control", json.dumps({**config, **changes})]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def first_line(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().decode().strip()


def client_of(folder: Path) -> httpx.Client:
    transport = httpx.HTTPTransport(uds=str(folder / "s"))
    return httpx.Client(transport=transport, base_url="http://127.0.0.1", trust_env=False)


def test_it_serves_stores_and_drains_on_sigterm(tmp_path: Path, wait_until: WaitUntil) -> None:
    """Ready line, health, pages, records soon; what waits at SIGTERM is stored, and the spool is empty after it."""
    spool = SpoolWriter(tmp_path / "spool")
    spool.append(a_capture("early"))
    with control(tmp_path) as process:
        assert first_line(process) == "ready"
        with client_of(tmp_path) as client:
            assert client.get("/healthcheck").json()["status"] == "ok"
            assert client.get("/ui/", follow_redirects=True).status_code == 200
            wait_until(lambda: client.get("/v1/request/early").status_code == 200)
        for number in range(500):
            spool.append(a_capture(str(number)))
        spool.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert SpoolReader(tmp_path / "spool").segments() == []
    store = open_store(tmp_path / "records.db", read_only=True)
    assert store.count() == 501
    store.close()


def test_it_takes_over_the_socket_of_a_killed_process(tmp_path: Path) -> None:
    """A file that a SIGKILL left behind does not hold up the next start."""
    with control(tmp_path) as process:
        assert first_line(process) == "ready"
    assert (tmp_path / "s").exists()
    with control(tmp_path) as process:
        assert first_line(process) == "ready"
        with client_of(tmp_path) as client:
            assert client.get("/healthcheck").status_code == 200


def test_it_ends_when_its_supervisor_is_gone(tmp_path: Path) -> None:
    """Closing the standard input is as good as SIGTERM."""
    with control(tmp_path) as process:
        assert first_line(process) == "ready"
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(20) == 0


@pytest.mark.parametrize(
    ("content", "words"),
    [pytest.param(b"no database " * 200, "not a database", id="damaged"), pytest.param(None, "cannot be", id="folder")],
)
def test_a_store_that_cannot_be_opened_is_said_at_once(tmp_path: Path, content: bytes | None, words: str) -> None:
    """Exit code 1, and the reason where the supervisor waits for "ready"."""
    path = tmp_path / "records.db"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with control(tmp_path) as process:
        assert words in first_line(process)
        assert process.wait(20) == 1
