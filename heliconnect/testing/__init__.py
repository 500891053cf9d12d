"""Help for tests of code that calls LLMs: a scripted provider on a real socket. Needs only the standard library."""

from __future__ import annotations

from heliconnect.testing.provider import Provider
from heliconnect.testing.replies import Reply
from heliconnect.testing.wire import Received

__all__ = ["Provider", "Received", "Reply"]
