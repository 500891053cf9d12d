"""An app's calls as records: a few hours of traffic, and sessions with paths. The same for the same arguments."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from heliconnect.exchange import End, Exchange
from tests.dashboard_records import chat, chat_stream, claude, failure, gemini, who, with_tools

Json = dict[str, Any]
_SUBJECTS = (
    "a squeaking bottom bracket", "tubeless tape for a 25 mm rim", "how to true a wheel", "which chain for 11 speeds",
    "the meaning of error E10 on my motor", "a route along the river", "winter gloves under 40", "a creaking headset",
    "the rate limits of the booking page", "how to pack a bike for a flight", "a summary of last week's repairs",
    "the torque of a carbon seat post", "dynamo lights that stay on", "a polite answer to a late delivery",
)  # fmt: skip
_USERS = (
    "ada@example.com",
    "grace@example.com",
    "linus@example.com",
    "barbara@example.com",
    "nightly-eval",
    "anon-a0c4",
)
_MODELS = ("gpt-4o-mini", "gpt-4o-mini", "gpt-4o", "claude-sonnet-4-5", "gemini-2.5-flash", "llama-3.3-70b-versatile")


def traffic(count: int, *, until: datetime, seed: int = 7) -> list[Exchange]:
    """Calls of an app over the hours before `until`, oldest first; the same for the same arguments."""
    rng = random.Random(seed)
    moments = sorted(until - timedelta(seconds=rng.expovariate(1 / 9000) + 20) for _ in range(count))
    return [_some(rng, at) for at in moments]


def _some(rng: random.Random, at: datetime) -> Exchange:
    subject, model = rng.choice(_SUBJECTS), rng.choice(_MODELS)
    latency = rng.lognormvariate(7.2, 0.6)
    provider = {"c": "anthropic", "l": "groq"}.get(model[0], "google" if model.startswith("gemini") else "openai")
    context = who(
        rng.choice(_USERS), feature=rng.choice(("help-desk", "search", "eval")), tier=rng.choice(("pro", "free"))
    )
    facts: Json = {
        "at": at,
        "latency_ms": latency,
        "first_byte_ms": latency * rng.uniform(0.1, 0.5),
        "provider": provider,
        "headers": context,
        "request_id": str(uuid.UUID(int=rng.getrandbits(128), version=4)),
    }
    kind = rng.random()
    if kind < 0.05:
        status, told = rng.choice(
            (
                (401, "Incorrect API key provided: sk-…a91"),
                (429, "Rate limit reached for gpt-4o-mini"),
                (500, "The server had an error"),
            )
        )
        return failure(status, told, **{**facts, "latency_ms": rng.uniform(80, 400), "first_byte_ms": 70.0})
    if kind < 0.08:
        return chat_stream(f"On {subject}: it depends on the", end=End.CUT, has_usage=False, **facts)
    if kind < 0.12:
        return with_tools(**facts)
    if model.startswith("claude") and kind < 0.4:
        return claude(**facts)
    if model.startswith("gemini"):
        return gemini(f"{subject.capitalize()}: keep it clean, then measure twice.", **facts)
    answer = (
        f"{subject[0].upper()}{subject[1:]} is easily done: "
        + "look closely, note what you see, and tighten by hand first. " * rng.randint(1, 6)
    )
    return chat(f"Tell me about {subject}.", answer, model, **facts)


def trip(at: datetime, *, session: str = "sess-234328e7", user: str = "ada@example.com") -> list[Exchange]:
    """A session with paths, two rounds, one failure and one call that a folder has to stand in for."""
    plan: tuple[tuple[str, str, float, float, float, int], ...] = (
        ("/plan", "gpt-4o", 0.0, 410.0, 180.0, 200),
        ("/plan/search", "gpt-4o", 430.0, 2320.0, 400.0, 200),
        ("/plan/search/rank", "gpt-4o-mini", 2760.0, 1540.0, 280.0, 200),
        ("/draft", "gpt-4o", 3400.0, 1680.0, 520.0, 200),
        ("/draft/critique", "claude-sonnet-4-5", 5100.0, 940.0, 310.0, 200),
        ("/draft/critique/fix", "gpt-4o", 5150.0, 625.0, 600.0, 400),
        ("/tools/weather", "gpt-4o-mini", 5900.0, 760.0, 200.0, 200),
        ("/tools/weather", "gpt-4o-mini", 6050.0, 820.0, 210.0, 200),
        ("/plan", "gpt-4o-mini", 6900.0, 2440.0, 900.0, 200),
        ("/plan/search", "gpt-4o-mini", 9400.0, 2120.0, 380.0, 200),
        ("/plan/search/rank", "claude-haiku-4-5", 11540.0, 154.0, 150.0, 500),
        ("/draft", "gpt-4o", 11700.0, 1040.0, 330.0, 200),
        ("/answer", "gpt-4o", 12500.0, 1270.0, 350.0, 200),
    )
    made = []
    for at_index, (path, model, start, latency, first, status) in enumerate(plan):
        facts: Json = {
            "at": at + timedelta(milliseconds=start),
            "latency_ms": latency,
            "first_byte_ms": first,
            "headers": who(user, session, path, "trip planner", feature="planner"),
            "request_id": f"{session}-{at_index:02d}",
        }
        step = path.rpartition("/")[2]
        made.append(
            failure(status, f"could not {step}", **facts)
            if status >= 400
            else chat(
                f"Do the step “{step}” for three days along the river.",
                "Day one: " + "ride, rest, eat. " * 12,
                model,
                **facts,
            )
        )
    return made


def few_sessions(until: datetime) -> Iterator[list[Exchange]]:
    """Several sessions, the oldest first."""
    names = ("repair intake", "trip planner", "help desk", "catalogue sync", "trip planner")
    for back, name in zip(range(len(names), 0, -1), names, strict=True):
        at = until - timedelta(minutes=17 * back)
        made = trip(at, session=f"sess-{back:02d}c4e{back}f", user=_USERS[back % len(_USERS)])
        yield [replace(one, session_name=name) for one in made[: 4 + 2 * back]]
