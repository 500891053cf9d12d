"""What several commands share: their options, how words become values, and which folder or server is meant."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

from heliconnect.cli.folders import data_folder
from heliconnect.errors import HeliconnectError, MissingExtraError, SettingsError
from heliconnect.routing import origin_of
from heliconnect.server.folder import holder_of
from heliconnect.settings import Gateway, Settings, from_env

try:
    import typer
except ImportError as exc:
    raise MissingExtraError("the heliconnect command", "server") from exc

__all__ = ["AsJson", "Url", "absolute_url", "age", "failure", "moment", "server_of"]

_AGE = re.compile(r"(\d{1,6}) ?([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_LONGEST = timedelta(days=36_500)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of lines for people.")]


def absolute_url(text: str) -> str:
    """The URL of a server, without a slash at its end."""
    if origin_of(text) is None:
        raise typer.BadParameter(f"expected a URL such as http://127.0.0.1:8787, got {text!r}")
    return text.rstrip("/")


Url = Annotated[
    str | None,
    typer.Option("--url", parser=absolute_url, metavar="URL", help="The running server; else HELICONE_BASE_URL."),
]


def age(text: str) -> timedelta:
    """How old: "30d", "12h", "90m", "2w"."""
    found = _AGE.fullmatch(text.strip().lower())
    length = timedelta() if found is None else timedelta(**{_UNITS[found[2]]: int(found[1])})
    if not timedelta() < length <= _LONGEST:
        raise typer.BadParameter(f"expected an age such as 30d, 12h or 2w, got {text!r}")
    return length


def moment(text: str) -> datetime:
    """A time: ISO 8601, in UTC where it names no zone, or an age such as "7d" for as long ago."""
    if _AGE.fullmatch(text.strip().lower()):
        return datetime.now(UTC) - age(text)
    try:
        found = datetime.fromisoformat(text.strip())
        return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        said = f"expected a time such as 2026-03-01T12:00Z, or an age such as 7d, got {text!r}"
        raise typer.BadParameter(said) from error


def server_of(url: str | None, data_dir: Path | None) -> Settings:
    """Which server is meant: the one at `url`, else that of the folder, else HELICONE_BASE_URL's or the local one.

    HELICONE_API_KEY goes with each: a server that others can reach asks for it.

    Raises SettingsError when both are named, HeliconnectError when no server runs on a folder that was named.
    """
    if url is not None and data_dir is not None:
        raise SettingsError("expected --url or --data-dir, got both: each alone names a server")
    if url is not None:
        return replace(from_env(os.environ), base_url=url)
    if data_dir is not None:
        holder = holder_of(data_folder(data_dir))
        if holder is None or holder.url is None:
            raise HeliconnectError(
                f"no server runs on {data_folder(data_dir)}: start it with `heliconnect up --data-dir {data_dir}`, or "
                "name a running one with --url"
            )
        return replace(from_env(os.environ), base_url=holder.url)
    settings = from_env(os.environ)
    holder = holder_of(data_folder(None))
    is_named = bool(os.environ.get("HELICONE_BASE_URL", "").strip())
    if settings.gateway is Gateway.LOCAL and not is_named and holder is not None and holder.url is not None:
        return replace(settings, base_url=holder.url)
    return settings


def failure(error: HeliconnectError) -> typer.Exit:
    """Say what went wrong; 2 for words and settings that cannot be used, else 1."""
    typer.echo(f"heliconnect: {error}", err=True)
    return typer.Exit(2 if isinstance(error, SettingsError) else 1)
