"""Tools for tests of the data plane: a process of it, raw sockets on both its sides, and its spool."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from heliconnect.exchange import Capture
from heliconnect.spool import SpoolReader

Handler = Callable[[socket.socket, bytes], None]


class PlaneProcess:
    """One data plane process."""

    def __init__(self, process: subprocess.Popen[str], port: int, spool: Path) -> None:
        self.process = process
        self.port = port
        self.spool = spool
        self.url = f"http://127.0.0.1:{port}"

    def captures(self, count: int, timeout_s: float = 5.0) -> list[Capture]:
        """What was spooled, as soon as it is `count` captures."""
        deadline = time.monotonic() + timeout_s
        while True:
            reader = SpoolReader(self.spool)
            found = [one for segment in reader.segments() for one in reader.read(segment, 0).captures]
            if len(found) >= count or time.monotonic() > deadline:
                assert len(found) == count, found
                return found
            time.sleep(0.01)

    def spooled_bytes(self) -> bytes:
        """Everything on disk."""
        return b"".join(path.read_bytes() for path in self.spool.iterdir() if path.is_file())

    def connect(self) -> socket.socket:
        """A raw connection."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=5)

    def exchange(self, *pieces: bytes, pause_s: float = 0.0) -> bytes:
        """Send raw bytes, then read until the connection closes; send `Connection: close` to see its end."""
        with self.connect() as raw:
            for piece in pieces:
                raw.sendall(piece)
                time.sleep(pause_s)
            return read_all(raw)


def read_all(raw: socket.socket) -> bytes:
    """All bytes until the peer closes; b"RESET" at the end where it broke the connection."""
    received = b""
    with contextlib.suppress(TimeoutError):
        try:
            while piece := raw.recv(65536):
                received += piece
        except ConnectionResetError:
            return received + b"RESET"
    return received


@contextlib.contextmanager
def a_plane(folder: Path, **config: Any) -> Iterator[PlaneProcess]:
    """A data plane with this config, in a process of its own."""
    spool = folder / "spool"
    whole = {"spool": str(spool), "control": str(folder / "no.sock"), "port": 0, **config}
    command = [sys.executable, "-m", "heliconnect.server.dataplane", json.dumps(whole)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        words = process.stdout.readline().split()
        assert words[:1] == ["ready"], words
        yield PlaneProcess(process, int(words[1]), spool)
    finally:
        process.terminate()
        process.wait(15)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


class RawUpstream:
    """A provider in bytes: reads each request's head (and a body by length), records it, lets `answer` speak."""

    def __init__(self, answer: Handler | bytes) -> None:
        self._answer = (lambda raw, head: raw.sendall(answer)) if isinstance(answer, bytes) else answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._closing = False
        self.received: list[bytes] = []
        self.connections = 0
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> RawUpstream:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing = True
        self._listener.close()

    def _accept(self) -> None:
        while not self._closing:
            try:
                raw, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(raw,), daemon=True).start()

    def _serve(self, raw: socket.socket) -> None:
        buffer = b""
        with raw, contextlib.suppress(OSError):
            while True:
                while b"\r\n\r\n" not in buffer:
                    piece = raw.recv(65536)
                    if not piece:
                        return
                    buffer += piece
                head, _, buffer = buffer.partition(b"\r\n\r\n")
                self.received.append(head)
                lines = head.lower().split(b"\r\n")
                length = sum(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:"))
                while len(buffer) < length:
                    piece = raw.recv(65536)
                    if not piece:
                        return
                    buffer += piece
                self.received[-1] = head + b"\r\n\r\n" + buffer[:length]
                buffer = buffer[length:]
                self._answer(raw, head)
                if raw.fileno() < 0:
                    return
