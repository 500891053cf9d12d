"""Private text does not get into records: rules by regular expression and by JSON path, over real sockets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

import heliconnect as hc
from heliconnect.errors import SettingsError
from heliconnect.server.redaction import Redaction
from heliconnect.server.supervisor import ServerOptions, running
from heliconnect.testing import Provider, Reply
from tests.conftest import Running
from tests.plane import a_plane

RULES = r"""
[[rule]]
regex = '\b\d{4} \d{4} \d{4} \d{4}\b'
replace = "[card]"

[[rule]]
json_path = "$.messages[*].name"
of = "request"

[[rule]]
json_path = "$.choices[0].delta.content"
replace = "…"
of = "response"
"""
CARD = "4111 1111 1111 1111"
CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "name": "Zoë Smith", "content": f"My card is {CARD}."}]}


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.toml"
    path.write_text(RULES)
    return path


@pytest.mark.parametrize("coding", [None, "gzip"])
def test_what_is_passed_on_stays_as_it_is(rules: Path, tmp_path: Path, provider: Provider, coding: Any) -> None:
    """Only the record lacks what the rules name; nothing of it is on the disk."""
    provider.always(Reply(text=f"I see {CARD}.", content_encoding=coding))
    with a_plane(tmp_path, upstreams={"openai": provider.url}, redact=str(rules)) as plane:
        headers = {"Helicone-Property-Card": CARD, "Helicone-User-Id": "ada", "X-Card": CARD}
        answer = httpx.post(f"{plane.url}/oai/v1/chat/completions", json=CHAT, headers=headers)
        assert CARD in answer.text
        assert provider.requests[0].json() == CHAT
        (capture,) = plane.captures(1)
        spooled = plane.spooled_bytes()
    asked, told = json.loads(capture.request_body), json.loads(capture.response_body)
    assert asked["messages"][0] == {"role": "user", "name": "[redacted]", "content": "My card is [card]."}
    assert told["choices"][0]["message"]["content"] == "I see [card]."
    assert told["usage"]["total_tokens"] > 0
    kept = dict(capture.request_headers)
    assert (kept["helicone-property-card"], kept["helicone-user-id"], kept["x-card"]) == ("[card]", "ada", "[card]")
    assert "content-encoding" not in dict(capture.response_headers)
    assert b"Smith" not in spooled


def test_a_stream_is_redacted_event_by_event(rules: Path, tmp_path: Path, provider: Provider) -> None:
    """Its usage stays readable."""
    with a_plane(tmp_path, upstreams={"openai": provider.url}, redact=str(rules)) as plane:
        body = {**CHAT, "stream": True, "stream_options": {"include_usage": True}}
        answer = httpx.post(f"{plane.url}/oai/v1/chat/completions", json=body)
        (capture,) = plane.captures(1)
    assert "answer" in answer.text
    assert b"answer" not in capture.response_body
    assert capture.response_body.rstrip().endswith(b"data: [DONE]")
    assert b'"total_tokens"' in capture.response_body


def test_logs_are_held_to_the_rules_too(rules: Path, tmp_path: Path, provider: Provider) -> None:
    """Those that come by hand, and calls that went straight to their provider."""
    options = ServerOptions(tmp_path / "data", port=0, upstreams={"openai": provider.url}, redact=rules)
    with running(options) as server:
        hc.configure(base_url=server.url)
        with hc.context(user_id="logger"), hc.log(provider="openai", request=CHAT) as entry:
            entry.respond({"object": "chat.completion", "choices": []})
        assert hc.flush(10)
        (record,) = Running(server, provider).records("logger", 1)
    assert record["request_body"]["messages"][0]["content"] == "My card is [card]."


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("[[rule]]\nregex = '('", "rule 1: '(' is no regular expression", id="regex"),
        pytest.param("[[rule]]\njson_path = 'messages'", "expected a path such as", id="path"),
        pytest.param("[[rule]]\njson_path = '$'", "expected a path such as", id="no-step"),
        pytest.param("[[rule]]\nregex = 'a'\njson_path = '$.a'", "either regex or json_path", id="both"),
        pytest.param("[[rule]]\nreplace = 'a'", "either regex or json_path", id="neither"),
        pytest.param("[[rule]]\nregex = 'a'\nof = 'answer'", 'must be "request" or "response"', id="side"),
        pytest.param("[[rule]]\nregexp = 'a'", "expected json_path, of, regex, replace", id="name"),
        pytest.param("rules = 1", "must be [[rule]] tables", id="no-rules"),
        pytest.param("[[rule", "cannot be read", id="no-toml"),
    ],
)
def test_rules_that_are_wrong_are_explained(tmp_path: Path, text: str, words: str) -> None:
    """Before anything is served."""
    path = tmp_path / "rules.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        Redaction.from_file(path)
    assert words in str(caught.value)
