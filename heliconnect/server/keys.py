"""Keys of a gateway that others may reach: made here, kept as hashes in a file, asked for at each call.

A key looks like Helicone's own, so that every client sends it as it does theirs: `sk-helicone-...` reads and writes,
`pk-helicone-...` only writes: its holder may make calls and logs, and sees no record.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import string
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from heliconnect.errors import HeliconnectError
from heliconnect.protocol import key_hash

__all__ = ["KEYS", "Key", "KeyFileError", "Keys", "has_keys"]

KEYS = "keys.json"
"""The file in the data folder."""

_ALPHABET = string.ascii_lowercase + string.digits
_SESSION_S = 7 * 86_400


class KeyFileError(HeliconnectError):
    """The keys cannot be read or written, or a name is taken or unknown; the message says which."""


def has_keys(folder: Path) -> bool:
    """Whether there is a key in this data folder. Raises KeyFileError."""
    return bool(Keys(folder / KEYS).all())


@dataclass(frozen=True, slots=True)
class Key:
    """One key: what it is called, its hash (`protocol.key_hash`), whether it may read records, when it was made."""

    name: str
    hash: str
    reads: bool
    created_at: str


class Keys:
    """The keys of one data folder. What other processes change is seen at the next question."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._secret = b""
        self._keys: dict[str, Key] = {}

    def all(self) -> list[Key]:
        """Every key, in the order they were made. Raises KeyFileError."""
        self._load()
        return list(self._keys.values())

    def create(self, name: str, *, reads: bool = True) -> str:
        """A new key, told only this once. Raises KeyFileError when the name is taken."""
        self._load()
        if any(key.name == name for key in self._keys.values()):
            raise KeyFileError(f"there is a key named {name!r} already: revoke it first, or choose another name")
        parts = ["".join(secrets.choice(_ALPHABET) for _ in range(7)) for _ in range(4)]
        made = "-".join(["sk-helicone" if reads else "pk-helicone", *parts])
        hashed = str(key_hash(made))
        self._keys[hashed] = Key(name, hashed, reads, datetime.now(UTC).isoformat(timespec="seconds"))
        self._save()
        return made

    def revoke(self, name: str) -> None:
        """Take a key away; what it made stays. Raises KeyFileError when there is none of that name."""
        self._load()
        found = [hashed for hashed, key in self._keys.items() if key.name == name]
        if not found:
            raise KeyFileError(f"there is no key named {name!r}; `heliconnect keys list` shows them")
        for hashed in found:
            del self._keys[hashed]
        self._save()

    def may_write(self, hashed: str | None) -> bool:
        """Whether the key of this hash may make calls and logs."""
        return self._find(hashed) is not None

    def may_read(self, hashed: str | None) -> bool:
        """Whether the key of this hash may see records."""
        key = self._find(hashed)
        return key is not None and key.reads

    def session(self, hashed: str, now_s: float) -> str:
        """What a browser keeps for a week instead of the key."""
        told = f"{hashed[:32]}.{int(now_s) + _SESSION_S}"
        return f"{told}.{self._sign(told)}"

    def knows_session(self, text: str, now_s: float) -> bool:
        """Whether a browser's session is one of ours, still runs, and its key is still there and may read."""
        told, _, signature = text.rpartition(".")
        start, _, until = told.partition(".")
        self._load_quietly()
        if not self._secret or not until.isdecimal() or int(until) <= now_s:
            return False
        if not hmac.compare_digest(signature.encode(), self._sign(told).encode()):
            return False
        return any(key.reads and hashed.startswith(start) for hashed, key in self._keys.items())

    def _sign(self, told: str) -> str:
        return hmac.new(self._secret, told.encode(), hashlib.sha256).hexdigest()

    def _find(self, hashed: str | None) -> Key | None:
        self._load_quietly()
        return None if hashed is None else self._keys.get(hashed)

    def _load_quietly(self) -> None:
        """What cannot be read now holds as it was read before: nothing, at first."""
        try:
            self._load()
        except KeyFileError:
            return

    def _load(self) -> None:
        try:
            facts = self._path.stat()
        except FileNotFoundError:
            self._keys, self._stamp = {}, None
            return
        except OSError as error:
            raise KeyFileError(f"the keys in {self._path} cannot be read: {error}") from error
        stamp = (facts.st_mtime_ns, facts.st_ino)
        if stamp == self._stamp:
            return
        try:
            told = json.loads(self._path.read_bytes())
            keys = {one["hash"]: Key(**one) for one in told["keys"]}
            self._secret, self._keys, self._stamp = bytes.fromhex(told["secret"]), keys, stamp
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise KeyFileError(f"the keys in {self._path} cannot be read: {error}") from error

    def _save(self) -> None:
        secret = self._secret.hex() or secrets.token_hex(32)
        told = {"secret": secret, "keys": [asdict(key) for key in self._keys.values()]}
        beside = self._path.with_suffix(f".{secrets.token_hex(4)}.new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                json.dump(told, file, indent=1)
            beside.replace(self._path)
        except OSError as error:
            raise KeyFileError(f"the keys in {self._path} cannot be written: {error}") from error
        self._stamp = None
