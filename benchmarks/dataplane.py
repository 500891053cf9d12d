#!/usr/bin/env python3
"""The data plane against nginx and against no proxy, on loopback: requests per second and latency, as ratios.

    python benchmarks/dataplane.py [SECONDS]

A fixed upstream answers 1.2 kB of JSON; 32 connections ask in a closed loop from a process of their own. The data plane
captures every body and head into its spool meanwhile; nginx (proxy_pass, keep-alive) records nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 3.0
ROUNDS = 3
CONNECTIONS = 32
ASK = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "x" * 700}]}).encode()
TELL = json.dumps({"object": "chat.completion", "choices": [{"message": {"content": "y" * 1_000}}]}).encode()
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(TELL) + TELL
REQUEST = (
    b"POST /oai/v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer sk-benchmark\r\n"
    b"Helicone-User-Id: ada\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(ASK)
) + ASK


class Upstream(asyncio.Protocol):
    """Answers every request whose last bytes arrive."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if self.buffer.endswith(ASK[-20:]):
            self.buffer = b""
            self.transport.write(ANSWER)  # type: ignore[attr-defined]  # a stream's transport


class Asker(asyncio.Protocol):
    """One connection that asks again as soon as it is answered."""

    def __init__(self, latencies: list[float], deadline: float) -> None:
        self.latencies, self.deadline = latencies, deadline
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.ask()

    def ask(self) -> None:
        self.began = time.perf_counter()
        self.tail = b""
        self.transport.write(REQUEST)  # type: ignore[attr-defined]  # a stream's transport

    def data_received(self, data: bytes) -> None:
        self.tail = (self.tail + data)[-20:]  # the answer may come in pieces
        if self.tail != TELL[-20:]:
            return
        now = time.perf_counter()
        self.latencies.append(now - self.began)
        if now < self.deadline:
            self.ask()
        elif not self.done.done():
            self.done.set_result(None)
            self.transport.close()


def serve_upstream(port: int) -> None:
    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", port)
        await server.serve_forever()

    _run(main())


def ask_all(port: int, connections: int, seconds: float, results: multiprocessing.Queue[list[float]]) -> None:
    async def main() -> None:
        latencies: list[float] = []
        deadline = time.perf_counter() + seconds
        loop = asyncio.get_running_loop()
        pairs = [
            await loop.create_connection(lambda: Asker(latencies, deadline), "127.0.0.1", port)
            for _ in range(connections)
        ]
        await asyncio.wait_for(asyncio.gather(*(asker.done for _, asker in pairs)), seconds + 10)
        results.put(latencies)

    _run(main())


def _run(main: object) -> None:
    try:
        import uvloop

        uvloop.run(main)
    except ImportError:
        asyncio.run(main)  # type: ignore[arg-type]  # a coroutine


def measure(port: int, connections: int) -> tuple[float, float]:
    """Requests per second, and the median latency in microseconds."""
    results: multiprocessing.Queue[list[float]] = multiprocessing.Queue()
    asker = multiprocessing.Process(target=ask_all, args=(port, connections, SECONDS, results))
    asker.start()
    latencies = results.get(timeout=SECONDS + 20)
    asker.join()
    return len(latencies) / SECONDS, statistics.median(latencies) * 1e6


NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log /dev/null;
events {{ worker_connections 1024; }}
http {{ access_log off; keepalive_requests 100000000;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  upstream up {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 100000000; }}
  server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://up; proxy_http_version 1.1;
    proxy_set_header Connection ""; proxy_buffering off; }} }} }}
"""


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nothing uses."""
    with contextlib.ExitStack() as stack:
        made = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(one.getsockname()[1]) for one in made]


def main() -> None:
    """Measure in turn, print the ratios."""
    base, own, other = free_ports(3)
    upstream = multiprocessing.Process(target=serve_upstream, args=(base,), daemon=True)
    upstream.start()
    with tempfile.TemporaryDirectory() as folder:
        config = {
            "spool": f"{folder}/spool",
            "control": "",
            "port": own,
            "upstreams": {"openai": f"http://127.0.0.1:{base}"},
        }
        command = [sys.executable, "-m", "heliconnect.server.dataplane", json.dumps(config)]
        plane = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)
        assert plane.stdout is not None
        plane.stdout.readline()
        targets = {"direct": base, "heliconnect": own}
        nginx = None
        if shutil.which("nginx"):
            Path(folder, "nginx.conf").write_text(NGINX.format(folder=folder, upstream=base, port=other))
            nginx = subprocess.Popen(["nginx", "-c", f"{folder}/nginx.conf"])
            targets["nginx"] = other
            time.sleep(0.5)
        try:
            report(targets)
        finally:
            for process in (plane, nginx):
                if process is not None:
                    process.terminate()
                    process.wait(15)
            upstream.terminate()


def report(targets: dict[str, int]) -> None:
    busy: dict[str, list[float]] = {name: [] for name in targets}
    calm: dict[str, list[float]] = {name: [] for name in targets}
    for _ in range(ROUNDS):
        for name, port in targets.items():
            busy[name].append(measure(port, CONNECTIONS)[0])
            calm[name].append(measure(port, 1)[1])
    peer = "nginx" if "nginx" in targets else "direct"
    print(f"{'':<14}{'requests/s':>12}{'of ' + peer:>12}{'p50 at 1':>12}{'added':>12}")
    for name in targets:
        rate, latency = statistics.median(busy[name]), statistics.median(calm[name])
        ratio = rate / statistics.median(busy[peer])
        added = latency - statistics.median(calm["direct"])
        print(f"{name:<14}{rate:>12.0f}{ratio:>12.2f}{latency:>9.0f} us{added:>9.0f} us")


if __name__ == "__main__":
    main()
