"""The commands for who runs a server: status, tail, export, import, prune, backup.

Each works on a data folder or asks a running server, ends with 0 when all went well, with 1 when something is wrong and
with 2 for words that cannot be used.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

from heliconnect.cli.options import AsJson, DataDir, Url, age, failure, folder_of, moment, server_of
from heliconnect.cli.status import as_json, look, say
from heliconnect.cli.tail import follow, line_of, matching
from heliconnect.cli.transfer import chosen, existing_store, export_to, import_from
from heliconnect.errors import HeliconnectError, MissingExtraError
from heliconnect.server.dashboard.format import count, size
from heliconnect.server.folder import holder_of
from heliconnect.server.rest.importing import Imported
from heliconnect.server.retention import prune as remove_old
from heliconnect.store import back_up, open_store
from heliconnect.store.filters import FilterError

try:
    import typer
except ImportError as exc:
    raise MissingExtraError("the heliconnect command", "server") from exc

__all__ = ["operations"]

operations = typer.Typer(pretty_exceptions_enable=False)
_MAX_SAID = 20

User = Annotated[str | None, typer.Option("--user", help="Only calls of this user.")]
Session = Annotated[str | None, typer.Option("--session", help="Only calls of the session with this id.")]
Model = Annotated[str | None, typer.Option("--model", help="Only calls of this model.")]
Since = Annotated[
    datetime | None,
    typer.Option("--since", parser=moment, metavar="TIME", help="Only calls begun then or later: ISO 8601, or 7d."),
]
Until = Annotated[
    datetime | None, typer.Option("--until", parser=moment, metavar="TIME", help="Only calls begun before then.")
]


@contextmanager
def _explained() -> Iterator[None]:
    """Errors as words and an exit code."""
    try:
        yield
    except HeliconnectError as error:
        raise failure(error) from error
    except FilterError as error:
        raise failure(HeliconnectError(str(error))) from error


@operations.command()
def status(url: Url = None, data_dir: DataDir = None, as_one: AsJson = False) -> None:
    """Say whether a server runs, how it is, and what it keeps; ends with 1 unless all is well."""
    with _explained():
        folder, settings = folder_of(data_dir), None
        if url is not None or (data_dir is None and os.environ.get("HELICONE_BASE_URL", "").strip()):
            settings = server_of(url, data_dir)
        holder = holder_of(folder)
        is_same = settings is None or (holder is not None and holder.url == settings.base_url)
        found = look(settings, folder if is_same else None)
    if as_one:
        typer.echo(json.dumps(as_json(found), indent=2, ensure_ascii=False))
    else:
        say(found, typer.echo)
    raise typer.Exit(0 if found.is_well else 1)


@operations.command()
def tail(
    url: Url = None,
    data_dir: DataDir = None,
    user: User = None,
    session: Session = None,
    model: Model = None,
    errors: Annotated[bool, typer.Option("--errors", help="Only calls that failed.")] = False,
    last: Annotated[int, typer.Option(min=0, max=1000, help="Print so many of the latest records first.")] = 0,
    every_s: Annotated[float, typer.Option("--every", min=0.1, max=3600, help="Seconds between two looks.")] = 1.0,
    as_lines: Annotated[bool, typer.Option("--json", help="Print whole records as lines of JSON.")] = False,
) -> None:
    """Print the records of a running server as they come; Ctrl-C ends it."""
    wanted = matching(user=user, session=session, model=model, errors=errors)
    try:
        with _explained():
            for record in follow(server_of(url, data_dir), wanted, last=last, every_s=every_s, warn=_warn):
                typer.echo(json.dumps(record, ensure_ascii=False) if as_lines else line_of(record))
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


@operations.command()
def export(
    target: Annotated[str, typer.Argument(metavar="FILE|-", help="A new file, or - for the standard output.")],
    data_dir: DataDir = None,
    user: User = None,
    session: Session = None,
    model: Model = None,
    since: Since = None,
    until: Until = None,
) -> None:
    """Write records as lines of JSON in Helicone's shape, bodies included; a server may run meanwhile."""
    with _explained():
        where = chosen(user, session, model, since, until)
        place = sys.stdout.buffer if target == "-" else Path(target).expanduser()
        written = export_to(folder_of(data_dir), place, where)
    _warn(f"{_records(written)} exported")


@operations.command("import")
def import_(
    source: Annotated[typer.FileBinaryRead, typer.Argument(metavar="FILE|-", help="Lines of JSON; - is the input.")],
    data_dir: DataDir = None,
) -> None:
    """Take in lines of JSON, as export or Helicone writes them; what is stored already is left out."""
    new, known, bad = 0, 0, 0

    def report(found: Imported) -> None:
        nonlocal new, known, bad
        new, known = new + found.new, known + found.known
        for problem in found.problems:
            bad += 1
            if bad <= _MAX_SAID:
                _warn(f"line {problem.line}: {problem.reason}")

    try:
        with _explained():
            import_from(folder_of(data_dir), source, report)
    finally:
        if bad > _MAX_SAID:
            _warn(f"... and {count(bad - _MAX_SAID)} more such lines")
        typer.echo(f"{count(new)} new, {count(known)} stored already, {count(bad)} left out")
    raise typer.Exit(1 if bad else 0)


@operations.command()
def prune(
    older_than: Annotated[
        timedelta, typer.Option(parser=age, metavar="AGE", help="Remove calls begun longer ago: 30d, 12h, 2w.")
    ],
    data_dir: DataDir = None,
    bodies_only: Annotated[
        bool, typer.Option("--bodies-only", help="Remove only what was said: bodies and previews.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many it would be.")] = False,
) -> None:
    """Remove old records and give their space back; a server may run meanwhile."""
    with _explained():
        folder, before = folder_of(data_dir), datetime.now(UTC) - older_than
        path = existing_store(folder)
        lose = "lose their bodies" if bodies_only else "be removed"
        of_when = f"from before {before:%Y-%m-%d %H:%M:%S} UTC"
        store = open_store(path, read_only=dry_run)
        try:
            if dry_run:
                typer.echo(f"{_records(store.count_before(before, bodies_only=bodies_only))} {of_when} would {lose}")
                return
            taken = path.stat().st_size
            removed = remove_old(store, before, bodies_only=bodies_only)
            free = store.shrink(rewrite=holder_of(folder) is None)
        finally:
            store.close()
        given_back = max(0, taken - path.stat().st_size)
        done = "lost their bodies" if bodies_only else "were removed"
        typer.echo(f"{_records(removed)} {of_when} {done}; {size(given_back)} given back to the disk")
        if free:
            typer.echo(
                f"{size(free)} stay free in {path} for new records; to give them back as well, stop the server and "
                "prune again"
            )


@operations.command()
def backup(
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="A new file.", dir_okay=False)],
    data_dir: DataDir = None,
) -> None:
    """Copy the store as it stands at one moment, and check the copy; a server may run meanwhile."""
    with _explained():
        folder, place = folder_of(data_dir), target.expanduser()
        back_up(existing_store(folder), place)
        found = look(None, folder)
        typer.echo(f"{place}: {size(place.stat().st_size)}, whole and checked")
        if found.waiting_bytes:
            typer.echo(f"{size(found.waiting_bytes)} that wait in the spool are not in it")


def _records(number: int) -> str:
    return "1 record" if number == 1 else f"{count(number)} records"


def _warn(words: str) -> None:
    typer.echo(f"heliconnect: {words}", err=True)
