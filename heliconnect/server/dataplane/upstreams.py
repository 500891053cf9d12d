"""Connections to providers and to the control plane: made, checked, kept for the next call.

An address of an unknown host is resolved first and used only if it is a public one; the connection then goes to the
very address that was checked. Certificates are always verified. No redirects, no cookies, no header of our own.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections import deque
from typing import TYPE_CHECKING

from heliconnect.errors import MissingExtraError
from heliconnect.server.dataplane.provider_side import ProviderSide
from heliconnect.server.dataplane.targets import Target

try:
    import certifi
except ImportError as exc:
    raise MissingExtraError("heliconnect.server.dataplane", "server") from exc

if TYPE_CHECKING:
    from heliconnect.server.dataplane.config import Config

__all__ = ["Key", "PrivateAddressError", "Upstreams", "is_public"]

Key = tuple[str, str, int]
"""Scheme (http, https, unix), host or socket path, port."""

_IDLE_TLS_S = 30.0
_IDLE_PLAIN_S = 3.0
_MAX_IDLE = 256


class PrivateAddressError(Exception):
    """A host that is neither known nor allowed resolves to an address that is not public."""


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public Internet: not private, loopback, link-local, shared or reserved."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None) or getattr(found, "sixtofour", None)
    if mapped is not None:
        found = mapped
    is_translated = found.version == 6 and found in ipaddress.ip_network("64:ff9b::/96")
    return found.is_global and not found.is_multicast and not is_translated


class Upstreams:
    """A pool by origin. One for each process; for its event loop only."""

    def __init__(self, config: Config, loop: asyncio.AbstractEventLoop) -> None:
        self._config = config
        self._loop = loop
        self._idle: dict[Key, deque[ProviderSide]] = {}
        self._tls = ssl.create_default_context()
        self._tls.load_verify_locations(certifi.where())  # some systems bring none of their own
        if config.ca_file is not None:
            self._tls.load_verify_locations(config.ca_file)
        self._tls.set_alpn_protocols(["http/1.1"])

    def control_key(self) -> Key:
        """The key of the control plane."""
        return ("unix", self._config.control, 0)

    def take(self, key: Key) -> ProviderSide | None:
        """A connection that waits for its next call, the one used last; None when there is none."""
        waiting = self._idle.get(key)
        now = self._loop.time()
        while waiting:
            side = waiting.pop()
            if side.is_open and side.idle_until > now:
                side.is_reused = True
                return side
            side.close()
        return None

    def give(self, side: ProviderSide) -> None:
        """Keep a connection whose call is over for the next one."""
        waiting = self._idle.setdefault(side.key, deque())
        side.idle_until = self._loop.time() + (_IDLE_PLAIN_S if side.key[0] == "http" else _IDLE_TLS_S)
        if len(waiting) >= _MAX_IDLE:
            waiting.popleft().close()
        waiting.append(side)

    def forget(self, side: ProviderSide) -> None:
        """A connection was closed by the other side."""
        waiting = self._idle.get(side.key)
        if waiting and side in waiting:
            waiting.remove(side)

    def drop_idle(self, now: float) -> None:
        """Close what has waited long enough; now is the loop's time."""
        for key, waiting in list(self._idle.items()):
            while waiting and waiting[0].idle_until <= now:
                waiting.popleft().close()
            if not waiting:
                del self._idle[key]

    def close(self) -> None:
        """Close every waiting connection."""
        for waiting in self._idle.values():
            for side in waiting:
                side.close()
        self._idle.clear()

    async def connect(self, key: Key, target: Target | None) -> ProviderSide:
        """A new connection. target is None for the control plane.

        Raises PrivateAddressError, TimeoutError, or OSError (ssl.SSLError among them) when there is none to be had.
        """
        async with asyncio.timeout(self._config.connect_timeout):
            if target is None:
                _, side = await self._loop.create_unix_connection(lambda: ProviderSide(self, key), key[1])
                return side
            return await self._connect(key, target)

    async def _connect(self, key: Key, target: Target) -> ProviderSide:
        found = await self._loop.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
        if not target.is_trusted:
            addresses = [address for address in addresses if is_public(address)]
            if not addresses:
                raise PrivateAddressError(target.host)
        is_tls = target.scheme == "https"
        failure: OSError | None = None
        for address in addresses:
            try:
                _, side = await self._loop.create_connection(
                    lambda: ProviderSide(self, key),
                    address,
                    target.port,
                    ssl=self._tls if is_tls else None,
                    server_hostname=target.host if is_tls else None,
                )
            except OSError as error:
                failure = error
            else:
                return side
        raise failure or OSError(f"{target.host} has no address")
