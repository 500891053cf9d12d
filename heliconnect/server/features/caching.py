"""Answers that are given again: which questions are the same, and the files that keep their answers.

One file for each answer, named after a hash of its question and its place in the bucket, written whole or not at all,
so that several processes may share the folder. Source of the rules: worker/src/lib/util/cache/cacheFunctions.ts.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from heliconnect.server.features.wishes import CacheWish

__all__ = ["Answer", "AnswerCache", "question_of"]

_log = logging.getLogger("heliconnect")
_COMPARED = (b"authorization", b"helicone-auth", b"x-api-key", b"api-key", b"x-goog-api-key", b"accept-encoding")
_GOOGLE_TOKEN = b"ya29."


@dataclass(frozen=True, slots=True)
class Answer:
    """A provider's answer as it came: header lines (name in lower case, as sent, value) and the body's bytes.

    request_id is the record's it was first given for, latency_ms how long that took.
    """

    request_id: str
    latency_ms: float
    lines: tuple[tuple[bytes, bytes, bytes], ...]
    body: bytes


def question_of(
    wish: CacheWish, method: bytes, url: str, lines: Iterable[tuple[bytes, bytes, bytes]], body: bytes
) -> str:
    """What two calls must have in common to get the same answer, as a hash.

    The seed, the URL, the keys that are used, the codings that are understood, the size of the bucket, and the body: of
    a JSON body blanks do not count, nor do the keys to ignore; the order of keys does. Short-lived Google tokens are
    left out.
    """
    used = sorted(
        (lower, value)
        for lower, _, value in lines
        if lower in _COMPARED and _GOOGLE_TOKEN not in value.split(b" ")[-1][:5]
    )
    options = [wish.seed, wish.bucket_size, wish.control, list(wish.ignored), url]
    hashed = hashlib.sha256()
    for part in (
        method,
        json.dumps(options).encode(),
        *(b"%b: %b" % pair for pair in used),
        _plain(body, wish.ignored),
    ):
        hashed.update(b"%d:" % len(part) + part)
    return hashed.hexdigest()


def _plain(body: bytes, ignored: tuple[str, ...]) -> bytes:
    try:
        parsed = json.loads(body)
    except ValueError:
        return body
    if isinstance(parsed, dict):
        parsed = {name: value for name, value in parsed.items() if name not in ignored}
    return json.dumps(parsed, separators=(",", ":")).encode()


class AnswerCache:
    """A folder of answers, max_bytes together. now gives seconds since 1970. No method raises."""

    def __init__(self, folder: Path, now: Callable[[], float], max_bytes: int = 1 << 30) -> None:
        self._folder = folder
        self._now = now
        self._max_bytes = max_bytes

    def find(self, question: str, bucket_size: int) -> list[Answer]:
        """The answers there are, in the bucket's order; a bucket is full when there are bucket_size of them."""
        found = (self._read(self._path(question, index)) for index in range(bucket_size))
        return [answer for answer in found if answer is not None]

    def save(self, question: str, bucket_size: int, answer: Answer, ttl_s: int) -> bool:
        """Keep an answer in the first free place; False when there is none, or it cannot be written."""
        if ttl_s <= 0:
            return False
        try:
            for index in range(bucket_size):
                path = self._path(question, index)
                if self._read(path) is None:
                    self._write(path, answer, self._now() + ttl_s)
                    return True
        except OSError as error:
            _log.warning("an answer could not be cached: %s", error)
        return False

    def _path(self, question: str, index: int) -> Path:
        return self._folder / question[:2] / f"{question}-{index}"

    def _read(self, path: Path) -> Answer | None:
        try:
            head, _, body = path.read_bytes().partition(b"\n")
            told = json.loads(head)
            if told["expires_s"] <= self._now() or told["size"] != len(body):
                return None
            lines = tuple((name.lower(), name, value) for name, value in _bytes_of(told["lines"]))
            return Answer(told["request_id"], told["latency_ms"], lines, body)
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _write(self, path: Path, answer: Answer, expires_s: float) -> None:
        told = {
            "expires_s": expires_s,
            "size": len(answer.body),
            "request_id": answer.request_id,
            "latency_ms": answer.latency_ms,
            "lines": [[name.decode("latin-1"), value.decode("latin-1")] for _, name, value in answer.lines],
        }
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        beside = path.with_name(f"{path.name}.{secrets.token_hex(6)}.new")
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(json.dumps(told).encode() + b"\n" + answer.body)
        beside.replace(path)

    def sweep(self) -> None:
        """Remove what has expired, then the oldest, until the rest fits."""
        entries = []
        for path in self._folder.glob("*/*"):
            with contextlib.suppress(OSError):
                facts = path.stat()
                entries.append((facts.st_mtime, facts.st_size, path))
        kept = 0
        for _, size, path in sorted(entries, reverse=True):
            is_left = path.suffix != ".new" and self._read(path) is not None
            if is_left and kept + size <= self._max_bytes:
                kept += size
            else:
                path.unlink(missing_ok=True)


def _bytes_of(lines: list[list[str]]) -> Iterable[tuple[bytes, bytes]]:
    for name, value in lines:
        yield name.encode("latin-1"), value.encode("latin-1")
