"""The commands and their options; each says what went wrong and what to do, and exits with 1, or 2 for bad words."""

from __future__ import annotations

import ipaddress
import logging
import os
from datetime import timedelta
from pathlib import Path
from typing import Annotated

from heliconnect._version import __version__
from heliconnect.errors import HeliconnectError, MissingExtraError
from heliconnect.settings import get_settings

try:
    import typer
except ImportError as exc:
    raise MissingExtraError("the heliconnect command", "server") from exc

from heliconnect.cli import keys as keys_commands
from heliconnect.cli.doctor import load_app, run_doctor, run_verify
from heliconnect.cli.folders import DataDir, data_folder
from heliconnect.cli.operations import operations
from heliconnect.cli.options import AsJson, age, failure
from heliconnect.price_list import PriceList
from heliconnect.routing import origin_of
from heliconnect.server.keys import has_keys
from heliconnect.server.redaction import Redaction
from heliconnect.server.supervisor import ServerOptions, running

__all__ = ["app"]

app = typer.Typer(
    help="Who caused each LLM call, what was said and what it cost.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(keys_commands.app, name="keys")

Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")]
Upstream = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=URL", help="Send a provider's calls elsewhere; may be given repeatedly."),
]
AllowTarget = Annotated[
    list[str] | None, typer.Option(metavar="HOST", help="A private host that Helicone-Target-URL may name; repeatable.")
]


@app.command()
def up(
    port: Port = 8787,
    host: Annotated[
        str, typer.Option(help="Address to listen on; any but a loopback one demands keys of its callers.")
    ] = "127.0.0.1",
    data_dir: DataDir = None,
    upstream: Upstream = None,
    allow_target: AllowTarget = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Proxy processes that share the port.")] = 1,
    name: Annotated[
        list[str] | None, typer.Option(metavar="HOST", help="A host name the server is called by; repeatable.")
    ] = None,
    redact: Annotated[
        Path | None, typer.Option(help="Rules for what is taken out of records, in TOML.", dir_okay=False)
    ] = None,
    prices: Annotated[
        Path | None, typer.Option(help="Prices of your own, before the public ones, in TOML.", dir_okay=False)
    ] = None,
    keys: Annotated[bool, typer.Option("--keys", help="Demand keys on a loopback address too.")] = False,
    keep: Annotated[
        timedelta | None,
        typer.Option(parser=age, metavar="AGE", help="Remove records that are older, once an hour: 30d, 12h, 2w."),
    ] = None,
) -> None:
    """Start the proxy and the dashboard; Ctrl-C stops them."""
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.INFO)
    options = ServerOptions(
        data_dir=data_folder(data_dir),
        host=host,
        port=port,
        workers=workers,
        upstreams=_upstreams(upstream or []),
        allow_targets=tuple(allow_target or []),
        names=tuple(name or []),
        demands_keys=keys or not _is_loopback(host),
        redact=None if redact is None else redact.absolute(),
        keep=keep,
        prices=None if prices is None else prices.absolute(),
    )
    try:
        _check(options)
        with running(options) as server:
            typer.echo(
                f"heliconnect {__version__}\n"
                f"  gateway    {server.url}    (HELICONE_BASE_URL={server.url})\n"
                f"  dashboard  {server.url}/ui\n"
                f"  records    {options.data_dir}\n"
                "Ctrl-C stops it."
            )
            server.wait()
            typer.echo("stopping: calls under way are finished, records are stored")
    except HeliconnectError as error:
        raise failure(error) from error


@app.command()
def demo(
    port: Port = 8787,
    once: Annotated[
        bool, typer.Option("--once", help="End after the traffic, with a summary and an exit code.")
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Start the server, a scripted provider and an example app, and send traffic through every adapter."""
    from heliconnect.cli.demo import run_demo  # here, because it needs packages that no other command does

    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.WARNING)
    try:
        code = run_demo(port, once=once, data_dir=data_dir)
    except HeliconnectError as error:
        raise failure(error) from error
    raise typer.Exit(code)


@app.command()
def verify(as_json: AsJson = False) -> None:
    """Send one call through each installed adapter, read its record back, say what arrived and what is missing."""
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.WARNING)
    try:
        code = run_verify(get_settings(), typer.echo, as_json=as_json)
    except HeliconnectError as error:
        raise failure(error) from error
    raise typer.Exit(code)


@app.command()
def doctor(
    as_json: AsJson = False,
    app_module: Annotated[
        str | None, typer.Option("--app", metavar="MODULE", help="Import your app first, and look at its process.")
    ] = None,
) -> None:
    """Find what is set up wrongly and say what to do, then verify; ends with 1 when calls or records are lost."""
    logging.basicConfig(format="%(levelname)s %(message)s", level=logging.WARNING)
    try:
        if app_module is not None:
            load_app(app_module)
        code = run_doctor(dict(os.environ), typer.echo, as_json=as_json, has_app=app_module is not None)
    except HeliconnectError as error:
        raise failure(error) from error
    raise typer.Exit(code)


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def _check(options: ServerOptions) -> None:
    """Say what is wrong before anything starts. Raises HeliconnectError."""
    if options.redact is not None:
        Redaction.from_file(options.redact)
    if options.prices is not None:
        PriceList.from_file(options.prices)
    if options.demands_keys and not has_keys(options.data_dir):
        raise HeliconnectError(
            f"on {options.host} others may reach the gateway, so its callers need keys, and there are none: "
            "`heliconnect keys create NAME` makes one"
        )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError as error:
        raise typer.BadParameter(f"expected an IP address or localhost, got {host!r}", param_hint="--host") from error


def _upstreams(items: list[str]) -> dict[str, str]:
    found = {}
    for item in items:
        name, equals, url = item.partition("=")
        if not equals or not name or origin_of(url) is None:
            raise typer.BadParameter(
                f"expected NAME=URL such as openai=http://127.0.0.1:9000, got {item!r}", param_hint="--upstream"
            )
        found[name] = url.rstrip("/")
    return found


app.add_typer(operations)
