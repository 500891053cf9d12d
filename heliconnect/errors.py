"""The exceptions heliconnect raises, all for mistakes in how it is set up or called.

HeliconnectError
├── SettingsError (ValueError)      a setting that cannot be used: a relative gateway URL, an unknown provider
├── UnsupportedClientError (TypeError)   `connect()` was given something it does not know how to route
├── MissingExtraError (ImportError)     a part was imported whose packages are not installed
├── ApiError                        the gateway's REST API refused, failed or could not be reached
└── StoreError                      records cannot be read or kept: a locked data folder, a newer schema

None of them is ever raised while a user's LLM call is under way: there, problems are logged once on the logger
"heliconnect" and the call goes on.
"""

from __future__ import annotations

__all__ = ["ApiError", "HeliconnectError", "MissingExtraError", "SettingsError", "StoreError", "UnsupportedClientError"]


class HeliconnectError(Exception):
    """Root of everything heliconnect raises."""


class SettingsError(HeliconnectError, ValueError):
    """A setting cannot be used; the message says what was expected, what came and what to write instead."""


class UnsupportedClientError(HeliconnectError, TypeError):
    """`heliconnect.connect()` was given an object it cannot route; the message lists what it can."""


class MissingExtraError(HeliconnectError, ImportError):
    """A part of heliconnect was imported without the packages of its extra; the message holds the pip line."""

    def __init__(self, module: str, extra: str) -> None:
        super().__init__(f"{module} needs more packages: pip install 'heliconnect[{extra}]'")


class ApiError(HeliconnectError):
    """The gateway's REST API gave no answer to use. status is HTTP's, None when there was no answer at all."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class StoreError(HeliconnectError):
    """The store or its data folder cannot be used; the message says why and what to do."""
