"""What was answered, for every API flavour: bodies and streams as messages with typed parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from heliconnect.conversation import Message, Part, answered
from heliconnect.flavors import Flavor

Json = dict[str, Any]


def say(role: str, *parts: Part | str) -> Message:
    return Message(role, tuple(Part("text", part) if isinstance(part, str) else part for part in parts))


def chunk(index: int = 0, **delta: Any) -> Json:
    return {"object": "chat.completion.chunk", "choices": [{"index": index, "delta": delta}]}


@pytest.mark.parametrize(
    ("flavor", "answers", "messages"),
    [
        pytest.param(
            Flavor.OPENAI_CHAT,
            [
                {
                    "choices": [
                        {"message": {"role": "assistant", "content": "Hi", "reasoning_content": "Hm."}},
                        {"message": {"role": "assistant", "refusal": "No."}},
                    ]
                }
            ],
            [say("assistant", Part("reasoning", "Hm."), "Hi"), say("assistant", Part("refusal", "No."))],
            id="openai-chat",
        ),
        pytest.param(
            Flavor.OPENAI_CHAT,
            [
                chunk(role="assistant", content=""),
                chunk(content="Hel"),
                chunk(content="lo"),
                chunk(1, content="Second"),
                chunk(tool_calls=[{"index": 0, "function": {"name": "look", "arguments": ""}}]),
                chunk(tool_calls=[{"index": 0, "function": {"arguments": '{"at"'}}]),
                chunk(tool_calls=[{"index": 0, "function": {"arguments": ": 1}"}}]),
                {"choices": [], "usage": {}},
            ],
            [say("assistant", "Hello", Part("tool_call", '{"at": 1}', name="look")), say("assistant", "Second")],
            id="openai-chat-stream",
        ),
        pytest.param(
            Flavor.OPENAI_RESPONSES,
            [
                {
                    "object": "response",
                    "output": [
                        {"type": "reasoning", "summary": [{"text": "Hm."}]},
                        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi"}]},
                        {"type": "function_call", "name": "look", "arguments": "{}"},
                    ],
                }
            ],
            [say("assistant", Part("reasoning", "Hm."), "Hi", Part("tool_call", "{}", name="look"))],
            id="openai-responses",
        ),
        pytest.param(
            Flavor.OPENAI_RESPONSES,
            [
                {"type": "response.output_text.delta", "delta": "Hel"},
                {"type": "response.output_text.delta", "delta": "lo"},
            ],
            [say("assistant", "Hello")],
            id="openai-responses-stream-that-was-cut",
        ),
        pytest.param(
            Flavor.OPENAI_RESPONSES,
            [
                {"type": "response.output_text.delta", "delta": "Hel"},
                {
                    "type": "response.completed",
                    "response": {
                        "object": "response",
                        "output": [
                            {
                                "type": "message",
                                "role": "assistant",
                                "content": [{"type": "output_text", "text": "Hello"}],
                            }
                        ],
                    },
                },
            ],
            [say("assistant", "Hello")],
            id="openai-responses-stream",
        ),
        pytest.param(
            Flavor.OPENAI_COMPLETIONS,
            [{"choices": [{"index": 0, "text": "a"}]}, {"choices": [{"index": 0, "text": "b"}]}],
            [say("assistant", "ab")],
            id="completions-stream",
        ),
        pytest.param(
            Flavor.EMBEDDINGS,
            [{"data": [{"embedding": [1]}, {"embedding": [2]}]}],
            [say("assistant", "2 vectors")],
            id="embeddings",
        ),
        pytest.param(
            Flavor.ANTHROPIC,
            [
                {
                    "type": "message",
                    "role": "assistant",
                    "content": [{"type": "text", "text": "Hi"}, {"type": "tool_use", "name": "look", "input": {}}],
                }
            ],
            [say("assistant", "Hi", Part("tool_call", name="look", data={}))],
            id="anthropic",
        ),
        pytest.param(
            Flavor.ANTHROPIC,
            [
                {"type": "message_start", "message": {"role": "assistant", "content": []}},
                {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}},
                {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "Hm."}},
                {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
                {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Hel"}},
                {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "lo"}},
                {
                    "type": "content_block_start",
                    "index": 2,
                    "content_block": {"type": "tool_use", "name": "look", "input": {}},
                },
                {
                    "type": "content_block_delta",
                    "index": 2,
                    "delta": {"type": "input_json_delta", "partial_json": '{"at": 1}'},
                },
            ],
            [say("assistant", Part("reasoning", "Hm."), "Hello", Part("tool_call", '{"at": 1}', name="look"))],
            id="anthropic-stream",
        ),
        pytest.param(
            Flavor.GEMINI,
            [
                {
                    "candidates": [
                        {"content": {"role": "model", "parts": [{"text": "Hm.", "thought": True}, {"text": "Hel"}]}}
                    ]
                },
                {
                    "candidates": [
                        {"content": {"parts": [{"text": "lo"}, {"functionCall": {"name": "look", "args": {}}}]}}
                    ]
                },
            ],
            [say("assistant", Part("reasoning", "Hm."), "Hello", Part("tool_call", name="look", data={}))],
            id="gemini-stream",
        ),
        pytest.param(
            Flavor.COHERE,
            [{"message": {"role": "assistant", "content": [{"type": "text", "text": "Hi"}]}}],
            [say("assistant", "Hi")],
            id="cohere-2",
        ),
        pytest.param(
            Flavor.COHERE,
            [
                {"type": "content-delta", "delta": {"message": {"content": {"text": "Hel"}}}},
                {"type": "content-delta", "delta": {"message": {"content": {"text": "lo"}}}},
            ],
            [say("assistant", "Hello")],
            id="cohere-2-stream",
        ),
        pytest.param(
            Flavor.COHERE,
            [{"text": "Hi", "tool_calls": [{"name": "look", "parameters": {"at": 1}}]}],
            [say("assistant", "Hi", Part("tool_call", name="look", data={"at": 1}))],
            id="cohere-1",
        ),
        pytest.param(
            Flavor.COHERE,
            [{"generations": [{"text": "a"}, {"text": "b"}]}],
            [say("assistant", "a"), say("assistant", "b")],
            id="cohere-generate",
        ),
        pytest.param(
            Flavor.ANTHROPIC,
            [{"completion": "Hel"}, {"completion": "lo"}],
            [say("assistant", "Hello")],
            id="anthropic-complete",
        ),
        pytest.param(
            Flavor.BEDROCK_CONVERSE,
            [
                {
                    "output": {
                        "message": {
                            "role": "assistant",
                            "content": [{"text": "Hi"}, {"toolUse": {"name": "look", "input": {}}}],
                        }
                    }
                }
            ],
            [say("assistant", "Hi", Part("tool_call", name="look", data={}))],
            id="converse",
        ),
        pytest.param(
            Flavor.OPENAI_CHAT,
            [{"error": {"message": "Slow down", "type": "rate_limit"}}],
            [say("error", Part("error", "Slow down", name="rate_limit"))],
            id="error",
        ),
        pytest.param(
            Flavor.ANTHROPIC,
            [
                {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hel"}},
                {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
            ],
            [say("assistant", "Hel"), say("error", Part("error", "Overloaded", name="overloaded_error"))],
            id="error-in-the-middle-of-a-stream",
        ),
        pytest.param(Flavor.OTHER, [{"x": 1}], [say("response", Part("json", data={"x": 1}))], id="unknown"),
        pytest.param(Flavor.OPENAI_CHAT, [], [], id="no-answer"),
    ],
)
def test_an_answer_becomes_messages(flavor: Flavor, answers: Sequence[object], messages: list[Message]) -> None:
    """Whole or streamed, one message a choice; errors stand behind what came before them."""
    assert answered(flavor, answers) == messages
