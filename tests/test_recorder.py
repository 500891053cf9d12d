"""The recorder: bytes of a call become a record, whatever the bytes."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import brotli
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from heliconnect.bodies import parse_answers
from heliconnect.exchange import Capture, Cost, End, Exchange, Timing, Usage
from heliconnect.recorder import finish

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ASK = json.dumps(
    {"model": "gpt-4o-mini", "user": "body-user", "messages": [{"role": "user", "content": "Why  is\nthe sky blue?"}]}
).encode()
TELL = json.dumps(
    {
        "object": "chat.completion",
        "model": "gpt-4o-mini-2024-07-18",
        "choices": [{"message": {"role": "assistant", "content": "Because of Rayleigh."}}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5},
    }
).encode()


def a_capture(**changes: object) -> Capture:
    capture = Capture(
        request_id="3d9a1c52-7f0e-4c7e-9a53-0f7a4f6c0c01",
        started_at=NOW,
        method="POST",
        target_url="https://api.openai.com/v1/chat/completions",
        provider="openai",
        request_headers=(("content-type", "application/json"),),
        request_body=ASK,
        request_size_bytes=len(ASK),
        end=End.DONE,
        latency_ms=250.0,
        status=200,
        response_headers=(("content-type", "application/json"),),
        response_body=TELL,
        response_size_bytes=len(TELL),
        first_byte_ms=100.0,
    )
    return replace(capture, **changes)  # type: ignore[arg-type]  # the fields a test changes, by name


def test_a_call_becomes_a_whole_record() -> None:
    """Who, what, how long, how many tokens and how much money, in one record."""
    headers = (
        ("helicone-user-id", "Zoë"),
        ("helicone-session-id", "s-1"),
        ("helicone-session-name", "trip"),
        ("helicone-session-path", "/search"),
        ("helicone-property-tier", "pro"),
    )
    assert finish(a_capture(request_headers=headers)) == Exchange(
        request_id="3d9a1c52-7f0e-4c7e-9a53-0f7a4f6c0c01",
        timing=Timing(NOW, 250.0, 100.0),
        method="POST",
        target_url="https://api.openai.com/v1/chat/completions",
        status=200,
        end=End.DONE,
        provider="openai",
        flavor="openai-chat",
        model="gpt-4o-mini-2024-07-18",
        request_model="gpt-4o-mini",
        response_model="gpt-4o-mini-2024-07-18",
        user_id="Zoë",
        session_id="s-1",
        session_name="trip",
        session_path="/search",
        properties={"tier": "pro"},
        usage=Usage(input_tokens=10, output_tokens=5),
        cost=Cost(
            Decimal("0.0000045"),
            Decimal("0.0000015"),
            Decimal("0.000003"),
            source=finish(a_capture()).cost.source,  # type: ignore[union-attr]  # the installed version
            priced_on=date(2026, 3, 1),
        ),
        request_headers=headers,
        response_headers=(("content-type", "application/json"),),
        request_body=ASK.decode(),
        response_body=TELL.decode(),
        request_size_bytes=len(ASK),
        response_size_bytes=len(TELL),
        request_preview="Why is the sky blue?",
        response_preview="Because of Rayleigh.",
    )


def test_the_bodys_user_stands_in_for_the_header() -> None:
    """As at Helicone, `user` in the body names the user when no header does."""
    assert finish(a_capture()).user_id == "body-user"


@pytest.mark.parametrize(
    ("coding", "encode"),
    [
        pytest.param("gzip", gzip.compress, id="gzip"),
        pytest.param("deflate", zlib.compress, id="deflate"),
        pytest.param("deflate", lambda data: zlib.compress(data)[2:-4], id="bare-deflate"),
        pytest.param("br", brotli.compress, id="br"),
        pytest.param("zstd", lambda data: zstandard.ZstdCompressor().compress(data), id="zstd"),
        pytest.param("gzip, br", lambda data: brotli.compress(gzip.compress(data)), id="two-codings"),
    ],
)
def test_compressed_answers_are_recorded_readable(coding: str, encode: object) -> None:
    """A body's content codings are undone for the record."""
    exchange = finish(
        a_capture(response_body=encode(TELL), response_headers=(("content-encoding", coding),))  # type: ignore[operator]
    )
    assert exchange.response_body == TELL.decode()
    assert exchange.usage == Usage(input_tokens=10, output_tokens=5)


def test_a_compression_bomb_is_bounded() -> None:
    """What unpacks to more than the bound is cut there, with a warning."""
    bomb = gzip.compress(b"0" * (80 << 20))
    exchange = finish(a_capture(response_body=bomb, response_headers=(("content-encoding", "gzip"),)))
    assert len(exchange.response_body or "") == 64 << 20
    assert exchange.warnings == ("response body: only the first 64 MiB are kept",)


@pytest.mark.parametrize(
    ("changes", "status", "error"),
    [
        pytest.param({"end": End.CANCELLED, "status": 200}, -3, None, id="cancelled"),
        pytest.param({"end": End.TIMEOUT, "status": None}, -1, None, id="timeout"),
        pytest.param({"end": End.CUT, "error": "cut"}, 200, "cut", id="cut"),
        pytest.param({"end": End.UNREACHABLE, "status": None}, None, None, id="unreachable"),
        pytest.param({"status": 429}, 429, None, id="providers-own"),
    ],
)
def test_how_a_call_ended(changes: dict[str, object], status: int | None, error: str | None) -> None:
    """The status says what happened, in Helicone's numbers; what nobody answered has none."""
    exchange = finish(a_capture(**changes))
    assert (exchange.status, exchange.error) == (status, error)


@pytest.mark.parametrize("omitted", ["request", "response"])
def test_an_omitted_body_is_not_in_the_record(omitted: str) -> None:
    """Helicone-Omit-*: no body, no preview; usage, model and cost all the same."""
    exchange = finish(a_capture(request_headers=((f"helicone-omit-{omitted}", "true"),)))
    assert getattr(exchange, f"{omitted}_body") is None
    assert getattr(exchange, f"{omitted}_preview") is None
    assert exchange.usage == Usage(input_tokens=10, output_tokens=5)
    assert exchange.cost is not None


def test_the_model_override_prices_and_names_the_call() -> None:
    """Helicone-Model-Override wins over the answer and the request."""
    exchange = finish(a_capture(request_headers=(("helicone-model-override", "gpt-4o"),)))
    assert (exchange.model, exchange.request_model) == ("gpt-4o", "gpt-4o-mini")
    assert exchange.cost is not None
    assert exchange.cost.total_usd == Decimal("0.000075")


def test_the_model_is_found_in_the_path() -> None:
    """Gemini, Vertex, Azure and Bedrock name the model in the URL."""
    paths = {
        "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-pro:generateContent?a=b": "gemini-2.5-pro",
        "https://x.openai.azure.com/openai/deployments/my-gpt/chat/completions?api-version=1": "my-gpt",
        "https://bedrock-runtime.us-east-1.amazonaws.com/model/us.nova-lite-v1%3A0/converse": "us.nova-lite-v1:0",
    }
    for url, model in paths.items():
        assert finish(a_capture(target_url=url, request_body=b"{}", response_body=b"{}")).request_model == model


def test_a_cut_stream_keeps_what_came() -> None:
    """Half a stream gives the text that was sent; its usage is unknown, not 0."""
    body = b'data: {"choices":[{"index":0,"delta":{"content":"Half of"}}]}\n\ndata: {"choices":[{"ind'
    exchange = finish(
        a_capture(end=End.CUT, response_body=body, response_headers=(("content-type", "text/event-stream"),))
    )
    assert (exchange.response_preview, exchange.usage, exchange.is_stream) == ("Half of", None, True)


def test_a_cut_json_array_keeps_its_whole_items() -> None:
    """Gemini streams a JSON array; one that breaks off is read up to there."""
    body = b'[{"usageMetadata":{"promptTokenCount":3}},\n{"usageMetadata":{"promptTokenCount":4}},\n{"candi'
    assert len(parse_answers(body, "application/json")) == 2


@pytest.mark.parametrize(
    ("last", "end"),
    [
        pytest.param(b"data: [DONE]\n\n", End.DONE, id="openai"),
        pytest.param(b'event: message_stop\ndata: {"type": "message_stop"}\n\n', End.DONE, id="anthropic"),
        pytest.param(b'data: {"type":"response.completed","response":{}}\n\n', End.DONE, id="responses"),
        pytest.param(b'data: {"choices":[{"delta":{"content":"[DONE]"}}]}\n\n', End.CANCELLED, id="words"),
        pytest.param(b"data: [DO", End.CANCELLED, id="half"),
    ],
)
def test_a_reader_who_leaves_after_the_last_event_has_read_it_all(last: bytes, end: End) -> None:
    """SDKs close the connection at the last event, before the body's own end: that is no cancellation."""
    body = b'data: {"choices":[{"index":0,"delta":{"content":"All"}}]}\n\n' + last
    exchange = finish(
        a_capture(end=End.CANCELLED, response_body=body, response_headers=(("content-type", "text/event-stream"),))
    )
    assert (exchange.end, exchange.status) == (end, 200 if end is End.DONE else -3)


def test_bytes_that_are_no_text_are_kept_as_base64() -> None:
    """Audio and other binary bodies survive the record."""
    exchange = finish(a_capture(response_body=b"\xff\x00\xfe", response_headers=()))
    assert exchange.response_is_base64
    assert base64.b64decode(exchange.response_body or "") == b"\xff\x00\xfe"


def test_previews_are_short_and_hold_no_pictures() -> None:
    """A list never carries a megabyte of base64."""
    content = [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 3_000_000}},
        {"type": "text", "text": "What is this? " + "x" * 500},
    ]
    body = json.dumps({"messages": [{"role": "user", "content": content}]}).encode()
    preview = finish(a_capture(request_body=body)).request_preview or ""
    assert preview.startswith("[image] What is this?")
    assert len(preview) == 200


@given(
    st.binary(max_size=300) | st.sampled_from([ASK, TELL, b"[" * 5000, b'{"messages":[1,{"content":[3]}]}']),
    st.binary(max_size=300) | st.sampled_from([TELL, b"data: [1]\n\n", b'[{"a":1},', b'{"choices":[{"message":7}]}']),
    st.lists(
        st.tuples(st.sampled_from(["content-encoding", "content-type", "helicone-user-id"]), st.text(max_size=20))
    ),
    st.sampled_from(
        ["/v1/chat/completions", "/v1/responses", "/v1/messages", "/m/x:generateContent", "/v2/chat", "/?"]
    ),
)
@settings(max_examples=150, deadline=None)
def test_any_bytes_give_a_record(request: bytes, response: bytes, headers: list[tuple[str, str]], path: str) -> None:
    """finish() never raises, and invents no tokens."""
    exchange = finish(
        a_capture(
            request_body=request,
            response_body=response,
            request_headers=tuple(headers),
            response_headers=tuple(headers),
            target_url=f"https://api.openai.com{path}",
        )
    )
    assert exchange.request_id
    if response != TELL:
        assert exchange.usage is None
