"""Message heads as bytes: taken apart strictly, put together again for the other side.

Nothing that two parsers could read differently gets through: bare CR or LF, folded lines, blanks before a colon, a
content length twice or beside a transfer coding, any coding but "chunked". Source: RFC 9112, sections 2, 3, 5, 6, 11.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from heliconnect.server.dataplane.credentials import provider_part

__all__ = ["BadHead", "Line", "RequestHead", "ResponseHead", "client_head", "parse_request", "parse_response"]

Line = tuple[bytes, bytes, bytes]
"""A header line: its name in lower case, its name as sent, its value."""

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,40}) ([!-~]+) HTTP/1\.([01])")
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] (\d{3})(?: ([^\r\n]*))?")
_FORBIDDEN = re.compile(rb"[\x00\r\n]")
HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authorization",
        b"proxy-authenticate",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"expect",
    }
)


class BadHead(Exception):  # noqa: N818 - a message, not a failure of ours
    """A head that is not forwarded; status is what its sender is answered."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclass(slots=True)
class RequestHead:
    """A request's head. length is None for a chunked body, 0 for none."""

    method: bytes
    target: bytes
    is_http_10: bool
    lines: list[Line]
    length: int | None
    is_keep_alive: bool
    expects_continue: bool
    _values: dict[bytes, bytes] | None = field(default=None, init=False, compare=False)

    def value(self, name: bytes) -> bytes:
        """The first value of a header, its name in lower case; empty when it is absent."""
        if self._values is None:
            self._values = {lower: value for lower, _, value in reversed(self.lines)}
        return self._values.get(name, b"")

    def for_upstream(self, target: bytes, host: bytes, *, keep_helicone: bool) -> bytes:
        """The head as it is sent on: hop-by-hop and, unless kept, Helicone's own lines and keys are left out."""
        dropped = HOP_BY_HOP | _named_by_connection(self.lines)
        out = [b"%b %b HTTP/1.1" % (self.method, target)]
        if not self.value(b"host"):
            out.append(b"Host: " + host)
        for lower, name, value in self.lines:
            if lower == b"host":
                out.append(b"%b: %b" % (name, host))
            elif lower not in dropped and (keep_helicone or not lower.startswith((b"helicone-", b"__helicone-"))):
                sent = value if keep_helicone else provider_part(lower, value)
                if sent is not None:
                    out.append(b"%b: %b" % (name, sent))
        if self.length is None:
            out.append(b"Transfer-Encoding: chunked")
        out += (b"", b"")
        return b"\r\n".join(out)


@dataclass(slots=True)
class ResponseHead:
    """An answer's head. length is None where the body is chunked or ends with the connection."""

    status: int
    reason: bytes
    lines: list[Line]
    length: int | None
    is_chunked: bool
    is_keep_alive: bool
    dropped: frozenset[bytes] = field(default=HOP_BY_HOP)


def parse_request(head: bytes, max_headers: int) -> RequestHead:
    """Take a request's head apart, without its last empty line. Raises BadHead."""
    first, _, rest = head.partition(b"\r\n")
    found = _REQUEST_LINE.fullmatch(first)
    if found is None:
        raise BadHead(400, "the request line is malformed")
    lines = _lines(rest, max_headers)
    is_http_10 = found[3] == b"0"
    hosts = sum(1 for lower, _, _ in lines if lower == b"host")
    if hosts > 1 or (hosts == 0 and not is_http_10):
        raise BadHead(400, "exactly one Host header is expected")
    length, is_chunked = _framing(lines)
    if is_chunked and is_http_10:
        raise BadHead(400, "HTTP/1.0 knows no transfer coding")
    connection = _connection(lines)
    expects = any(lower == b"expect" and value.lower() == b"100-continue" for lower, _, value in lines)
    return RequestHead(
        method=found[1],
        target=found[2],
        is_http_10=is_http_10,
        lines=lines,
        length=None if is_chunked else length or 0,
        is_keep_alive=b"keep-alive" in connection if is_http_10 else b"close" not in connection,
        expects_continue=expects and not is_http_10,
    )


def parse_response(head: bytes, max_headers: int) -> ResponseHead:
    """Take an answer's head apart, without its last empty line. Raises BadHead."""
    first, _, rest = head.partition(b"\r\n")
    found = _STATUS_LINE.fullmatch(first)
    if found is None:
        raise BadHead(502, "the provider's status line is malformed")
    lines = _lines(rest, max_headers)
    length, is_chunked = _framing(lines)
    connection = _connection(lines)
    is_open = b"keep-alive" in connection if first.startswith(b"HTTP/1.0") else b"close" not in connection
    dropped = HOP_BY_HOP | _named_by_connection(lines)
    return ResponseHead(int(found[1]), found[2] or b"", lines, length, is_chunked, is_open, dropped)


def _lines(block: bytes, max_headers: int) -> list[Line]:
    if not block:
        return []
    raw_lines = block.split(b"\r\n")
    if len(raw_lines) > max_headers:
        raise BadHead(431, f"more than {max_headers} header lines")
    lines: list[Line] = []
    for raw in raw_lines:
        name, colon, value = raw.partition(b":")
        if not colon or _TOKEN.fullmatch(name) is None or _FORBIDDEN.search(value) is not None:
            raise BadHead(400, "a header line is malformed")
        lines.append((name.lower(), name, value.strip(b" \t")))
    return lines


def _framing(lines: list[Line]) -> tuple[int | None, bool]:
    """The content length, if any, and whether the body is chunked."""
    length: int | None = None
    is_chunked = False
    for lower, _, value in lines:
        if lower == b"content-length":
            if length is not None or not value.isdigit() or len(value) > 15:
                raise BadHead(400, "the content length is malformed or repeated")
            length = int(value)
        elif lower == b"transfer-encoding":
            if is_chunked or value.lower() != b"chunked":
                raise BadHead(400, "the only transfer coding that is understood is one chunked")
            is_chunked = True
    if is_chunked and length is not None:
        raise BadHead(400, "a content length beside a transfer coding")
    return length, is_chunked


def _connection(lines: list[Line]) -> bytes:
    return b",".join(value for lower, _, value in lines if lower in {b"connection", b"proxy-connection"}).lower()


def _named_by_connection(lines: list[Line]) -> frozenset[bytes]:
    named = b",".join(value for lower, _, value in lines if lower == b"connection")
    if not named:
        return frozenset()
    return frozenset(name.strip() for name in named.lower().split(b",")) - {b"close", b"keep-alive", b"content-length"}


def client_head(head: ResponseHead, added: list[bytes], *, is_chunked: bool, keep_alive: bool) -> bytes:
    """An answer's head as its reader gets it: the provider's lines but for hop-by-hop ones, then our own."""
    out = [b"HTTP/1.1 %d %b" % (head.status, head.reason)]
    out += [b"%b: %b" % (name, value) for lower, name, value in head.lines if lower not in head.dropped]
    if is_chunked:
        out.append(b"transfer-encoding: chunked")
    if not keep_alive:
        out.append(b"connection: close")
    out += (*added, b"", b"")
    return b"\r\n".join(out)
