"""What every client of these tests says of its calls, and what must be found of them afterwards.

A client is called twice: straight to the provider, and through the gateway. Its answers are the same, what reaches the
provider is the same but for Helicone's own headers, and the gateway has a record of each call, with both bodies.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import httpx
import pytest

from heliconnect.testing import Received
from tests.conftest import Running

KEY = "sk-provider"
HELICONE_KEY = "sk-helicone-aaaaaaa-bbbbbbb"
CHAT_MODEL = "gpt-4o-mini"
CLAUDE = "claude-sonnet-4-5"
EMBEDDING_MODEL = "text-embedding-3-small"
QUESTION = "hi"
ANSWER = "Here is my answer to: hi"
ASK = [{"role": "user", "content": QUESTION}]

Headers = dict[str, str]
Record = Callable[[str, object], None]


@dataclass(frozen=True, slots=True)
class Got:
    """What a client gave for one call: the text, None for embeddings, and the tokens, None where it told none."""

    text: str | None
    input_tokens: int | None
    output_tokens: int | None


@dataclass(frozen=True, slots=True)
class Client:
    """A client: its package, the calls that are made with it, in words, and making them at a URL with headers.

    key_path is what is put behind the gateway's URL: the Helicone key, which is then sent in no header.
    """

    name: str
    package: str
    shown: str
    call: Callable[[str, Headers], list[Got]]
    key_path: str = ""


def said(user: str) -> Headers:
    """What is said by default headers, as Helicone's documentation has it."""
    return {
        "Helicone-Auth": f"Bearer {HELICONE_KEY}",
        "Helicone-User-Id": user,
        "Helicone-Session-Id": "s-1",
        "Helicone-Session-Path": "/trip/search",
        "Helicone-Session-Name": "trip",
        "Helicone-Property-Tier": "pro",
    }


def a_user(name: str) -> str:
    """A user of one test's own."""
    return f"{name} {uuid.uuid4()}"


def sent(request: Received) -> dict[str, Any]:
    """A request as the provider got it, but for what names the server that was called."""
    kept = {name: value for name, value in request.headers.items() if name not in {"host", "connection"}}
    return {"method": request.method, "path": request.path, "headers": kept, "body": request.body}


def without_helicone(request: dict[str, Any]) -> dict[str, Any]:
    """What of a direct request must reach the provider through the gateway."""
    headers = {name: value for name, value in request["headers"].items() if not name.startswith("helicone-")}
    return {**request, "headers": headers}


def check_record(live: Running, record: dict[str, Any], user: str, **more: str) -> None:
    """User, session and property (and `more` of them) are recorded, and the record is found by its id as well."""
    assert record["request_user_id"] == user
    assert record["request_properties"] == {
        "tier": "pro",
        "Helicone-Session-Id": "s-1",
        "Helicone-Session-Path": "/trip/search",
        "Helicone-Session-Name": "trip",
        **more,
    }
    by_id = httpx.get(f"{live.url}/v1/request/{record['request_id']}").raise_for_status().json()["data"]
    assert by_id["request_body"] == record["request_body"]
    assert by_id["response_body"] == record["response_body"]


def check_call(record: dict[str, Any], request: Received, got: Got) -> None:
    """Model, tokens, cost, status and both bodies are those of the call."""
    body = request.json()
    assert record["response_status"] == 200
    assert record["request_body"] == body
    assert record["model"] == body["model"]
    assert (record["prompt_tokens"], record["completion_tokens"]) == (got.input_tokens, got.output_tokens)
    if got.input_tokens is None:
        assert record["costUSD"] is None
    else:
        assert record["costUSD"] > 0
    if got.text is None:
        assert "embedding" in json.dumps(record["response_body"])
    else:
        assert record["response_preview"] == got.text


def check_client(live: Running, client: Client, record_property: Record) -> None:
    """Call a client directly and through the gateway, and compare."""
    user = a_user(client.name)
    headers = said(user)
    direct_answers = client.call(live.provider.url, headers)
    direct = live.provider.requests
    live.provider.clear()
    by_path = {name: value for name, value in headers.items() if name != "Helicone-Auth"}
    answers = client.call(live.url + client.key_path, by_path if client.key_path else headers)
    reached = live.provider.requests
    assert answers == direct_answers
    assert answers, "the client made no call"
    assert all(got.text in {ANSWER, None} for got in answers)
    assert [sent(one) for one in reached] == [without_helicone(sent(one)) for one in direct]
    assert all(KEY in json.dumps(sent(one)["headers"]) for one in reached)
    for record, request, got in zip(live.records(user, len(answers)), reached, answers, strict=True):
        check_record(live, record, user)
        check_call(record, request, got)
    record_property("shown", client.shown)


def needed(package: str, found: str | None) -> str:
    """The package with its version, as it was found; skips the test where it is absent."""
    if found is None:
        pytest.skip(f"not installed: {package}")
    return found


def python_package(package: str) -> str | None:
    """A Python package with its version; None where it is absent."""
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return None
