"""The pytest plugin: the fixture `helicone`, in every project that has heliconnect installed.

    def test_the_assistant_names_its_user(helicone):
        helicone.reply("It is sunny.")
        app.answer("What is the weather?", user="ada")
        helicone.assert_called(user_id="ada", session_path="/weather", model="gpt-4o", cost_usd_lt=0.01, calls=1)

Nothing happens, and nothing is imported, before a test asks for a fixture.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from heliconnect.testing.gateway import Helicone

__all__ = ["helicone", "helicone_disabled"]


@pytest.fixture
def helicone() -> Iterator[Helicone]:
    """A gateway in this process: every LLM call of the test goes there, offline, and is answered as scripted."""
    from heliconnect.testing.gateway import in_force  # here, so that a project that does not use it imports nothing

    with in_force() as gateway:
        yield gateway


@pytest.fixture
def helicone_disabled(monkeypatch: pytest.MonkeyPatch) -> None:
    """No routing at all during the test: for tests that mock their provider's own address."""
    from heliconnect.settings import Settings
    from heliconnect.wire.switch import switch

    monkeypatch.setattr(switch, "override", Settings(disabled=True))
