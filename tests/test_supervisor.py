"""The supervisor: what dies comes back on the same port, what is stopped is gone, what was sent is recorded."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

import heliconnect as hc
from heliconnect.server.supervisor import Server, ServerOptions, running
from heliconnect.testing import Provider

WaitUntil = Callable[..., None]
CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}


def is_answered(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthcheck").status_code == 200
    except httpx.HTTPError:
        return False


def count(url: str) -> int:
    return int(httpx.post(f"{url}/v1/request/count/query", json={}).json()["data"])


def kill(child: object) -> None:
    process = child._process  # type: ignore[attr-defined]  # the process that is to die
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def test_a_plane_that_dies_comes_back(tmp_path: Path, provider: Provider, wait_until: WaitUntil) -> None:
    """Either process may be killed: calls go through without the control plane, and nothing recorded is lost."""
    options = ServerOptions(tmp_path, port=0, upstreams={"openai": provider.url})
    with running(options) as server:
        assert httpx.post(f"{server.url}/v1/chat/completions", json=CHAT).status_code == 200
        assert server._control is not None
        kill(server._control)
        assert httpx.post(f"{server.url}/v1/chat/completions", json=CHAT).status_code == 200
        wait_until(lambda: is_answered(server.url), 15)
        wait_until(lambda: count(server.url) == 2, 5)
        kill(server._planes[0])
        wait_until(lambda: is_answered(server.url), 15)
        assert httpx.post(f"{server.url}/v1/chat/completions", json=CHAT).status_code == 200
        wait_until(lambda: count(server.url) == 3, 5)


def test_two_workers_share_a_port_and_a_store(tmp_path: Path, provider: Provider, wait_until: WaitUntil) -> None:
    """Several data planes record into one store; the path of the socket may be long."""
    folder = tmp_path / ("a long folder name " * 5)
    options = ServerOptions(folder, port=0, workers=2, upstreams={"openai": provider.url})
    with running(options) as server:
        for _ in range(20):
            assert httpx.post(f"{server.url}/v1/chat/completions", json=CHAT).status_code == 200
        wait_until(lambda: count(server.url) == 20, 5)
        assert len(server._planes) == 2
        assert len(list((folder / "spool").glob("*.spool"))) >= 1


def test_an_ipv6_address_is_served(tmp_path: Path) -> None:
    """Its URL has brackets."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with running(ServerOptions(tmp_path, host="::1", port=0)) as server:
        assert server.url.startswith("http://[::1]:")
        assert httpx.get(f"{server.url}/healthcheck").status_code == 200
        assert httpx.get(f"{server.url}/ui/requests").status_code == 200


def test_a_folder_serves_one_server(tmp_path: Path) -> None:
    """The second is told who holds the folder; a folder that cannot be made is explained."""
    with running(ServerOptions(tmp_path, port=0)):
        with pytest.raises(hc.StoreError, match=rf"already served.*process {os.getpid()}"):
            Server(ServerOptions(tmp_path, port=0)).start()
    (tmp_path / "file").write_text("")
    with pytest.raises(hc.StoreError, match=r"cannot be used.*--data-dir"):
        Server(ServerOptions(tmp_path / "file" / "folder", port=0)).start()


def test_a_store_that_cannot_be_opened_is_said(tmp_path: Path) -> None:
    """The control plane's reason reaches the user."""
    (tmp_path / "heliconnect.db").write_text("no database " * 500)
    with pytest.raises(hc.HeliconnectError, match=r"did not start.*not a database"):
        Server(ServerOptions(tmp_path, port=0)).start()
