"""A gateway that fails in every way there is: the provider sees each request once at most, no call is harmed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import httpx2
import pytest

import heliconnect as hc
from heliconnect.settings import Settings
from heliconnect.testing import Provider, Reply
from heliconnect.wire.switch import switch
from tests.conftest import GATEWAY_MARK
from tests.senders import FAILURES, USER, Sender, a_dead_url, each_library, path_of, send_aiohttp, settings_for

CONNECT_MS = 400
BOUND_S = 5.0
"""What a call may take in all, generously; the connect timeout of the gateway is CONNECT_MS."""
MARK = b"helicone-id: 00000000-0000-4000-8000-000000000000\r\n"
Behaviour = Callable[[socket.socket], None]


class Faulty:
    """A listener on loopback that does one wrong thing to each connection, and counts them."""

    def __init__(self, behaviour: Behaviour, context: ssl.SSLContext | None = None) -> None:
        self._behaviour, self._context = behaviour, context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"{'https' if context else 'http'}://127.0.0.1:{self._listener.getsockname()[1]}"
        self.connections = 0
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection = self._listener.accept()[0]
                self.connections += 1
                threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            connection.settimeout(10)
            used = self._context.wrap_socket(connection, server_side=True) if self._context else connection
            with used:
                self._behaviour(used)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@contextlib.contextmanager
def faulty(behaviour: Behaviour, context: ssl.SSLContext | None = None) -> Iterator[Faulty]:
    made = Faulty(behaviour, context)
    try:
        yield made
    finally:
        made.close()


def _reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")


def says_nothing(connection: socket.socket) -> None:
    while connection.recv(65536):
        pass


def resets(connection: socket.socket) -> None:
    connection.recv(65536)
    _reset(connection)


def closes(connection: socket.socket) -> None:
    connection.recv(65536)


def babbles(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"\x00\xff this is not HTTP \r\n\r\n")


def hangs_after_headers(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\n" + MARK + b"content-length: 10\r\n\r\n")
    says_nothing(connection)


def resets_mid_stream(connection: socket.socket) -> None:
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 200 OK\r\n" + MARK + b"transfer-encoding: chunked\r\n\r\n5\r\ndata:\r\n")
    time.sleep(0.1)
    _reset(connection)


def drips(connection: socket.socket) -> None:
    connection.recv(65536)
    for byte in b"HTTP/1.1 200 OK\r\n" + MARK + b"content-type: application/json\r\ncontent-length: 2\r\n\r\n{}":
        connection.sendall(bytes([byte]))
        time.sleep(0.002)


def used(provider: Provider, gateway_url: str, cooldown_ms: int = 60_000) -> Settings:
    known = {provider.url: "openai"}
    return Settings(
        api_key="sk-helicone-secret",
        base_url=gateway_url,
        providers=known,
        cooldown_ms=cooldown_ms,
        connect_timeout_ms=CONNECT_MS,
        record_direct=False,
    )


def nothing_of_ours(provider: Provider) -> bool:
    got = [(name, value) for one in provider.requests for name, value in one.headers.items()]
    return not [name for name, value in got if name.startswith("helicone") or "sk-helicone" in value]


async def direct_once(send: Sender, provider: Provider, gateway_url: str) -> None:
    """The call is answered by the provider, once, in time, and nothing of ours gets there."""
    began = time.monotonic()
    with hc.context(user_id=USER):
        assert await send(used(provider, gateway_url), path_of(provider)) == (200, path_of(provider))
    assert time.monotonic() - began < BOUND_S
    assert len(provider.requests) == 1
    assert nothing_of_ours(provider)


def short(send: Sender) -> dict[str, Any]:
    return {"timeout": aiohttp.ClientTimeout(total=0.6) if send.__name__ == "send_aiohttp" else 0.6}


@each_library
async def test_refused(send: Sender, provider: Provider) -> None:
    """Nobody listens."""
    await direct_once(send, provider, a_dead_url())


@pytest.fixture
def full_backlog() -> Iterator[str]:
    """A listener whose queue is full: the connection is never made, as at an address that swallows packets."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    waiting = [socket.socket() for _ in range(4)]
    for one in waiting:
        one.setblocking(False)
        one.connect_ex(listener.getsockname())
    time.sleep(0.05)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    for one in (*waiting, listener):
        one.close()


@each_library
async def test_unroutable_and_hanging_at_connect(send: Sender, provider: Provider, full_backlog: str) -> None:
    """Packets are swallowed: one connect timeout, then the provider."""
    await direct_once(send, provider, full_backlog)


@each_library
async def test_a_plain_server_behind_https(send: Sender, provider: Provider) -> None:
    """The TLS handshake is answered by something else."""
    with faulty(babbles) as gateway:
        await direct_once(send, provider, gateway.url.replace("http:", "https:"))


@each_library
async def test_a_silent_server_behind_https(send: Sender, provider: Provider) -> None:
    """The TLS handshake is never answered: it counts to the connecting."""
    with faulty(says_nothing) as gateway:
        await direct_once(send, provider, gateway.url.replace("http:", "https:"))


@each_library
async def test_a_wrong_certificate(send: Sender, provider: Provider, root: Path) -> None:
    """A certificate nobody vouches for: nothing was sent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(root / "tests/tls/server.pem", root / "tests/tls/server.key")
    with faulty(says_nothing, context) as gateway:
        await direct_once(send, provider, gateway.url)


@each_library
async def test_its_own_502_marked_unsent(send: Sender, provider: Provider, gateway: Provider) -> None:
    """The gateway says that nothing was passed on."""
    gateway.always(Reply(status=502, headers=(("helicone-error", "true"), ("helicone-unsent", "true"))))
    await direct_once(send, provider, gateway.url)


@each_library
@pytest.mark.parametrize("status", [502, 503, 307])
async def test_the_providers_own_failure(send: Sender, status: int, provider: Provider, gateway: Provider) -> None:
    """What the provider answered through the gateway is given back, and not asked for again."""
    gateway.always(Reply(status=status, headers=(GATEWAY_MARK,)))
    assert (await send(settings_for(provider, gateway.url), path_of(provider)))[0] == status
    assert len(gateway.requests) == 1
    assert provider.requests == []


@each_library
@pytest.mark.parametrize("behaviour", [resets, closes, babbles, resets_mid_stream])
async def test_ambiguous_ends(send: Sender, behaviour: Behaviour, provider: Provider) -> None:
    """Reset, closed or garbled after bytes were sent: the error is the caller's, nothing is sent twice."""
    with faulty(behaviour) as gateway:
        settings = used(provider, gateway.url)
        with pytest.raises(FAILURES) if send is not send_aiohttp else contextlib.suppress(*FAILURES):
            await send(settings, path_of(provider))  # aiohttp's sender does not read the body
        assert gateway.connections == 1
        assert provider.requests == []


@each_library
@pytest.mark.parametrize("behaviour", [says_nothing, hangs_after_headers])
async def test_hanging_after_connect(send: Sender, behaviour: Behaviour, provider: Provider) -> None:
    """The caller's own timeout ends it."""
    with faulty(behaviour) as gateway, contextlib.suppress(*FAILURES):
        began = time.monotonic()
        await send(used(provider, gateway.url), path_of(provider), **short(send))
    assert time.monotonic() - began < BOUND_S
    assert provider.requests == []


@each_library
async def test_slow_byte_by_byte(send: Sender, provider: Provider) -> None:
    """Slow is not broken."""
    with faulty(drips) as gateway:
        assert await send(used(provider, gateway.url), path_of(provider)) == (200, path_of(provider))
    assert provider.requests == []


@each_library
async def test_the_breaker_closes_again(send: Sender, provider: Provider, gateway: Provider) -> None:
    """Once the gateway is back and the cool-down over, calls are routed, with one line for each change."""
    settings = used(provider, gateway.url, cooldown_ms=50)
    switch.breaker.failed(gateway.url, "a test", 50)
    await asyncio.sleep(0.1)
    assert (await send(settings, path_of(provider)))[0] == 200
    assert switch.breaker.state(gateway.url).is_reachable
    assert (len(gateway.requests), len(provider.requests)) == (1, 0)


@pytest.mark.parametrize("library", [httpx, httpx2, aiohttp], ids=lambda library: library.__name__)
async def test_fifty_concurrent_calls_wait_together(
    library: Any, provider: Provider, full_backlog: str, caplog: pytest.LogCaptureFixture
) -> None:
    """During an outage they cost one connect timeout together, and one line in the log."""
    settings = used(provider, full_backlog)
    client = library.ClientSession() if library is aiohttp else library.AsyncClient()
    began = time.monotonic()
    with caplog.at_level(logging.WARNING, "heliconnect"):
        async with hc.connect(client, settings):
            answers = await asyncio.gather(*(client.post(path_of(provider), json={}) for _ in range(50)))
    assert time.monotonic() - began < CONNECT_MS / 1000 + BOUND_S
    assert [getattr(one, "status_code", None) or one.status for one in answers] == [200] * 50
    assert len(provider.requests) == 50
    assert nothing_of_ours(provider)
    assert len(caplog.records) == 1
