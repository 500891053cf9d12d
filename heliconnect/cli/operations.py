"""The commands for who runs a server: status, tail, export, import, prune, backup.

Each works on a data folder or asks a running server, ends with 0 when all went well, with 1 when something is wrong and
with 2 for words that cannot be used. What a command needs is imported when it runs: `up` and `version` stay small.
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

from heliconnect.cli.folders import DataDir, data_folder
from heliconnect.cli.options import AsJson, Url, age, failure, moment, server_of
from heliconnect.errors import HeliconnectError, MissingExtraError
from heliconnect.server.folder import holder_of

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


@operations.command()
def status(url: Url = None, data_dir: DataDir = None, as_one: AsJson = False) -> None:
    """Say whether a server runs, how it is, and what it keeps; ends with 1 unless all is well."""
    from heliconnect.cli.status import as_json, look, say

    with _explained():
        folder, settings = data_folder(data_dir), None
        holder = holder_of(folder)
        is_named = url is not None or (data_dir is None and os.environ.get("HELICONE_BASE_URL", "").strip())
        if is_named:
            settings = server_of(url, data_dir)
        elif holder is not None and holder.url is not None:
            settings = server_of(None, folder)
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
    from heliconnect.cli.tail import follow, line_of, matching

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
    from heliconnect.cli.transfer import chosen, export_to

    with _explained():
        where = chosen(user, session, model, since, until)
        place = sys.stdout.buffer if target == "-" else Path(target).expanduser()
        written = export_to(data_folder(data_dir), place, where)
    _warn("1 record exported" if written == 1 else f"{written:,} records exported")


@operations.command("import")
def import_(
    source: Annotated[typer.FileBinaryRead, typer.Argument(metavar="FILE|-", help="Lines of JSON; - is the input.")],
    data_dir: DataDir = None,
    redact: Annotated[
        Path | None, typer.Option(help="Rules for what is taken out first, as for up.", dir_okay=False)
    ] = None,
) -> None:
    """Take in lines of JSON, as export or Helicone writes them; what is stored already is left out."""
    from heliconnect.cli.transfer import Imported, import_from

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
            import_from(data_folder(data_dir), source, report, redact)
    finally:
        if bad > _MAX_SAID:
            _warn(f"... and {bad - _MAX_SAID:,} more such lines")
        typer.echo(f"{new:,} new, {known:,} stored already, {bad:,} left out")
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
    from heliconnect.cli.upkeep import count_old, remove_old

    with _explained():
        act = count_old if dry_run else remove_old
        act(data_folder(data_dir), datetime.now(UTC) - older_than, typer.echo, bodies_only=bodies_only)


@operations.command()
def backup(
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="A new file.", dir_okay=False)],
    data_dir: DataDir = None,
) -> None:
    """Copy the store as it stands at one moment, and check the copy; a server may run meanwhile."""
    from heliconnect.cli.upkeep import copy_to

    with _explained():
        copy_to(data_folder(data_dir), target.expanduser(), typer.echo)


def _warn(words: str) -> None:
    typer.echo(f"heliconnect: {words}", err=True)
