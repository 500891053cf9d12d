"""Task queues: who enqueued a task is who its calls are for, in the real workers of the real libraries."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest

import heliconnect as hc

USERS = [f"user-{n}" for n in range(5)]


def user() -> Any:
    return hc.current().user_id


def test_celery_tasks_run_for_whom_they_were_sent() -> None:
    """In a worker's thread; a task without a context gets none of another's, a retried one keeps its own."""
    celery = pytest.importorskip("celery", reason="celery is not installed")
    from celery.contrib.testing.worker import start_worker

    from heliconnect.tasks.celery import carry_celery

    carry_celery()
    carry_celery()
    app = celery.Celery("tests", broker="memory://", backend="cache+memory://")

    @app.task(name="who", bind=True, max_retries=1)
    def who(self: Any) -> Any:
        if self.request.retries == 0 and user() == USERS[0]:
            raise self.retry(countdown=0)
        return user()

    with start_worker(app, perform_ping_check=False, pool="threads", concurrency=3, loglevel="error"):
        results = []
        for name in USERS * 4:
            with hc.context(user_id=name):
                results.append(who.delay())
        assert [one.get(timeout=20) for one in results] == USERS * 4
        assert who.delay().get(timeout=20) is None
    with hc.context(user_id="here"):
        assert who.apply().get() == "here"
        assert user() == "here"


def test_dramatiq_actors_run_for_whom_they_were_sent() -> None:
    """Synchronous and asynchronous actors; failures are retried for the same user; nothing is left on the thread."""
    dramatiq = pytest.importorskip("dramatiq", reason="dramatiq is not installed")
    from dramatiq.brokers.stub import StubBroker
    from dramatiq.middleware import AsyncIO

    from heliconnect.tasks.dramatiq import CarryContext

    broker = StubBroker()
    broker.emit_after("process_boot")
    broker.add_middleware(AsyncIO())
    broker.add_middleware(CarryContext())
    found: list[tuple[str, Any]] = []

    @dramatiq.actor(broker=broker, max_retries=1, min_backoff=1, max_backoff=1)
    def plain(name: str) -> None:
        found.append((name, user()))
        if len(found) == 1:
            raise ValueError(name)

    @dramatiq.actor(broker=broker)
    async def later(name: str) -> None:
        await asyncio.sleep(0.001)
        found.append((name, user()))

    worker = dramatiq.Worker(broker, worker_timeout=50, worker_threads=2)
    worker.start()
    try:
        for name in USERS * 3:
            with hc.context(user_id=name):
                plain.send(name)
                later.send(name)
        plain.send("nobody")
        broker.join(plain.queue_name, timeout=20_000)
        worker.join()
    finally:
        worker.stop()
    assert len(found) == 32
    assert all(got == (None if name == "nobody" else name) for name, got in found)


@contextlib.contextmanager
def redis_server() -> Iterator[int]:
    """A Redis server on a free port of loopback."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    process = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(10)


async def test_arq_jobs_run_for_whom_they_were_enqueued() -> None:
    """The pool and the worker have one line each; jobs without a context have none."""
    pytest.importorskip("arq", reason="arq is not installed")
    from arq import create_pool, func
    from arq.connections import RedisSettings
    from arq.worker import Worker

    from heliconnect.tasks.arq import carry_job, carry_pool

    found: list[tuple[str, Any]] = []

    async def who(ctx: dict[str, Any], name: str) -> None:
        await asyncio.sleep(0.001)
        found.append((name, user()))

    with redis_server() as port:
        settings = RedisSettings(port=port)
        pool = carry_pool(carry_pool(await create_pool(settings)))
        for name in USERS * 3:
            with hc.context(user_id=name):
                await pool.enqueue_job("who", name)
        await pool.enqueue_job("who", "nobody")
        worker = Worker(
            [func(who, name="who")], redis_settings=settings, on_job_start=carry_job, burst=True, handle_signals=False
        )
        await worker.main()
        await worker.close()
        await (pool.aclose if hasattr(pool, "aclose") else pool.close)()  # its name since redis 5
    assert len(found) == 16
    assert all(got == (None if name == "nobody" else name) for name, got in found)
