"""A whole server under load and mistreated: killed, besieged, out of disk. No call fails, and no record goes."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import threading
import time
import uuid
from pathlib import Path

import httpx
import pytest

from heliconnect.server.supervisor import Server, ServerOptions, running
from heliconnect.testing import Provider, Reply
from tests.conftest import Running
from tests.plane import a_plane

CHAT = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}).encode()
PATH = "/oai/v1/chat/completions"
THREADS, LOAD_S = 6, 2.5


class Load:
    """Calls from several threads until told to stop; notes when each answer was complete."""

    def __init__(self, url: str, user: str) -> None:
        self._host = url.removeprefix("http://")
        self._user = user
        self._stop = threading.Event()
        self.done: dict[str, float] = {}
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(THREADS)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        connection = http.client.HTTPConnection(self._host, timeout=5)
        while not self._stop.is_set():
            request_id = str(uuid.uuid4())
            headers = {"Helicone-Request-Id": request_id, "Helicone-User-Id": self._user}
            try:
                connection.request("POST", PATH, CHAT, {**headers, "Content-Type": "application/json"})
                answer = connection.getresponse()
                answer.read()
            except (OSError, http.client.HTTPException):
                connection.close()  # the server is gone for a moment
                time.sleep(0.02)
                continue
            if answer.status == 200:
                self.done[request_id] = time.monotonic()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(10)


def kill_all(server: Server) -> None:
    """SIGKILL for every process of a server, at once."""
    children = [server._control, *server._planes]
    for child in children:
        assert child is not None
        assert child._process is not None
        child._process.kill()


def test_what_was_answered_a_second_before_a_kill_is_recorded(tmp_path: Path, provider: Provider) -> None:
    """Once each, after the server has come back by itself; and it goes on serving."""
    user = f"killed {uuid.uuid4()}"
    with running(ServerOptions(tmp_path, port=0, upstreams={"openai": provider.url})) as server:
        load = Load(server.url, user)
        time.sleep(LOAD_S)
        killed_at = time.monotonic()
        kill_all(server)
        deadline = time.monotonic() + 20
        while not any(at > killed_at + 0.5 for at in list(load.done.values())):
            assert time.monotonic() < deadline, "the server did not come back"
            time.sleep(0.05)
        load.stop()
        safe = {one for one, at in load.done.items() if at < killed_at - 1 or at > killed_at + 0.5}
        assert len(safe) > 100
        stored = ids_of(server.url, user, safe)
    assert len(stored) == len(set(stored)), "a record is there twice"
    assert safe <= set(stored)


def ids_of(url: str, user: str, wanted: set[str]) -> list[str]:
    """The ids of a user's records, as soon as all that are wanted are there."""
    deadline = time.monotonic() + 20
    while True:
        found: list[str] = []
        while True:
            query = {"filter": {"request_response_rmt": {"user_id": {"equals": user}}}}
            page = {**query, "limit": 1000, "offset": len(found), "sort": {"created_at": "asc"}, "includeInputs": False}
            rows = httpx.post(f"{url}/v1/request/query-clickhouse", json=page, timeout=30).json()["data"]
            found += [row["request_id"] for row in rows]
            if len(rows) < 1000:
                break
        if wanted <= set(found) or time.monotonic() > deadline:
            return found
        time.sleep(0.2)


def test_a_thousand_slow_clients_hold_nobody_up(tmp_path: Path, provider: Provider) -> None:
    """Each sends a piece of a request and waits: others are served at once, memory stays bounded, they are let go."""
    with contextlib.ExitStack() as stack:
        plane = stack.enter_context(a_plane(tmp_path, upstreams={"openai": provider.url}, head_timeout=3.0))
        before = memory_of(plane.process.pid)
        slow = [stack.enter_context(plane.connect()) for _ in range(1_000)]
        for one in slow:
            one.sendall(b"POST /oai/v1/chat/completions HTTP/1.1\r\nHost: gw\r\nX-Slow: ")
        began = time.monotonic()
        answers = [httpx.post(plane.url + PATH, content=CHAT).status_code for _ in range(20)]
        assert answers == [200] * 20
        assert time.monotonic() - began < 3
        assert memory_of(plane.process.pid) - before < 64 << 20
        slow[0].settimeout(10)
        assert slow[0].recv(100).startswith(b"HTTP/1.1 408 ")
        assert slow[-1].recv(100).startswith(b"HTTP/1.1 408 ")


def memory_of(process: int) -> int:
    """The resident memory of a process in bytes."""
    pages = Path(f"/proc/{process}/statm")
    if not pages.exists():
        pytest.skip("the memory of a process is read from /proc")
    return int(pages.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_reader_who_does_not_read_holds_little_memory(tmp_path: Path) -> None:
    """A large answer waits at its provider, not in the gateway."""
    with Provider() as large, a_plane(tmp_path, upstreams={"openai": large.url}, max_kept_body=1 << 20) as plane:
        large.always(Reply(body=b"x" * (64 << 20), headers=(("content-type", "application/octet-stream"),)))
        before = memory_of(plane.process.pid)
        with plane.connect() as raw:
            raw.sendall(b"GET /oai/v1/files/f/content HTTP/1.1\r\nHost: gw\r\n\r\n")
            time.sleep(1.0)
            assert memory_of(plane.process.pid) - before < 24 << 20
            raw.settimeout(20)
            received = 0
            with contextlib.suppress(socket.timeout):
                while received < 64 << 20:
                    received += len(raw.recv(1 << 20))
        assert received >= 64 << 20


def test_a_spool_that_cannot_be_written_fails_no_call(tmp_path: Path, provider: Provider) -> None:
    """What could not be recorded is counted; when there is room again, records are kept again."""
    with a_plane(tmp_path, upstreams={"openai": provider.url}, max_spool=20_000) as plane:
        answers = [httpx.post(plane.url + PATH, content=CHAT).status_code for _ in range(60)]
        assert answers == [200] * 60
    assert sum(path.stat().st_size for path in plane.spool.glob("*.spool")) <= 20_000


def test_a_folder_that_was_taken_away_fails_no_call(tmp_path: Path, provider: Provider) -> None:
    """Records are lost then, and nothing else."""
    folder = tmp_path / "data"
    with running(ServerOptions(folder, port=0, upstreams={"openai": provider.url})) as server:
        assert httpx.post(server.url + PATH, content=CHAT).status_code == 200
        folder.rename(tmp_path / "elsewhere")
        assert [httpx.post(server.url + PATH, content=CHAT).status_code for _ in range(5)] == [200] * 5
        (tmp_path / "elsewhere").rename(folder)
        assert Running(server, provider).url
