"""The demo's traffic: five users at once through every adapter, and the odd cases a dashboard has to show."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import heliconnect as hc
from heliconnect.errors import MissingExtraError

try:
    import httpx
    from openai import APIStatusError, AsyncOpenAI
except ImportError as exc:
    raise MissingExtraError("heliconnect demo", "all") from exc

__all__ = ["ODD_CASES", "USERS", "WAYS", "Sent", "first_wave", "trickle"]

USERS = {"ada": "Lisbon", "grace": "Oslo", "linus": "Turin", "margaret": "Kyoto", "Zoë": "Århus"}
"""Who calls, and the place that only their prompts name: so a record with somebody else's user id is seen at once."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way of calling: its label, a text that only its prompts hold, and the path its records stand under."""

    label: str
    prompt: str
    path: str


WAYS = (
    Way("openai", "Name three sights", "/ideas"),
    Way("anthropic", "safe?", "/check"),
    Way("langchain invoke", "Outline a day", "/write"),
    Way("langchain astream", "Tell a story", "/write"),
    Way("langgraph", "Pick a hotel", "/booking/book"),
    Way("langgraph, next node", "Price a weekend", "/booking/price"),
    Way("litellm", "Translate: ", "/draft"),
    Way("litellm async", "Correct: ", "/review"),
    Way("litellm stream", "Polish: ", "/polish"),
)


ODD_CASES = 6
"""How many calls the odd cases make."""


@dataclass(frozen=True, slots=True)
class Sent:
    """One call that was made: by whom, which way, and the place its prompt names."""

    user: str
    place: str
    way: Way


async def first_wave(app_url: str) -> tuple[Sent, ...]:
    """Every user's two web requests, all at once; then some odd cases. Gives the calls the web requests made."""
    async with httpx.AsyncClient(base_url=app_url, timeout=60) as client:
        await asyncio.gather(*(_visit(client, user, place) for user, place in USERS.items()))
    await _odd_cases()
    return tuple(Sent(user, place, way) for (user, place), way in itertools.product(USERS.items(), WAYS))


async def _visit(client: httpx.AsyncClient, user: str, place: str) -> None:
    headers = {b"x-user": user.encode(), b"x-session": f"trip-to-{place.lower()}".encode()}
    for path, params in (("/trips", {"city": place}), ("/translations", {"text": f"Good morning from {place}"})):
        answer = await client.post(path, params=params, headers=headers)
        answer.raise_for_status()


_next_user: Iterator[tuple[str, str]] = itertools.cycle(USERS.items())


async def trickle(app_url: str) -> None:
    """One web request of one user."""
    user, place = next(_next_user)
    async with httpx.AsyncClient(base_url=app_url, timeout=60) as client:
        answer = await client.post(
            "/translations", params={"text": f"Good evening from {place}"}, headers={b"x-user": user.encode()}
        )
        answer.raise_for_status()


async def _odd_cases() -> None:
    """What goes wrong or is unusual in real life: a rate limit, a refused key, a cut stream, a reader who leaves."""
    async with hc.connect(AsyncOpenAI(max_retries=0)) as client:
        with hc.context(user_id="ops", properties={"feature": "odd cases"}), hc.session("night shift"):
            for name, text in (
                ("rate limited", "One too many [[status=429]]"),
                ("refused", "With a wrong key [[status=401]]"),
                ("overloaded", "At a bad moment [[status=503]]"),
            ):
                with hc.step(name), contextlib.suppress(APIStatusError):
                    await client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": text}])
            with hc.step("unknown model"):
                await client.chat.completions.create(
                    model="house-model-7b", messages=[{"role": "user", "content": "What do you cost?"}]
                )
            with hc.step("reader leaves"):
                stream = await client.chat.completions.create(
                    model="gpt-4o",
                    stream=True,
                    messages=[{"role": "user", "content": "Tell me something long, slowly [[delay=300]]"}],
                )
                async for _ in stream:
                    break
                await stream.close()
            with hc.step("embed"):
                await client.embeddings.create(model="text-embedding-3-small", input=["Lisbon", "Oslo"])
