"""The middleware: every call of a request carries that request's context, and no other's. Over a real uvicorn."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import BackgroundTasks, Depends, FastAPI, WebSocket
from starlette.middleware import Middleware
from starlette.responses import StreamingResponse

import heliconnect as hc
from heliconnect.callcontext import CallContext
from heliconnect.starlette import HeliconeMiddleware, from_header, from_state


@contextlib.contextmanager
def serving(app: Any, **options: Any) -> Iterator[str]:
    """The app on a free port; gives "127.0.0.1:PORT"."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off", **options))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(5)


def user() -> str:
    return str(hc.current().user_id)


background: list[str] = []


def an_app() -> FastAPI:
    app = FastAPI(middleware=[Middleware(HeliconeMiddleware, user_id=from_header("x-user"), session_name="web")])

    @app.get("/async")
    async def in_async() -> str:
        await asyncio.sleep(0.002)
        return user()

    @app.get("/sync")
    def in_sync() -> str:
        return user()

    @app.get("/depends")
    async def in_dependency(found: str = Depends(user)) -> str:
        return found

    @app.get("/stream")
    async def streamed() -> StreamingResponse:
        async def parts() -> AsyncIterator[str]:
            for _ in range(3):
                await asyncio.sleep(0.001)
                yield user() + ";"

        return StreamingResponse(parts())

    @app.get("/background")
    async def in_background(tasks: BackgroundTasks) -> str:
        tasks.add_task(lambda: background.append(user()))
        return user()

    @app.post("/upload")
    async def upload() -> str:
        return user()

    @app.websocket("/ws")
    async def socket_(ws: WebSocket) -> None:
        await ws.accept()
        await ws.send_text(user())
        await ws.close()

    return app


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with serving(an_app()) as found:
        yield found


@pytest.mark.parametrize("path", ["async", "sync", "depends", "background"])
def test_the_context_is_seen_everywhere(address: str, path: str) -> None:
    """In async and sync endpoints, dependencies and background tasks; as UTF-8."""
    background.clear()
    answer = httpx.get(f"http://{address}/{path}", headers=[(b"x-user", "Zoë".encode())])
    assert answer.json() == "Zoë"
    if path == "background":
        time.sleep(0.05)
        assert background == ["Zoë"]


def test_a_streamed_body_sees_it_to_the_end(address: str) -> None:
    """The generator runs after the endpoint has returned."""
    assert httpx.get(f"http://{address}/stream", headers={"x-user": "ada"}).text == "ada;ada;ada;"


async def test_a_websocket_sees_it(address: str) -> None:
    """The handshake's headers hold for the connection."""
    import websockets

    async with websockets.connect(f"ws://{address}/ws", additional_headers={"x-user": "ada"}) as ws:
        assert await ws.recv() == "ada"


async def test_five_users_in_a_hundred_requests_do_not_mix(address: str) -> None:
    """Each answer names the user that asked, in every kind of endpoint."""
    async with httpx.AsyncClient(base_url=f"http://{address}") as client:

        async def one(number: int) -> bool:
            name, path = f"user-{number % 5}", ("async", "sync", "depends", "stream")[number % 4]
            text = (await client.get(f"/{path}", headers={"x-user": name})).text
            return set(text.replace('"', "").strip(";").split(";")) == {name}

        assert all(await asyncio.gather(*(one(number) for number in range(100))))


def test_nothing_leaks_to_the_next_request_of_a_connection(address: str) -> None:
    """After a large upload, and for a pipelined request: a request without a user has none."""
    with httpx.Client(base_url=f"http://{address}") as client:
        assert client.post("/upload", content=b"x" * 200_000, headers={"x-user": "ada"}).json() == "ada"
        assert [client.get("/async").json() for _ in range(3)] == ["None"] * 3
    host, port = address.split(":")
    with socket.create_connection((host, int(port))) as raw:
        first = f"GET /async HTTP/1.1\r\nHost: {address}\r\nx-user: ada\r\n\r\n"
        raw.sendall((first + f"GET /async HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").encode())
        received = b""
        while piece := raw.recv(65536):
            received += piece
    assert received.count(b'"ada"') == 1
    assert received.count(b'"None"') == 1


async def seen_by(scope: dict[str, Any], **options: Any) -> CallContext:
    """The context an app sees for this request."""
    seen: list[CallContext] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(hc.current())

    middleware = HeliconeMiddleware(app, **options)
    await middleware({"type": "http", "headers": [], "state": {}, **scope}, None, None)
    return seen[0]


async def later(scope: Any) -> str:
    await asyncio.sleep(0)
    return "async"


def broken(scope: Any) -> str:
    raise KeyError("secret")


async def test_values_come_from_constants_callables_and_state(caplog: pytest.LogCaptureFixture) -> None:
    """Sync and async callables, the request's state; one that raises costs its own value and a log line."""
    context = await seen_by(
        {"state": {"user": "from state"}, "path": "/x"},
        user_id=from_state("user"),
        session_id=later,
        session_name="constant",
        session_path=broken,
        properties={"path": lambda scope: scope["path"], "fixed": 1, "broken": broken},
    )
    assert (context.user_id, context.session_id, context.session_name) == ("from state", "async", "constant")
    assert context.session_path is None
    assert dict(context.properties) == {"path": "/x", "fixed": 1, "broken": None}
    assert "secret" not in caplog.text
    mapped = await seen_by({}, properties=lambda scope: {"a": 1})
    assert dict(mapped.properties) == {"a": 1}


FORGED = {"headers": [(b"x-user", b"boss"), (b"x-user", b"other"), (b"x-tier", b"gold")], "client": ("10.1.2.3", 5)}
TRUSTED = {"x-user": "user_id", "X-Tier": "property:tier"}


@pytest.mark.parametrize(
    ("trust", "believed"),
    [
        pytest.param(None, False, id="nobody-by-default"),
        pytest.param(["10.0.0.0/8"], True, id="a-network"),
        pytest.param(["192.168.0.0/16"], False, id="another-network"),
        pytest.param(lambda scope: True, True, id="a-callable"),
        pytest.param(broken, False, id="a-callable-that-raises"),
    ],
)
async def test_identity_headers_are_believed_from_trusted_callers_only(trust: Any, believed: bool) -> None:
    """A browser cannot set somebody else's user id."""
    context = await seen_by(FORGED, user_id="known", trusted_headers=TRUSTED, trust=trust)
    assert context.user_id == ("boss" if believed else "known")
    assert dict(context.properties) == ({"tier": "gold"} if believed else {})


@pytest.mark.parametrize("value", [b"", b"a\x00b", b"\xff", b"x" * 300, b"a\nb"])
async def test_odd_identity_headers_are_not_believed(value: bytes) -> None:
    """Only short printable UTF-8 text is."""
    scope = {"headers": [(b"x-user", value)], "client": ("10.1.2.3", 5)}
    context = await seen_by(scope, user_id="known", trusted_headers=TRUSTED, trust=["10.0.0.0/8"])
    assert context.user_id == "known"


async def test_the_callers_context_is_neither_seen_nor_changed() -> None:
    """Inside, only the request counts; outside, nothing has changed, also after an error."""

    async def failing(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("boom")

    with hc.context(user_id="outer"):
        assert (await seen_by({})).user_id is None
        with pytest.raises(RuntimeError):
            await HeliconeMiddleware(failing, user_id="inner")({"type": "http", "headers": []}, None, None)
        assert hc.current().user_id == "outer"


async def test_lifespan_passes_through() -> None:
    """What is no request is not touched."""
    with hc.context(user_id="outer"):
        assert (await seen_by({"type": "lifespan"}, user_id="x")).user_id == "outer"


def test_wrong_options_are_explained() -> None:
    """Misspelt fields and malformed networks are errors at start, not at the first request."""
    with pytest.raises(hc.SettingsError, match="property:<name>"):
        HeliconeMiddleware(an_app(), trusted_headers={"x-user": "usr"})
    with pytest.raises(hc.SettingsError, match=r"10\.0\.0\.0/8"):
        HeliconeMiddleware(an_app(), trust=["10.0.0.0/99"])
