"""One thing that was found out about how heliconnect is set up."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Finding", "Level"]


class Level(StrEnum):
    """How bad it is."""

    ERROR = "error"
    """Calls are not routed, not recorded, or recorded wrongly."""
    WARNING = "warning"
    """Something is lost or doubled in some calls."""
    NOTE = "note"
    """Worth knowing; nothing is wrong."""


@dataclass(frozen=True, slots=True)
class Finding:
    """code is one fixed word for each kind ("no-gateway"), says is what was seen, remedy what to do about it."""

    code: str
    level: Level
    says: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.level} [{self.code}] {self.says}; {self.remedy}"
