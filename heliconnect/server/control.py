"""The control plane: REST, pages, and the writer, in one process behind a unix socket.

`python -m heliconnect.server.control CONFIG_JSON`, where the config names the socket, the store, the spool and the host
names the server may be called by. Ends on SIGTERM: the spool is emptied into the store first.
"""

from __future__ import annotations

import contextlib
import json
import logging
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from heliconnect._version import __version__
from heliconnect.errors import HeliconnectError, MissingExtraError, StoreError
from heliconnect.price_list import PriceList
from heliconnect.recorder import finish
from heliconnect.server import dashboard
from heliconnect.server.child import say_ready, watch_parent
from heliconnect.server.features.charging import Charges
from heliconnect.server.features.limits import LIMITS
from heliconnect.server.gate import Gate
from heliconnect.server.guard import Guard
from heliconnect.server.ingest import Ingest
from heliconnect.server.ingest import router as logs
from heliconnect.server.keys import Keys
from heliconnect.server.otlp import otlp_router
from heliconnect.server.otlp.traces import Traces
from heliconnect.server.redaction import Redaction
from heliconnect.server.rest import ROUTERS, prometheus_router
from heliconnect.server.retention import Retention
from heliconnect.server.writer import Writer, WriterStatus
from heliconnect.spool import SpoolReader, SpoolWriter
from heliconnect.store import Store, open_store
from heliconnect.store.filters import FilterError

try:
    import uvicorn
    from fastapi import FastAPI, Request
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import JSONResponse, RedirectResponse
    from starlette.exceptions import HTTPException
except ImportError as exc:
    raise MissingExtraError("heliconnect.server", "server") from exc

__all__ = ["ControlConfig", "create_app", "run"]

_log = logging.getLogger("heliconnect")


@dataclass(frozen=True, slots=True)
class ControlConfig:
    """Where the control plane listens and keeps its records; keys is the file of those who may see them, if asked.

    redact is the file of the rules that logs and imports are held to, prices that of prices of one's own. Records are
    kept for keep_s seconds; None is for ever.
    """

    socket: str
    store: str
    spool: str
    hosts: list[str] = field(default_factory=list)
    keys: str | None = None
    redact: str | None = None
    keep_s: float | None = None
    prices: str | None = None


def create_app(
    store: Store,
    status: Callable[[], WriterStatus],
    hosts: list[str],
    ingest: Ingest | None = None,
    keys: Keys | None = None,
    redaction: Redaction | None = None,
    traces: Traces | None = None,
) -> Guard:
    """The whole app: REST below /v1, pages below /ui, /healthcheck, /metrics, logs and traces; guarded.

    With keys only their holders see records; then an address may stand for the server's name. redaction holds the
    rules for records that are imported.
    """
    app = FastAPI(title="heliconnect", version=__version__, docs_url=None, redoc_url=None)
    app.state.store = store
    app.state.redaction = redaction
    for router in ROUTERS:
        app.include_router(router)
    app.include_router(prometheus_router(status))
    if ingest is not None:
        app.include_router(logs(ingest))
    if traces is not None:
        app.include_router(otlp_router(traces))

    @app.get("/healthcheck")
    def healthcheck() -> JSONResponse:
        """Whether records are kept; 503 while the store refuses them. Calls are forwarded in either case."""
        found = status()
        facts = {"status": "ok" if found.error is None else "degraded", "version": __version__, **asdict(found)}
        return JSONResponse(facts, 200 if found.error is None else 503)

    @app.get("/", include_in_schema=False)
    def root() -> RedirectResponse:
        return RedirectResponse("/ui/")

    @app.get("/docs", include_in_schema=False)
    def docs() -> RedirectResponse:
        return RedirectResponse("/openapi.json")

    app.mount("/ui", dashboard.create(store, status=lambda: _page_status(status())))
    _add_error_answers(app)
    if keys is None:
        return Guard(app, hosts)
    return Guard(Gate(app, keys, time.time), hosts, takes_addresses=True)


def _page_status(found: WriterStatus) -> dashboard.Status:
    return dashboard.Status(dropped=found.dropped, waiting_bytes=found.waiting_bytes, error=found.error)


def _add_error_answers(app: FastAPI) -> None:
    """Errors in the API's envelope, without anything of the inside."""

    def answer(status: int, words: str) -> JSONResponse:
        sayable = words.encode("utf-8", "replace").decode()  # they may quote half a surrogate pair
        return JSONResponse({"data": None, "error": sayable}, status)

    @app.exception_handler(FilterError)
    def bad_filter(_: Request, error: FilterError) -> JSONResponse:
        return answer(400, str(error))

    @app.exception_handler(StoreError)
    def store_trouble(_: Request, error: StoreError) -> JSONResponse:
        _log.error("%s", error)
        return answer(503, "the store cannot be read now; calls are forwarded and spooled all the same")

    @app.exception_handler(HTTPException)
    def known(_: Request, error: HTTPException) -> JSONResponse:
        return answer(error.status_code, str(error.detail))

    @app.exception_handler(RequestValidationError)
    def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return answer(422, f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}")

    @app.exception_handler(Exception)
    def unforeseen(_: Request, __: Exception) -> JSONResponse:
        return answer(500, "an error of the server; its log says more")


class _Server(uvicorn.Server):
    """Says when it serves."""

    async def startup(self, sockets: list[Any] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            say_ready()


def run(config: ControlConfig) -> int:
    """Serve until SIGTERM or SIGINT; gives the exit code."""
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.INFO)
    try:
        store = open_store(config.store)
    except HeliconnectError as error:
        print(error, flush=True)  # noqa: T201 - the line the supervisor waits for
        return 1
    spool = Path(config.spool)
    prices = None if config.prices is None else PriceList.from_file(Path(config.prices))
    read = partial(finish, own_prices=prices)
    writer = Writer(SpoolReader(spool), store, read, spool.parent, Charges(spool.parent / LIMITS).charge)
    writer.start()
    retention = None if config.keep_s is None else Retention(store, timedelta(seconds=config.keep_s))
    if retention is not None:
        retention.start()
    logged = SpoolWriter(spool)
    keys = None if config.keys is None else Keys(Path(config.keys))
    rules = None if config.redact is None else Redaction.from_file(Path(config.redact))
    taken = Ingest(logged, lambda known: store.get(known) is not None, rules)
    traces = Traces(taken)
    app = create_app(store, writer.status, config.hosts, taken, keys, rules, traces)
    server = _Server(
        uvicorn.Config(app, uds=config.socket, log_level="warning", timeout_graceful_shutdown=3, server_header=False)
    )

    def stop(*_: object) -> None:
        server.should_exit = True

    # uvicorn raises SIGTERM anew when it has stopped: without a handler of ours the process would end undrained.
    signal.signal(signal.SIGTERM, stop)
    watch_parent(stop)
    with contextlib.suppress(KeyboardInterrupt):
        server.run()
    traces.close()
    logged.close()
    if retention is not None:
        retention.stop()
    writer.stop()
    store.close()
    return 0


if __name__ == "__main__":
    sys.exit(run(ControlConfig(**json.loads(sys.argv[1]))))
