"""`heliconnect status`: whether a server runs, how it is, and what it keeps. Unknown is None, and said so."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from heliconnect.cli.asking import ask, data_of
from heliconnect.errors import ApiError, HeliconnectError
from heliconnect.server.dashboard.format import count, size
from heliconnect.server.folder import Holder, holder_of, spool_of, store_of
from heliconnect.settings import Gateway, Settings
from heliconnect.spool import SpoolReader
from heliconnect.store import Store, open_store

__all__ = ["Status", "as_json", "look", "say"]


@dataclass(frozen=True, slots=True)
class Status:
    """What is known of a server and its data folder.

    health is "ok", "degraded" (calls are forwarded, their records wait), or "unreachable"; None where no server runs.
    error is the store's or the connection's trouble. dropped counts records lost since the folder was made, set_aside
    those that the store refused; waiting_bytes lie in the spool. data_dir is None where only the URL is known.
    """

    running: bool = False
    health: str | None = None
    url: str | None = None
    version: str | None = None
    process: int | None = None
    data_dir: str | None = None
    records: int | None = None
    waiting_bytes: int | None = None
    dropped: int | None = None
    set_aside: int | None = None
    size_bytes: int | None = None
    error: str | None = None

    @property
    def is_well(self) -> bool:
        """Whether calls are forwarded and their records kept."""
        return self.health == "ok"


def look(settings: Settings | None, folder: Path | None) -> Status:
    """The status of the server at `settings`, of that on `folder`, or of both: then they are the same.

    Raises HeliconnectError where the URL is that of Helicone's own servers, which do not tell.
    """
    holder = None if folder is None else holder_of(folder)
    found = Status() if folder is None else _of_folder(folder, holder)
    return found if settings is None else _of_server(settings, found)


def _of_server(settings: Settings, found: Status) -> Status:
    if settings.gateway is not Gateway.LOCAL:
        raise HeliconnectError(
            f"{settings.base_url} is Helicone's own, which says nothing of its health: `heliconnect doctor` asks any "
            "gateway; for a server of heliconnect's name its --url or --data-dir"
        )
    try:
        answer = ask(settings, "/healthcheck")
    except ApiError as error:
        return replace(found, health="unreachable", url=settings.base_url, error=str(error))
    facts = answer.said
    if not isinstance(facts, dict) or "waiting_bytes" not in facts:
        told = f"what answers at {settings.base_url} is no server of heliconnect's: name another with --url"
        return replace(found, health="unreachable", url=settings.base_url, error=told)
    records = found.records
    with contextlib.suppress(ApiError):  # health and the rest are told all the same
        records = int(data_of(ask(settings, "/v1/request/count/query", b"{}")))
    return replace(
        found,
        running=True,
        url=settings.base_url,
        records=records,
        set_aside=facts.get("set_aside") if found.set_aside is None else found.set_aside,
        health=facts.get("status"),
        error=facts.get("error"),
        **{name: facts.get(name) for name in ("version", "waiting_bytes", "dropped")},
    )


def _of_folder(folder: Path, holder: Holder | None) -> Status:
    found = Status(
        running=holder is not None,
        health=None if holder is None else "unreachable",
        process=None if holder is None else holder.process,
        data_dir=str(folder),
    )
    if not store_of(folder).exists():
        told = f"{folder} holds no records yet: `heliconnect up` makes them; another folder is named with --data-dir"
        return replace(found, error=told)
    try:
        store = open_store(store_of(folder), read_only=True)
    except HeliconnectError as error:
        return replace(found, error=str(error), size_bytes=_size(folder))
    try:
        return replace(
            found,
            records=store.count(),
            waiting_bytes=_waiting(folder, store),
            dropped=SpoolReader(spool_of(folder)).dropped() if spool_of(folder).is_dir() else 0,
            set_aside=len(list((folder / "aside").glob("*.spool"))),
            size_bytes=_size(folder),
        )
    except (HeliconnectError, ValueError, OSError) as error:
        return replace(found, error=str(error), size_bytes=_size(folder))
    finally:
        store.close()


def _waiting(folder: Path, store: Store) -> int:
    if not spool_of(folder).is_dir():
        return 0
    reader = SpoolReader(spool_of(folder))
    return max(0, reader.size_bytes() - sum(store.mark(segment) for segment in reader.segments()))


def _size(folder: Path) -> int:
    """All that the folder takes: the store, the spool, and what was set aside."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # a segment that was stored meanwhile
            if path.is_file():
                total += path.stat().st_size
    return total


def as_json(found: Status) -> dict[str, Any]:
    """All of it, as one object."""
    return {"ok": found.is_well, **asdict(found)}


def say(found: Status, echo: Callable[[str], None]) -> None:
    """The same as lines for people, with what to do where something is wrong."""
    if found.health is None:
        echo(f"no server runs on {found.data_dir}: start one with `heliconnect up --data-dir {found.data_dir}`")
    else:
        version = f"heliconnect {found.version}" if found.version else "heliconnect"
        process = f" (process {found.process})" if found.process is not None else ""
        echo(f"{version} at {found.url or 'an unknown URL'}{process}: {found.health}")
    if found.error:
        echo(f"  trouble    {found.error}")
    echo(f"  records    {_or_unknown(found.records, count)}")
    echo(f"  waiting    {_or_unknown(found.waiting_bytes, size)} in the spool")
    echo(f"  dropped    {_or_unknown(found.dropped, count)}")
    echo(f"  set aside  {_or_unknown(found.set_aside, count)}")
    if found.data_dir is not None:
        echo(f"  on disk    {_or_unknown(found.size_bytes, size)} in {found.data_dir}")


def _or_unknown(value: int | None, shown: Callable[[int], str]) -> str:
    return "unknown" if value is None else shown(value)
