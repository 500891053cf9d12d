"""Where a command finds the records: the data folder and its option."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from heliconnect.errors import MissingExtraError

try:
    import platformdirs
    import typer
except ImportError as exc:
    raise MissingExtraError("the heliconnect command", "server") from exc

__all__ = ["DataDir", "data_folder"]

DataDir = Annotated[Path | None, typer.Option(help="Where records are kept.", file_okay=False)]


def data_folder(given: Path | None) -> Path:
    """The folder that was given, else ~/.local/share/heliconnect on Linux; absolute."""
    return (given or Path(platformdirs.user_data_dir("heliconnect", appauthor=False))).expanduser().absolute()
