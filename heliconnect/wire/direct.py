"""Records of calls that went straight to their provider: what passes is kept, and logged at the answer's end.

The same for every HTTP library; each shell only says what passes. Nothing here raises or waits.
"""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Iterable
from typing import Any

from heliconnect.callcontext import CallContext
from heliconnect.manual import submit
from heliconnect.protocol import is_secret, read_context, redact_url
from heliconnect.sse import ends_well
from heliconnect.wire.attempt import Attempt
from heliconnect.wire.switch import switch

__all__ = ["DirectRecord", "begin"]

_MAX_BODY = 3 << 20
_SOURCE = "direct"


class DirectRecord:
    """One call. The shell calls `answered`, `feed` for each piece, and `finish` once; all but the first call count."""

    def __init__(self, attempt: Attempt, url: str, body: object, content_type: str) -> None:
        self._attempt = attempt
        self._url = redact_url(url)
        self._body = body
        self._content_type = content_type
        self._began = time.time()
        self._first: float | None = None
        self._pieces: list[bytes] = []
        self._size = 0
        self._status: int | None = None
        self._headers: dict[str, str] = {}
        self._is_over = False

    def answered(self, status: int, headers: Iterable[tuple[str, str]]) -> None:
        """The answer's head is there."""
        self._status = status
        self._headers = {name.lower(): value for name, value in headers if not is_secret(name)}

    def feed(self, piece: bytes) -> None:
        """A piece of the answer's body passes."""
        if self._first is None:
            self._first = time.time()
        if self._size < _MAX_BODY:
            self._pieces.append(bytes(piece))
        self._size += len(piece)

    def finish(self, *, is_whole: bool = True, is_decoded: bool = False) -> None:
        """The answer is over; is_decoded says that the pieces had no content coding any more."""
        if self._is_over:
            return
        self._is_over = True
        try:
            self._submit(is_whole, is_decoded)
        except Exception as error:  # noqa: BLE001 - a record may fail, its call may not
            switch.report_record(error)

    def failed(self) -> None:
        """There was no answer, or none that could be read: its status is not known."""
        self._status = None
        self.finish(is_whole=False)

    def _submit(self, is_whole: bool, is_decoded: bool) -> None:
        outgoing, settings = self._attempt.outgoing, self._attempt.settings
        headers = dict(self._headers)
        encoding = headers.pop("content-encoding", "")
        body = b"".join(self._pieces)
        if not is_decoded:
            body = _decoded(body, encoding)
        is_cut = not is_whole and not ends_well(body)
        status = -3 if is_cut and self._status is not None and self._status < 400 else self._status
        answer: dict[str, Any] = {"status": status, "headers": headers, "json": {}}
        answer |= _answer(body, headers.get("content-type", ""))
        said = read_context((name, value) for name, value in outgoing.set_headers)
        times = (self._began, self._first, time.time())
        request = _request(self._body, self._content_type)
        name, request_id = outgoing.provider, self._attempt.direct_id
        if request_id != outgoing.request_id:
            said = said.overlaid(CallContext(properties={"retry-of": outgoing.request_id}))
        submit(name, self._url, request, answer, times, said, request_id, settings=settings, source=_SOURCE)


def begin(attempt: Attempt, url: str, body: object, content_type: str) -> DirectRecord | None:
    """The record of a call that goes straight to its provider now; None where none is kept."""
    if not attempt.is_recorded:
        return None
    return DirectRecord(attempt, url, body, content_type)


def _request(body: object, content_type: str) -> object:
    if isinstance(body, str):
        body = body.encode()
    if isinstance(body, bytes) and ("json" in content_type or body[:1] in {b"{", b"["}):
        try:
            return json.loads(body)
        except ValueError:
            pass
    size = len(body) if isinstance(body, bytes) else None
    return {"content_type": content_type, "size_bytes": size} if content_type or size else {}


def _answer(body: bytes, content_type: str) -> dict[str, Any]:
    text = body.decode("utf-8", "replace")
    if "json" in content_type:
        try:
            return {"json": json.loads(text)}
        except ValueError:
            pass
    if content_type.startswith(("text/", "application/")) and "\x00" not in text:
        return {"textBody": text}
    return {"json": {"content_type": content_type, "size_bytes": len(body)}}


def _decoded(body: bytes, encoding: str) -> bytes:
    if not encoding or not body:
        return body
    try:
        from heliconnect.bodies import decoded  # here, because the core does without what it needs
    except ImportError:
        try:
            return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(body, 16 << 20)
        except zlib.error:
            return b""
    return decoded(body, encoding)[0]
