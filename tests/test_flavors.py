"""API flavours and bodies: told from the path, else from the answer; made readable within bounds."""

from __future__ import annotations

import zlib

import pytest

from heliconnect.bodies import decoded, parse_answers
from heliconnect.flavors import Flavor, flavor_of


@pytest.mark.parametrize(
    ("path", "flavor"),
    [
        pytest.param("https://h/v1/chat/completions?x=1", Flavor.OPENAI_CHAT, id="chat"),
        pytest.param("/openai/deployments/d/chat/completions", Flavor.OPENAI_CHAT, id="azure"),
        pytest.param("/v1/responses", Flavor.OPENAI_RESPONSES, id="responses"),
        pytest.param("/v1/responses/resp_1", Flavor.OPENAI_RESPONSES, id="one-response"),
        pytest.param("/v1/completions", Flavor.OPENAI_COMPLETIONS, id="completions"),
        pytest.param("/v1/embeddings", Flavor.EMBEDDINGS, id="embeddings"),
        pytest.param("/v1beta/models/m:batchEmbedContents", Flavor.EMBEDDINGS, id="gemini-embeddings"),
        pytest.param("/v2/embed", Flavor.EMBEDDINGS, id="cohere-embeddings"),
        pytest.param("/v1/messages", Flavor.ANTHROPIC, id="anthropic"),
        pytest.param("/v1/p/anthropic/models/claude:streamRawPredict", Flavor.ANTHROPIC, id="vertex-anthropic"),
        pytest.param("/v1beta/models/m:streamGenerateContent?alt=sse", Flavor.GEMINI, id="gemini"),
        pytest.param("/v2/chat", Flavor.COHERE, id="cohere"),
        pytest.param("/model/m/converse-stream", Flavor.BEDROCK_CONVERSE, id="bedrock"),
        pytest.param("/anything", Flavor.OTHER, id="unknown"),
    ],
)
def test_paths_tell_the_flavour(path: str, flavor: Flavor) -> None:
    """The end of the path, without its query."""
    assert flavor_of(path, None, []) is flavor


@pytest.mark.parametrize(
    ("request_", "answer", "flavor"),
    [
        pytest.param({}, {"object": "chat.completion.chunk"}, Flavor.OPENAI_CHAT, id="chat"),
        pytest.param({}, {"object": "response"}, Flavor.OPENAI_RESPONSES, id="response"),
        pytest.param({}, {"type": "response.created"}, Flavor.OPENAI_RESPONSES, id="response-stream"),
        pytest.param({}, {"object": "text_completion"}, Flavor.OPENAI_COMPLETIONS, id="completion"),
        pytest.param({}, {"type": "message_start"}, Flavor.ANTHROPIC, id="anthropic-stream"),
        pytest.param({"contents": []}, {"candidates": []}, Flavor.GEMINI, id="gemini"),
        pytest.param([], "text", Flavor.OTHER, id="nothing-known"),
    ],
)
def test_answers_tell_it_elsewhere(request_: object, answer: object, flavor: Flavor) -> None:
    """A gateway of the user's own may have any path."""
    assert flavor_of("/own/path", request_, [answer]) is flavor


@pytest.mark.parametrize(
    ("data", "coding", "problem"),
    [
        pytest.param(b"abc", "identity", None, id="identity"),
        pytest.param(b"abc", "sdch", "unknown content coding 'sdch'", id="unknown"),
        pytest.param(b"abc", "gzip", "not decodable as gzip: error", id="broken"),
        pytest.param(b"\xff" * 9, "br", "not decodable as br: error", id="broken-brotli"),
        pytest.param(b"abc", "zstd", "not decodable as zstd: ZstdError", id="broken-zstd"),
        pytest.param(zlib.compress(b"abc" * 99)[:-8], "deflate", None, id="cut-short-is-read-as-far-as-it-goes"),
    ],
)
def test_content_codings(data: bytes, coding: str, problem: str | None) -> None:
    """What cannot be undone is said, and the bytes are kept."""
    assert decoded(data, coding)[1] == problem


@pytest.mark.parametrize(
    ("body", "kind", "count"),
    [
        pytest.param(b'{"a": 1}', "application/json", 1, id="object"),
        pytest.param(b'[{"a": 1}, {"b": 2}]', "application/json", 2, id="array"),
        pytest.param(b'{"a": 1}\n{"b": 2}\nrest', "application/stream+json", 2, id="lines"),
        pytest.param(b'data: {"a": 1}\n\ndata: [DONE]\n\n', "", 1, id="events-without-their-type"),
        pytest.param(b"[broken", "application/json", 0, id="broken-array"),
        pytest.param(b"text", "text/plain", 0, id="text"),
        pytest.param(b"", "", 0, id="empty"),
    ],
)
def test_answers_are_parsed(body: bytes, kind: str, count: int) -> None:
    """Whole answers, arrays, lines and events."""
    assert len(parse_answers(body, kind)) == count
