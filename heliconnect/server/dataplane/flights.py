"""Questions that are being asked right now: whoever asks the same waits for the answer."""

from __future__ import annotations

from typing import Protocol

from heliconnect.server.features.caching import Answer

__all__ = ["Flights", "Passenger"]


class Passenger(Protocol):
    """A call that waits for the answer to another's question."""

    def ask(self) -> None: ...
    def give(self, answer: Answer) -> None: ...


class Flights:
    """One for each process; for its event loop only."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[Passenger]] = {}

    def join(self, question: str, call: Passenger) -> bool:
        """Whether somebody asks this already; then the call is told."""
        waiting = self._waiting.get(question)
        if waiting is None:
            self._waiting[question] = []
            return False
        waiting.append(call)
        return True

    def leave(self, question: str, call: Passenger) -> None:
        """A call waits no longer."""
        waiting = self._waiting.get(question)
        if waiting is not None and call in waiting:
            waiting.remove(call)

    def land(self, question: str, answer: Answer | None) -> None:
        """The question was answered; without an answer to give, all who waited ask it themselves."""
        waiting = self._waiting.pop(question, [])
        for call in waiting:
            if answer is None:
                call.ask()
            else:
                call.give(answer)
