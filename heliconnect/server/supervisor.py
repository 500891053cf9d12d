"""One command, several processes: starts the control plane and the data plane, keeps them alive, stops them in order.

The data plane (one process or more on one port) forwards and spools; the control plane stores, answers REST and draws
pages, and is reached through the data plane over a unix socket. Either may be restarted without the other. On stop the
data plane finishes the calls under way first, then the control plane empties the spool: nothing recorded is lost.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

from heliconnect.errors import HeliconnectError, StoreError
from heliconnect.server.folder import lock, spool_of, store_of, tell
from heliconnect.server.keys import KEYS

__all__ = ["Server", "ServerError", "ServerOptions", "running"]

_log = logging.getLogger("heliconnect")
_START_S = 30.0
_STOP_S = 20.0
_MAX_SOCKET_PATH = 100


class ServerError(HeliconnectError):
    """The server could not be started; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """What `heliconnect up` was told.

    port 0 takes a free one. upstreams sends a provider's calls elsewhere ("openai" -> "http://127.0.0.1:9000");
    allow_targets are host names or addresses that `Helicone-Target-URL` may name although they are not public. names
    are further host names that pages and REST may be asked by. demands_keys: only holders of a key may call and read.
    redact is a file of redaction rules, prices one of prices of one's own. keep is how long records are kept, None for
    ever.
    """

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = 8787
    workers: int = 1
    upstreams: dict[str, str] = field(default_factory=dict)
    allow_targets: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    demands_keys: bool = False
    redact: Path | None = None
    keep: timedelta | None = None
    prices: Path | None = None

    @property
    def url_host(self) -> str:
        """The host as it stands in a URL."""
        return f"[{self.host}]" if ":" in self.host else self.host


class _Child:
    """A child process that says "ready ..." on its first line and is told to stop by SIGTERM."""

    def __init__(self, module: str, config: dict[str, Any]) -> None:
        self.module = module
        self.config = config
        self._process: subprocess.Popen[str] | None = None
        self.started_at = 0.0

    def start(self) -> str:
        """Start and wait for readiness; gives what stands behind "ready" on the line.

        Raises ServerError when the process ends or stays silent; its own words went to the standard error.
        """
        self.started_at = time.monotonic()
        self._close_pipes()  # those of a process before this one, which ended by itself
        self._process = process = subprocess.Popen(  # noqa: S603 - our own module in our own interpreter
            [sys.executable, "-m", self.module, json.dumps(self.config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert process.stdout is not None
        lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=_pump, args=(process.stdout, lines), daemon=True).start()
        try:
            line = lines.get(timeout=_START_S)
        except queue.Empty:
            line = ""
        if not line.startswith("ready"):
            self.kill()
            reason = line.strip() or f"{self.module} did not say why; see the lines above"
            raise ServerError(f"the server did not start: {reason}")
        return line.removeprefix("ready").strip()

    def poll(self) -> int | None:
        return None if self._process is None else self._process.poll()

    def terminate(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def wait(self, timeout_s: float) -> None:
        if self._process is None:
            return
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            _log.warning("%s did not stop within %.0f s and was killed", self.module, timeout_s)
            self.kill()
        self._close_pipes()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._close_pipes()

    def _close_pipes(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()


def _pump(stream: IO[str], lines: queue.Queue[str]) -> None:
    """Hand over the first line and keep reading, so that the child can never block on its standard output."""
    with stream:
        lines.put(stream.readline())
        for line in stream:
            sys.stdout.write(line)


class Server:
    """The proxy, the store and the pages of one data folder, as child processes of this one.

    start() returns once calls are served; watch() restarts what ends by itself; stop() ends all. `url` is where to
    point clients and browsers.
    """

    def __init__(self, options: ServerOptions) -> None:
        self._options = options
        self._lock_fd: int | None = None
        self._socket_dir: str | None = None
        self._control: _Child | None = None
        self._planes: list[_Child] = []
        self._stopping = threading.Event()
        self._watcher: threading.Thread | None = None
        self.url = ""

    def start(self) -> None:
        """Start everything.

        Raises StoreError when the data folder is in use or cannot be written, ServerError when a process does not
        start.
        """
        folder = self._options.data_dir
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock_fd = lock(folder)
        except OSError as error:
            raise StoreError(
                f"the data folder {folder} cannot be used: {error}; choose another with --data-dir"
            ) from error
        try:
            self._start_children(folder)
        except BaseException:
            self.stop()
            raise
        self._watcher = threading.Thread(target=self._watch, name="heliconnect-watch", daemon=True)
        self._watcher.start()

    def _start_children(self, folder: Path) -> None:
        options = self._options
        socket = folder / "control.sock"
        if len(os.fsencode(socket)) > _MAX_SOCKET_PATH:
            self._socket_dir = tempfile.mkdtemp(prefix="heliconnect-")
            socket = Path(self._socket_dir) / "control.sock"
        socket.unlink(missing_ok=True)
        spool = spool_of(folder)
        self._control = _Child(
            "heliconnect.server.control",
            {
                "socket": str(socket),
                "store": str(store_of(folder)),
                "spool": str(spool),
                "hosts": [options.url_host, *options.names],
                "keys": str(folder / KEYS) if options.demands_keys else None,
                "redact": None if options.redact is None else str(options.redact),
                "keep_s": None if options.keep is None else options.keep.total_seconds(),
                "prices": None if options.prices is None else str(options.prices),
            },
        )
        self._control.start()
        port = options.port
        for _ in range(options.workers):
            plane = _Child("heliconnect.server.dataplane", self._plane_config(port, spool, socket))
            try:
                port = int(plane.start())
            except ServerError as error:
                raise ServerError(f"{error}; choose another port with --port") from error
            plane.config = self._plane_config(port, spool, socket)
            self._planes.append(plane)
        self.url = f"http://{options.url_host}:{port}"
        _wait_healthy(self.url)
        if self._lock_fd is not None:
            tell(self._lock_fd, self.url)

    def _plane_config(self, port: int, spool: Path, socket: Path) -> dict[str, Any]:
        options = self._options
        return {
            "host": options.host,
            "port": port,
            "reuse_port": options.workers > 1,
            "spool": str(spool),
            "control": str(socket),
            "upstreams": options.upstreams,
            "allow_targets": list(options.allow_targets),
            "keys": str(options.data_dir / KEYS) if options.demands_keys else None,
            "redact": None if options.redact is None else str(options.redact),
        }

    def _watch(self) -> None:
        while not self._stopping.wait(0.2):
            for child in [self._control, *self._planes]:
                if child is None or child.poll() is None or self._stopping.is_set():
                    continue
                _log.error("%s ended by itself (exit code %s) and is started again", child.module, child.poll())
                self._stopping.wait(max(0.0, 1.0 - (time.monotonic() - child.started_at)))
                with contextlib.suppress(ServerError):
                    child.start()

    def stop(self) -> None:
        """Finish the calls under way, store what is spooled, end every process."""
        self._stopping.set()
        if self._watcher is not None:
            self._watcher.join(_START_S)
        for plane in self._planes:
            plane.terminate()
        for plane in self._planes:
            plane.wait(_STOP_S)
        if self._control is not None:
            self._control.terminate()
            self._control.wait(_STOP_S)
        if self._socket_dir is not None:
            shutil.rmtree(self._socket_dir, ignore_errors=True)
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None

    def wait(self) -> None:
        """Block until SIGINT or SIGTERM; for the main thread."""
        woken = threading.Event()
        before = {number: signal.signal(number, lambda *_: woken.set()) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            while not woken.wait(0.5):
                continue
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _wait_healthy(url: str) -> None:
    deadline = time.monotonic() + _START_S
    while True:
        try:
            with urllib.request.urlopen(f"{url}/healthcheck", timeout=2) as answer:  # noqa: S310 - our own http URL
                answer.read()
        except (urllib.error.URLError, OSError) as error:
            if time.monotonic() > deadline:
                raise ServerError(f"the server at {url} started but does not answer /healthcheck: {error}") from error
            time.sleep(0.05)
        else:
            return


@contextlib.contextmanager
def running(options: ServerOptions) -> Iterator[Server]:
    """A started server for the length of a `with` block."""
    server = Server(options)
    server.start()
    try:
        yield server
    finally:
        server.stop()
