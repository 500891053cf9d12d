"""Helicone's loggers, which tell of calls that were made past the gateway: every call is recorded as it was."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.clients.node import npm_package, run
from tests.clients.programs import has_prompts_of_old
from tests.clients.said import (
    ANSWER,
    ASK,
    CHAT_MODEL,
    CLAUDE,
    EMBEDDING_MODEL,
    HELICONE_KEY,
    Record,
    a_user,
    check_record,
    needed,
    python_package,
    said,
)
from tests.conftest import Running

pytestmark = pytest.mark.filterwarnings("ignore")

ROOT = Path(__file__).parents[2]
REQUEST = {"model": CHAT_MODEL, "messages": ASK}
CHAT = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": CHAT_MODEL,
    "choices": [{"index": 0, "message": {"role": "assistant", "content": ANSWER}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 4, "completion_tokens": 6, "total_tokens": 10},
}
MESSAGE = {
    "type": "message",
    "role": "assistant",
    "model": CLAUDE,
    "content": [{"type": "text", "text": ANSWER}],
    "usage": {"input_tokens": 4, "output_tokens": 6},
}
Row = tuple[str, int, int | None, int | None, bool, str | None]


def rows(live: Running, user: str, count: int) -> list[Row]:
    """The records of a user: model, status, tokens, whether the cost is known, and the answer's text."""
    found = live.records(user, count)
    for record in found:
        check_record(live, record, user)
    return [
        (
            *(record["model"], record["response_status"], record["prompt_tokens"], record["completion_tokens"]),
            *(record["costUSD"] is not None and record["costUSD"] > 0, record["response_preview"] or None),
        )
        for record in found
    ]


def chunk(delta: dict[str, Any], **more: Any) -> dict[str, Any]:
    choices = [{"index": 0, "delta": delta, "finish_reason": None}] if delta else []
    return {"id": "c", "object": "chat.completion.chunk", "model": CHAT_MODEL, "choices": choices, **more}


def test_helicone_helpers(live: Running, record_property: Record) -> None:
    """Answers, streams, failures, tools and vector searches.

    Its log builder names no provider, so that no price is known, and says 200 of a failure as well.
    """
    record_property("package", needed("helicone-helpers", python_package("helicone-helpers")))
    record_property(
        "shown", "`log_request` for OpenAI, Anthropic and others, log builder with streams, tools, vector DB"
    )
    from helicone_helpers import HeliconeManualLogger

    user = a_user("helpers")
    headers = {name: value for name, value in said(user).items() if name != "Helicone-Auth"}
    logger = HeliconeManualLogger(api_key=HELICONE_KEY, headers=headers, logging_endpoint=live.url)

    def log(request: dict[str, Any], answer: dict[str, Any], provider: str | None = None) -> None:
        assert logger.log_request(request, lambda one: one.append_results(answer) or "back", {}, provider) == "back"

    log(REQUEST, CHAT, "openai")
    log({"model": CLAUDE, "max_tokens": 9, "messages": ASK}, MESSAGE, "anthropic")
    log(REQUEST, CHAT)
    log({"_type": "tool", "toolName": "weather", "input": {"city": "Lisbon"}}, {"found": 1})
    log({"_type": "vector_db", "operation": "search", "text": "sights", "topK": 3}, {"found": 1})
    streamed, failed = logger.log_builder({**REQUEST, "stream": True}), logger.log_builder(REQUEST)
    for piece in ("Here is my ", "answer to: hi"):
        streamed.add_chunk(chunk({"content": piece}))
    streamed.add_chunk(chunk({}, usage=CHAT["usage"]))
    asyncio.run(streamed.send_log())
    failed.set_error(ValueError("no quota"))
    asyncio.run(failed.send_log())
    *told, failure = rows(live, user, 7)
    tool, vectors = live.records(user, 7)[3:5]
    assert tool["response_body"] == {"found": 1, "_type": "tool", "toolName": "weather"}
    assert vectors["response_body"] == {"found": 1, "_type": "vector_db"}
    assert told == [
        (CHAT_MODEL, 200, 4, 6, True, ANSWER),
        (CLAUDE, 200, 4, 6, True, ANSWER),
        (CHAT_MODEL, 200, 4, 6, False, ANSWER),
        ("tool:weather", 200, None, None, False, tool["response_preview"]),
        ("vector_db", 200, None, None, False, vectors["response_preview"]),
        (CHAT_MODEL, 200, 4, 6, False, ANSWER),
    ]
    assert failure[:5] == (CHAT_MODEL, 200, None, None, False)
    assert "no quota" in live.records(user, 7)[-1]["response_body"]


def test_helicone_helpers_of_npm(live: Running, record_property: Record) -> None:
    """All ways of logging; those that name no provider have no price."""
    record_property("package", needed("@helicone/helpers", npm_package("@helicone/helpers")))
    record_property(
        "shown", "`logRequest`, `logStream`, `logSingleStream`, `logSingleRequest`, log builder, tools, data"
    )
    user = a_user("npm helpers")
    assert run("loggers.mjs", url=live.url, provider=live.provider.url, headers=said(user)) == ANSWER
    *told, _, tool, vectors, data = rows(live, user, 10)
    assert told == [(CHAT_MODEL, 200, 4, 6, True, ANSWER)] + [(CHAT_MODEL, 200, 4, 6, False, ANSWER)] * 5
    assert [one[0] for one in (tool, vectors, data)] == ["tool:weather", "vector_db", "data:prices"]
    failed = live.records(user, 10)[6]
    assert failed["response_status"] == 500
    assert "no quota" in failed["response_body"]
    assert live.records(user, 10)[4]["delay_ms"] == 250


def program(name: str, live: Running, user: str) -> subprocess.CompletedProcess[str]:
    """Run a client that needs a process of its own."""
    words = [sys.executable, "-W", "ignore", "-m", "tests.clients.programs", name, live.provider.url, live.url, user]
    environ = {**os.environ, "TRACELOOP_TELEMETRY": "false"}
    done = subprocess.run(words, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def test_litellm_callback(live: Running, record_property: Record) -> None:
    """Each call by the model, tokens and cost of its answer."""
    package = needed("litellm", python_package("litellm"))
    if tuple(int(part) for part in package.split()[1].split(".")[:2]) < (1, 110):
        pytest.skip(f"{package}: its callback cannot serialise the usage of a stream, and logs none")
    record_property("package", package)
    record_property("shown", '`success_callback=["helicone"]`: chat, whole and streamed, embeddings, Gemini, Claude')
    user = a_user("litellm callback")
    chats = [CHAT_MODEL, "o4-mini", "gemini-2.5-flash", *([CLAUDE] if has_prompts_of_old() else []), CHAT_MODEL]
    assert program("litellm", live, user).stdout.splitlines() == [ANSWER] * (len(chats) - 1)
    expected = [(model, 200, 4, 6, True, ANSWER) for model in chats]
    found = rows(live, user, len(expected) + 1)
    assert sorted(found[:-1]) == sorted(expected)
    assert found[-1][:5] == (EMBEDDING_MODEL, 200, 4, 0, True)


def test_helicone_async_sends_spans(live: Running, record_property: Record) -> None:
    """Its OpenTelemetry spans become records, and its calls go on."""
    record_property("package", needed("helicone-async", python_package("helicone-async")))
    if find_spec("openai") is None:
        pytest.skip("not installed: openai")
    record_property("shown", "OpenTelemetry spans, with properties")
    user = a_user("async")
    done = program("helicone-async", live, user)
    assert done.stdout.splitlines()[-1] == ANSWER
    assert len(live.provider.requests) == 1
    (row,) = rows(live, user, 1)
    assert row == (CHAT_MODEL, 200, 4, 6, True, ANSWER)
