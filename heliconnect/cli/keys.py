"""`heliconnect keys`: make, list and revoke the keys of a gateway that others may reach."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from heliconnect.cli.folders import DataDir, data_folder
from heliconnect.server.keys import KEYS, KeyFileError, Keys

__all__ = ["app"]

app = typer.Typer(help="Keys of a gateway that others may reach.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(help="What the key is called: its holder, say.")]


@app.command()
def create(
    name: Name,
    write_only: Annotated[
        bool, typer.Option("--write-only", help="It may make calls and logs, and see no record.")
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Make a key and print it, this once; only its hash is kept."""
    try:
        key = _keys(data_dir).create(name, reads=not write_only)
    except KeyFileError as error:
        raise _failure(error) from error
    typer.echo(key)
    typer.echo("Set it as HELICONE_API_KEY where calls are made. It is not shown again.", err=True)


@app.command("list")
def list_keys(data_dir: DataDir = None) -> None:
    """Name, rights and age of every key."""
    try:
        keys = _keys(data_dir).all()
    except KeyFileError as error:
        raise _failure(error) from error
    if not keys:
        typer.echo("There are no keys; `heliconnect keys create NAME` makes one.", err=True)
    for key in keys:
        typer.echo(f"{key.name:<24} {'reads and writes' if key.reads else 'writes':<18} since {key.created_at}")


@app.command()
def revoke(name: Name, data_dir: DataDir = None) -> None:
    """Take a key away, at once; the records it made stay."""
    try:
        _keys(data_dir).revoke(name)
    except KeyFileError as error:
        raise _failure(error) from error
    typer.echo(f"{name} is revoked")


def _keys(data_dir: Path | None) -> Keys:
    return Keys(data_folder(data_dir) / KEYS)


def _failure(error: KeyFileError) -> typer.Exit:
    typer.echo(f"heliconnect: {error}", err=True)
    return typer.Exit(1)
