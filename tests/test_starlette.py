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
    context = await seen_by(FORGED, user_id="known", trusted_headers=TRUSTED, trusted=trust)
    assert context.user_id == ("boss" if believed else "known")
    assert dict(context.properties) == ({"tier": "gold"} if believed else {})


@pytest.mark.parametrize("value", [b"", b"a\x00b", b"\xff", b"x" * 300, b"a\nb"])
async def test_odd_identity_headers_are_not_believed(value: bytes) -> None:
    """Only short printable UTF-8 text is."""
    scope = {"headers": [(b"x-user", value)], "client": ("10.1.2.3", 5)}
    context = await seen_by(scope, user_id="known", trusted_headers=TRUSTED, trusted=["10.0.0.0/8"])
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
        HeliconeMiddleware(an_app(), trusted=["10.0.0.0/99"])


# What is known only once the request is under way, and what other services say


def remember_sync(name: str) -> None:
    hc.identify(user_id=name)


async def remember_async(name: str) -> None:
    await asyncio.sleep(0.001)
    hc.identify(user_id=name, properties={"seen": "yes"})


def an_identifying_app(**options: Any) -> FastAPI:
    app = FastAPI(middleware=[Middleware(HeliconeMiddleware, **options)])

    @app.get("/sync-dependency", dependencies=[Depends(remember_sync)])
    async def after_sync() -> str:
        return user()

    @app.get("/async-dependency", dependencies=[Depends(remember_async)])
    def after_async() -> str:
        return f"{user()} {hc.current().properties['seen']}"

    @app.get("/stream", dependencies=[Depends(remember_sync)])
    def stream() -> StreamingResponse:
        def parts() -> Iterator[str]:
            yield user()

        return StreamingResponse(parts())

    @app.get("/said")
    def said() -> dict[str, Any]:
        here = hc.current()
        return {"user": here.user_id, "session": here.session_id, "properties": dict(here.properties)}

    return app


def test_a_dependency_identifies_the_rest_of_the_request() -> None:
    """A synchronous one too, which runs in a thread of its own; requests at once do not mix, the next begins anew."""
    with serving(an_identifying_app()) as address, httpx.Client(base_url=f"http://{address}") as client:
        assert client.get("/said").json()["user"] is None
        with hc.Executor(20) as pool:
            names = [f"user-{n}" for n in range(60)]
            paths = ["sync-dependency", "async-dependency", "stream"]
            answers = list(pool.map(lambda n: client.get(f"/{paths[int(n[5:]) % 3]}", params={"name": n}).text, names))
        assert [answer.strip('"').removesuffix(" yes") for answer in answers] == names
        assert client.get("/said").json()["user"] is None


def test_identify_outside_of_a_request_and_inside_a_block() -> None:
    """It changes what is in force here, and a block takes it back."""
    with hc.context(session_id="s"):
        hc.identify(user_id="ada")
        assert (hc.current().user_id, hc.current().session_id) == ("ada", "s")
    assert hc.current() == CallContext()
    with pytest.raises(TypeError, match=r"identify\(\) takes"):
        hc.identify(nonsense=1)  # type: ignore[call-arg]  # the error is the test


TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize(
    ("headers", "session", "properties"),
    [
        pytest.param({"traceparent": TRACE}, TRACE[3:35], {"trace-id": TRACE[3:35]}, id="trace"),
        pytest.param({"traceparent": "00-" + "0" * 32 + TRACE[35:]}, None, {}, id="trace-of-zeros"),
        pytest.param({"traceparent": "ff" + TRACE[2:]}, None, {}, id="unknown-version"),
        pytest.param({"traceparent": "nonsense"}, None, {}, id="no-trace"),
        pytest.param({"baggage": "tier=pro;x=1, chat = s%C3%BC%C3%9F ,other=1"}, "süß", {"tier": "pro"}, id="baggage"),
        pytest.param({"baggage": "tier=a%0Ab,chat=,,=,;"}, None, {}, id="odd-baggage"),
    ],
)
def test_trace_and_baggage_are_read_from_trusted_callers(
    headers: dict[str, str], session: str | None, properties: dict[str, str]
) -> None:
    """As session and properties; what is malformed is as if it were not there, and strangers are not believed."""
    options = {"traceparent": True, "baggage": {"tier": "property:tier", "chat": "session_id"}}
    with serving(an_identifying_app(trusted=["127.0.0.0/8"], **options)) as address:
        said = httpx.get(f"http://{address}/said", headers=headers).json()
        assert said == {"user": None, "session": session, "properties": properties}
    with serving(an_identifying_app(trusted=["10.0.0.0/8"], **options)) as address:
        said = httpx.get(f"http://{address}/said", headers=headers).json()
        assert said == {"user": None, "session": None, "properties": {}}


def test_a_signed_token_brings_the_context_of_another_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever knows the secret is believed, whatever its address; what the middleware knows itself comes on top."""
    monkeypatch.setenv("HELICONNECT_SECRET", "s" * 32)
    with hc.context(user_id="ada", properties={"tier": "pro"}), hc.session("trip", id="s-1"):
        token = hc.dump()
    app = an_identifying_app(accept_tokens=True, properties={"service": "b"})
    with serving(app) as address, httpx.Client(base_url=f"http://{address}") as client:
        said = client.get("/said", headers={"X-Heliconnect-Context": token}).json()
        assert said == {"user": "ada", "session": "s-1", "properties": {"tier": "pro", "service": "b"}}
        for odd in (token[:-1], "x" * 9_000, "ü".encode()):
            said = client.get("/said", headers={"X-Heliconnect-Context": odd}).json()
            assert said == {"user": None, "session": None, "properties": {"service": "b"}}
    with serving(an_identifying_app()) as address:
        said = httpx.get(f"http://{address}/said", headers={"X-Heliconnect-Context": token}).json()
        assert said["user"] is None
