"""One data plane process: listens, keeps time, records, stops in order."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import time
from functools import cached_property
from pathlib import Path

from heliconnect.exchange import End
from heliconnect.routing import is_loopback
from heliconnect.server.child import say_ready, watch_parent
from heliconnect.server.dataplane.capture import Budget, Tee
from heliconnect.server.dataplane.client_side import ClientSide
from heliconnect.server.dataplane.config import Config
from heliconnect.server.dataplane.flights import Flights
from heliconnect.server.dataplane.targets import Targets
from heliconnect.server.dataplane.upstreams import Upstreams
from heliconnect.server.features.caching import AnswerCache
from heliconnect.server.features.limits import LIMITS, Buckets
from heliconnect.server.keys import Keys
from heliconnect.server.redaction import Redaction
from heliconnect.spool import SpoolWriter

try:
    import uvloop
except ImportError:  # optional: the standard loop serves as well, at about a fifth more CPU
    uvloop = None  # type: ignore[assignment]  # the module or None, tested before use

__all__ = ["Plane", "run"]

_log = logging.getLogger("heliconnect")
_TICK_S = 0.25
_SWEEP_S = 300.0


class Plane:
    """What all connections of the process share."""

    def __init__(self, config: Config, loop: asyncio.AbstractEventLoop) -> None:
        self.config = config
        self.loop = loop
        host = f"[{config.host}]" if ":" in config.host else config.host
        self.targets = Targets(config.upstreams, config.allow_targets, trusts_local=is_loopback(f"http://{host}"))
        self.upstreams = Upstreams(config, loop)
        self.budget = Budget(config.max_kept_total)
        self.answers = AnswerCache(config.folder / "cache", time.time, config.max_cache)
        self.flights = Flights()
        self.keys = None if config.keys is None else Keys(Path(config.keys))
        self.is_stopping = False
        self._spool = SpoolWriter(Path(config.spool), max_bytes=config.max_spool)
        self._redaction = None if config.redact is None else Redaction.from_file(Path(config.redact))
        self._clients: set[ClientSide] = set()
        self._server: asyncio.Server | None = None
        self._sweep_at = loop.time() + _SWEEP_S

    @cached_property
    def buckets(self) -> Buckets:
        """The rate limits' buckets, opened when the first call is limited."""
        return Buckets(self.config.folder / LIMITS, time.time)

    async def listen(self) -> int:
        """Begin to serve; gives the port. Raises OSError when the address cannot be had."""
        self._server = await self.loop.create_server(
            lambda: ClientSide(self),
            self.config.host,
            self.config.port,
            reuse_port=self.config.reuse_port or None,
            backlog=1024,
        )
        self.loop.call_later(_TICK_S, self._tick)
        listener: socket.socket = self._server.sockets[0]
        return int(listener.getsockname()[1])

    def _tick(self) -> None:
        now = self.loop.time()
        for client in list(self._clients):
            client.check(now)
        self.upstreams.drop_idle(now)
        if now >= self._sweep_at:
            self._sweep_at = now + _SWEEP_S
            self.loop.run_in_executor(None, self.answers.sweep)
        if not self.is_stopping or self._clients:
            self.loop.call_later(_TICK_S, self._tick)

    def admit(self, client: ClientSide) -> bool:
        """Whether one more connection is taken."""
        if len(self._clients) >= self.config.max_connections:
            return False
        self._clients.add(client)
        return True

    def dismiss(self, client: ClientSide) -> None:
        """A connection is gone."""
        self._clients.discard(client)

    def record(self, tee: Tee, end: End, error: str | None) -> None:
        """Spool what was kept of a call that is over. Never raises."""
        try:
            capture = tee.finish(end, error)
            self._spool.append(capture if self._redaction is None else self._redaction.apply(capture))
        except Exception:  # noqa: BLE001 - recording may fail, the call it records may not
            _log.exception("a call could not be recorded")

    async def stop(self) -> None:
        """Take no more connections, let the calls under way end, for `grace` seconds at most."""
        self.is_stopping = True
        if self._server is not None:
            self._server.close()
        for client in list(self._clients):
            client.close_idle()
        deadline = self.loop.time() + self.config.grace
        while any(c.is_busy for c in self._clients) and self.loop.time() < deadline:  # noqa: ASYNC110 - bounded
            await asyncio.sleep(0.02)
        for client in list(self._clients):
            client.abort()
        await asyncio.sleep(0)
        self.upstreams.close()
        self._spool.close()
        if "buckets" in self.__dict__:
            self.buckets.close()


async def _serve(config: Config) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    plane = Plane(config, loop)
    port = await plane.listen()
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    say_ready(str(port))
    watch_parent(lambda: loop.call_soon_threadsafe(stop.set))
    await stop.wait()
    await plane.stop()


def run(config: Config) -> int:
    """Serve until SIGTERM or SIGINT; gives the exit code."""
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.INFO)
    factory = getattr(uvloop, "new_event_loop", None)
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(_serve(config))
    except OSError as error:
        words = f"{config.host}:{config.port} cannot be listened on: {error.strerror or error}"
        print(words, flush=True)  # noqa: T201 - the line the supervisor waits for
        return 1
    return 0
