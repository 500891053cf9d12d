"""The tee: what passes is kept, within bounds, until the call's end makes a `Capture` of it."""

from __future__ import annotations

import os
import uuid
from datetime import UTC, datetime
from time import perf_counter

from heliconnect.exchange import Capture, End, Pairs
from heliconnect.protocol import AUTH, OMIT_REQUEST, OMIT_RESPONSE, REQUEST_ID, key_hash, redact, redact_url
from heliconnect.server.dataplane.credentials import has_provider_key, helicone_key
from heliconnect.server.dataplane.heads import Line, RequestHead
from heliconnect.server.dataplane.omit import reduced

__all__ = ["Budget", "Tee", "request_id_of"]


class Budget:
    """How many bytes all calls in flight may keep together."""

    __slots__ = ("left",)

    def __init__(self, total: int) -> None:
        self.left = total


class Kept:
    """One body: its bytes up to a bound, and how many there were in all."""

    __slots__ = ("_bound", "_budget", "pieces", "size", "taken")

    def __init__(self, bound: int, budget: Budget) -> None:
        self._bound = bound
        self._budget = budget
        self.pieces: list[bytes] = []
        self.size = 0
        self.taken = 0

    def add(self, piece: bytes) -> None:
        """Keep `piece`, or as much of it as there is room for."""
        self.size += len(piece)
        room = min(self._bound - self.taken, self._budget.left)
        if room <= 0:
            return
        kept = piece if len(piece) <= room else piece[:room]
        self.pieces.append(kept)
        self.taken += len(kept)
        self._budget.left -= len(kept)

    @property
    def is_whole(self) -> bool:
        return self.taken == self.size

    def release(self) -> bytes:
        """All that was kept; its room is free again."""
        self._budget.left += self.taken
        body = b"".join(self.pieces)
        self.pieces = []
        self.taken = 0
        return body


def request_id_of(head: RequestHead) -> str:
    """The id the caller gave, if it is a UUID of any version, else a new one."""
    given = head.value(REQUEST_ID.lower().encode())
    if len(given) == 36:
        text = given.decode("latin-1")
        try:
            if str(uuid.UUID(text)) == text.lower():
                return text
        except ValueError:
            pass
    return str(uuid.UUID(bytes=os.urandom(16), version=4))


class Tee:
    """What is kept of one call."""

    __slots__ = (
        "_auth",
        "_head",
        "_started",
        "_started_at",
        "first_byte",
        "provider",
        "request",
        "request_id",
        "response",
        "response_lines",
        "status",
        "url",
        "warnings",
    )

    def __init__(self, head: RequestHead, request_id: str, max_body: int, budget: Budget) -> None:
        self._head = head
        self._started_at = datetime.now(UTC)
        self._started = perf_counter()
        self._auth: str | None = None
        self.request_id = request_id
        self.url = ""
        self.provider: str | None = None
        self.request = Kept(max_body, budget)
        self.response = Kept(max_body, budget)
        self.response_lines: list[Line] = []
        self.status: int | None = None
        self.first_byte: float | None = None
        self.warnings: list[str] = []

    @property
    def elapsed_ms(self) -> float:
        """Milliseconds since the call began."""
        return (perf_counter() - self._started) * 1000

    def answer(self, piece: bytes) -> None:
        """A piece of the answer's body passes."""
        if self.first_byte is None:
            self.first_byte = perf_counter()
        self.response.add(piece)

    @property
    def caller(self) -> str | None:
        """The Helicone key of the call, as a hash."""
        told = self._head.value(AUTH.lower().encode()).decode("utf-8", "replace")
        return key_hash(told or self._auth or "")

    def key_elsewhere(self, in_path: str | None) -> None:
        """The Helicone key that stood in the path, or in place of a provider's; it counts without `Helicone-Auth`."""
        instead = helicone_key(self._head.lines)
        self._auth = in_path or instead
        if instead is not None and not has_provider_key(self._head.lines):
            self.warnings.append("a Helicone key stood in place of the provider's: the provider got no key")

    def finish(self, end: End, error: str | None) -> Capture:
        """The capture: credentials replaced, omitted bodies reduced to what usage is read from."""
        request_pairs, response_pairs = _pairs(self._head.lines), _pairs(self.response_lines)
        named = dict(request_pairs)
        for kept, which in ((self.request, "request"), (self.response, "response")):
            if not kept.is_whole:
                self.warnings.append(f"only the first {kept.taken} of {kept.size} bytes of the {which} were kept")
        request, response = self.request.release(), self.response.release()
        if named.get(OMIT_REQUEST.lower(), "").lower() == "true":
            request = reduced(request, named.get("content-type", ""), named.get("content-encoding", ""))
        if named.get(OMIT_RESPONSE.lower(), "").lower() == "true":
            answered = dict(response_pairs)
            response = reduced(response, answered.get("content-type", ""), answered.get("content-encoding", ""))
            response_pairs = tuple(pair for pair in response_pairs if pair[0] != "content-encoding")
        first = self.first_byte
        return Capture(
            request_id=self.request_id,
            started_at=self._started_at,
            method=self._head.method.decode("latin-1"),
            target_url=redact_url(self.url),
            provider=self.provider,
            request_headers=redact(request_pairs),
            request_body=request,
            request_size_bytes=self.request.size,
            end=end,
            latency_ms=round((perf_counter() - self._started) * 1000, 3),
            status=self.status,
            response_headers=redact(response_pairs),
            response_body=response,
            response_size_bytes=self.response.size,
            first_byte_ms=None if first is None else round((first - self._started) * 1000, 3),
            key_hash=self.caller,
            error=error,
            warnings=tuple(self.warnings),
        )


def _pairs(lines: list[Line]) -> Pairs:
    return tuple((lower.decode("latin-1"), _text(value)) for lower, _, value in lines)


def _text(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
