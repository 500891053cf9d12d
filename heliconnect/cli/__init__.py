"""The command line: `heliconnect up`, `status`, `tail`, `verify` and the others. Built with Typer."""

from __future__ import annotations

import sys

from heliconnect.errors import MissingExtraError


def main() -> None:
    """Entry point of the `heliconnect` command; says what to install when its extra is missing."""
    try:
        from heliconnect.cli.commands import app
    except MissingExtraError as error:
        sys.exit(str(error))
    app()


__all__ = ["main"]
