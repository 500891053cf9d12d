"""Tools for tests of the operating commands: the commands in this process, and a server with records of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from typer.testing import CliRunner

from heliconnect.cli.commands import app
from heliconnect.exchange import Exchange
from heliconnect.server.supervisor import Server, ServerOptions, running
from heliconnect.store import open_store

__all__ = ["Done", "Operated", "operate", "serving", "stored"]

CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Why?"}]}


@dataclass(frozen=True, slots=True)
class Done:
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str


def operate(*words: object, said: bytes | None = None, **environ: str) -> Done:
    """Run a command; `said` is its standard input."""
    result = CliRunner().invoke(app, [str(word) for word in words], input=said, env=environ, catch_exceptions=False)
    return Done(result.exit_code, result.stdout, result.stderr)


def stored(folder: Path) -> list[Exchange]:
    """All records of a folder, bodies included, in the order of arrival."""
    store = open_store(folder / "heliconnect.db", read_only=True)
    try:
        rows = store.page(newest_first=False, limit=1_000)
        return [row.exchange for row in store.with_bodies(rows)]
    finally:
        store.close()


@dataclass(frozen=True, slots=True)
class Operated:
    """A running server, its folder, and calls through it."""

    server: Server
    folder: Path

    @property
    def url(self) -> str:
        return self.server.url

    def call(self, user: str = "ada", path: str = "/v1/chat/completions", **headers: str) -> str:
        """One call, stored when this returns; gives its request id."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = httpx.post(self.url + path, json=CHAT, headers={"Helicone-User-Id": user, **named})
        request_id = answer.headers["helicone-id"]
        deadline = time.monotonic() + 10
        while httpx.get(f"{self.url}/v1/request/{request_id}").status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return request_id

    def records(self, **query: Any) -> list[dict[str, Any]]:
        """What the REST API gives, in the order of arrival."""
        answer = httpx.post(f"{self.url}/v1/request/query-clickhouse", json={"limit": 1000, **query})
        found: list[dict[str, Any]] = answer.json()["data"]
        return found[::-1]


@contextmanager
def serving(folder: Path, provider_url: str, port: int = 0) -> Iterator[Operated]:
    """A server on `folder`, in front of a scripted provider."""
    with running(ServerOptions(folder, port=port, upstreams={"openai": provider_url})) as server:
        yield Operated(server, folder)
