"""Amazon's event streams: whole messages are read, in any damage; Bedrock's streams tell model, words and usage."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliconnect.eventstream import CONTENT_TYPE, decode
from heliconnect.exchange import Capture, End
from heliconnect.recorder import finish
from heliconnect.server.dashboard.dialogue import read

URL = "https://bedrock-runtime.us-east-1.amazonaws.com/model/anthropic.claude-3-haiku-20240307-v1:0/"


def message(event: str, payload: object, kind: str = "event") -> bytes:
    """One message as Bedrock sends it; a header of each other type stands before those that count."""
    odd = b"".join(
        b"\x01" + bytes([97 + code, code]) + b"\0" * size for code, size in {0: 0, 2: 1, 5: 8, 9: 16}.items()
    )
    named = {":event-type" if kind == "event" else ":exception-type": event, ":message-type": kind}
    texts = b"".join(
        bytes([len(name)]) + name.encode() + b"\7" + struct.pack(">H", len(value)) + value.encode()
        for name, value in named.items()
    )
    headers, body = odd + texts, json.dumps(payload).encode()
    prelude = struct.pack(">II", 16 + len(headers) + len(body), len(headers))
    whole = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + body
    return whole + struct.pack(">I", zlib.crc32(whole))


def chunk(event: object) -> bytes:
    return message("chunk", {"bytes": base64.b64encode(json.dumps(event).encode()).decode(), "p": "abc"})


CONVERSE = (
    message("messageStart", {"role": "assistant"}),
    message("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "Hm."}}}),
    message("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"text": "Good "}}),
    message("contentBlockDelta", {"contentBlockIndex": 1, "delta": {"text": "day"}}),
    message("contentBlockStart", {"contentBlockIndex": 2, "start": {"toolUse": {"toolUseId": "t", "name": "look"}}}),
    message("contentBlockDelta", {"contentBlockIndex": 2, "delta": {"toolUse": {"input": '{"at": '}}}),
    message("contentBlockDelta", {"contentBlockIndex": 2, "delta": {"toolUse": {"input": "1}"}}}),
    message("messageStop", {"stopReason": "tool_use"}),
    message("metadata", {"usage": {"inputTokens": 12, "outputTokens": 7, "totalTokens": 19}}),
)
INVOKE = (
    chunk({"type": "message_start", "message": {"model": "claude-3-haiku-20240307", "usage": {"input_tokens": 9}}}),
    chunk({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
    chunk({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}}),
    chunk({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 3}}),
    chunk(
        {
            "type": "message_stop",
            "amazon-bedrock-invocationMetrics": {"inputTokenCount": 9, "outputTokenCount": 3, "invocationLatency": 5},
        }
    ),
)


def record(path: str, body: bytes) -> Any:
    capture = Capture(
        request_id="r",
        started_at=datetime(2026, 1, 1, tzinfo=UTC),
        method="POST",
        target_url=URL + path,
        provider="bedrock",
        request_headers=(("content-type", "application/json"),),
        request_body=json.dumps({"messages": [{"role": "user", "content": [{"text": "hi"}]}]}).encode(),
        request_size_bytes=1,
        end=End.DONE,
        latency_ms=1.0,
        status=200,
        response_headers=(("content-type", CONTENT_TYPE),),
        response_body=body,
        response_size_bytes=len(body),
    )
    return finish(capture)


@pytest.mark.parametrize(
    ("path", "messages", "tokens", "parts"),
    [
        pytest.param(
            *("converse-stream", CONVERSE, (12, 7), [("reasoning", "Hm."), ("text", "Good day"), ("tool_call", "")]),
            id="converse",
        ),
        pytest.param(
            *("invoke-with-response-stream", INVOKE, (9, 3), [("text", "Hello")]),
            id="invoke",
        ),
    ],
)
def test_a_stream_of_bedrock_is_read(path: str, messages: tuple[bytes, ...], tokens: Any, parts: Any) -> None:
    """Model, usage, cost, and what was said."""
    exchange = record(path, b"".join(messages))
    assert exchange.is_stream
    assert exchange.usage is not None
    assert (exchange.usage.total_input, exchange.usage.total_output) == tokens
    assert exchange.cost is not None
    assert exchange.cost.total_usd > Decimal(0)
    (answer,) = read(exchange).answered
    assert [(part.kind, part.text or "") for part in answer.parts] == parts
    assert exchange.warnings == ()


def test_an_exception_in_a_stream_is_shown() -> None:
    """Its kind and words."""
    body = CONVERSE[0] + message("throttlingException", {"message": "Too many"}, kind="exception")
    (answer,) = read(record("converse-stream", body)).answered
    assert "Too many" in "".join(part.text or "" for part in answer.parts)


WHOLE = b"".join(CONVERSE)


@given(st.integers(0, len(WHOLE)))
def test_a_cut_stream_gives_what_is_whole(at: int) -> None:
    """And nothing else."""
    events = list(decode(WHOLE[:at]))
    assert events == list(decode(WHOLE))[: len(events)]
    assert len(events) == sum(len(b"".join(CONVERSE[: n + 1])) <= at for n in range(len(CONVERSE)))


@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_a_damaged_stream_gives_no_wrong_event(at: int, change: int) -> None:
    """Checksums tell."""
    damaged = bytearray(WHOLE)
    damaged[at] ^= change
    events = list(decode(bytes(damaged)))
    assert events == list(decode(WHOLE))[: len(events)]


@given(st.binary(max_size=200))
def test_any_bytes_are_read_without_an_error(data: bytes) -> None:
    """As nothing."""
    assert list(decode(data)) == []
