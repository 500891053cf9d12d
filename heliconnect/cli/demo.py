"""`heliconnect demo`: the whole way on one machine, without any account, key or network.

Starts a scripted provider, the server in a folder of its own, and the example app (examples/fastapi_app.py); five users
send web requests at once, whose calls go through the OpenAI and Anthropic SDKs, LangChain, LangGraph and LiteLLM. Then
every record is read back over REST and held against what was sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

from heliconnect.cli import traffic
from heliconnect.cli.summary import read_records, summarize
from heliconnect.errors import HeliconnectError, MissingExtraError
from heliconnect.server.supervisor import Server, ServerOptions, running
from heliconnect.settings import configure
from heliconnect.testing import Provider, Reply

try:
    import uvicorn
except ImportError as exc:
    raise MissingExtraError("heliconnect demo", "all") from exc

__all__ = ["example_app", "run_demo"]

_NEEDS = ("openai", "anthropic", "litellm", "langgraph", "langchain_openai", "fastapi", "httpx")
_APP_PLACES = (
    Path(__file__).parents[1] / "examples" / "fastapi_app.py",  # in an installed package
    Path(__file__).parents[2] / "examples" / "fastapi_app.py",  # in a checkout
)
_PAUSE_S = 6.0

Echo = Callable[[str], None]


def run_demo(port: int, *, once: bool, data_dir: Path | None, echo: Echo = print) -> int:
    """Run the demo; with `once` it ends by itself and gives 0 when every call was recorded right, else 1.

    Raises HeliconnectError when a package is missing or the server does not start.
    """
    absent = [name for name in _NEEDS if importlib.util.find_spec(name) is None]
    if absent:
        raise HeliconnectError(f"the demo needs {', '.join(absent)} as well: pip install 'heliconnect[all]'")
    with contextlib.ExitStack() as stack:
        folder = data_dir or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="heliconnect-demo-")))
        openai, anthropic = stack.enter_context(Provider()), stack.enter_context(Provider())
        openai.always(Reply(first_byte_delay_ms=140, chunk_delay_ms=25))
        anthropic.always(Reply(first_byte_delay_ms=220, chunk_delay_ms=25))
        options = ServerOptions(
            data_dir=folder,
            port=_free(port),
            upstreams={"openai": openai.url, "anthropic": anthropic.url},
        )
        server = stack.enter_context(running(options))
        _point_sdks(server, openai, anthropic)
        app_url = stack.enter_context(serving(example_app()))
        echo(f"dashboard   {server.url}/ui")
        echo(f"example app {app_url}/docs")
        sent = asyncio.run(traffic.first_wave(app_url))
        records = read_records(server.url, sent)
        table, is_right = summarize(sent, records)
        echo(table)
        if once:
            return 0 if is_right else 1
        echo(f"\nopen {server.url}/ui in a browser; more calls follow until Ctrl-C")
        _go_on(server, app_url)
    return 0


def _point_sdks(server: Server, openai: Provider, anthropic: Provider) -> None:
    """Set what a user would set: the SDKs' base URLs and keys, and where the gateway is."""
    os.environ.update(
        OPENAI_API_KEY="sk-demo",
        OPENAI_BASE_URL=f"{openai.url}/v1",
        ANTHROPIC_API_KEY="sk-ant-demo",
        ANTHROPIC_BASE_URL=anthropic.url,
        HELICONE_BASE_URL=server.url,
        HELICONNECT_PROVIDERS=f"openai={openai.url},anthropic={anthropic.url}",
        LANGSMITH_TRACING="false",
        LITELLM_LOCAL_MODEL_COST_MAP="True",
    )
    os.environ.pop("HELICONE_API_KEY", None)
    configure()


def example_app() -> ModuleType:
    """The module examples/fastapi_app.py, from the package or the checkout."""
    path = next((place for place in _APP_PLACES if place.exists()), None)
    if path is None:
        raise HeliconnectError("the example app is missing from this installation: reinstall heliconnect")
    spec = importlib.util.spec_from_file_location("heliconnect_example_app", path)
    if spec is None or spec.loader is None:
        raise HeliconnectError(f"the example app at {path} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def serving(module: ModuleType) -> Iterator[str]:
    """The module's `app` on a free loopback port, in a thread; gives its URL."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        server = uvicorn.Server(uvicorn.Config(module.app, log_level="error", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.02)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(10)


def _go_on(server: Server, app_url: str) -> None:
    """Send a little traffic every few seconds until the process is told to stop."""
    stop = threading.Event()

    def trickle() -> None:
        while not stop.wait(_PAUSE_S):
            with contextlib.suppress(Exception):
                asyncio.run(traffic.trickle(app_url))

    thread = threading.Thread(target=trickle, daemon=True)
    thread.start()
    server.wait()
    stop.set()
    thread.join(_PAUSE_S)


def _free(port: int) -> int:
    """`port` if it can be had, else 0: any free one."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return 0
    return port
