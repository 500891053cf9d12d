"""The data plane's settings, handed over by the supervisor as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Config"]


@dataclass(frozen=True, slots=True)
class Config:
    """How one data plane process listens, forwards and records. Times in seconds, sizes in bytes.

    spool is a folder, control the control plane's unix socket. upstreams: provider -> URL its calls go to instead.
    allow_targets: hosts that `Helicone-Target-URL` may name although their address is private. ca_file: certificates
    that are trusted besides the system's. keys: the file of those who may make calls; None where anybody may.
    redact: the file with the rules of `heliconnect.server.redaction`.
    max_kept_body bounds what is kept of one body for the record, max_kept_total what is kept of all calls in flight,
    max_cache what the cache may hold.
    """

    spool: str
    control: str
    host: str = "127.0.0.1"
    port: int = 8787
    reuse_port: bool = False
    upstreams: dict[str, str] = field(default_factory=dict)
    allow_targets: list[str] = field(default_factory=list)
    ca_file: str | None = None
    keys: str | None = None
    redact: str | None = None
    head_timeout: float = 20.0
    body_timeout: float = 60.0
    connect_timeout: float = 10.0
    first_byte_timeout: float = 600.0
    idle_timeout: float = 300.0
    keep_alive: float = 75.0
    grace: float = 10.0
    max_head: int = 64 << 10
    max_headers: int = 200
    max_body: int = 512 << 20
    max_connections: int = 10_000
    max_kept_body: int = 32 << 20
    max_kept_total: int = 512 << 20
    max_spool: int = 1 << 30
    max_cache: int = 1 << 30

    @property
    def folder(self) -> Path:
        """The data folder, where the features keep their state."""
        return Path(self.spool).parent

    @classmethod
    def from_json(cls, text: str) -> Config:
        """The config in `text`. Raises TypeError for an unknown field, ValueError for what is no JSON."""
        return cls(**json.loads(text))
