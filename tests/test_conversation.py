"""What was said, for every API flavour: bodies and streams as messages with typed parts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliconnect.conversation import Message, Part, answered, asked
from heliconnect.flavors import Flavor

Json = dict[str, Any]


def say(role: str, *parts: Part | str) -> Message:
    return Message(role, tuple(Part("text", part) if isinstance(part, str) else part for part in parts))


PICTURE = "data:image/png;base64,iVBO"


@pytest.mark.parametrize(
    ("flavor", "request_body", "messages"),
    [
        pytest.param(
            Flavor.OPENAI_CHAT,
            {
                "messages": [
                    {"role": "developer", "content": "Be brief."},
                    {
                        "role": "user",
                        "content": [
                            {"type": "text", "text": "What is it?"},
                            {"type": "image_url", "image_url": {"url": PICTURE}},
                        ],
                    },
                    {
                        "role": "assistant",
                        "content": None,
                        "tool_calls": [{"id": "1", "function": {"name": "look", "arguments": '{"at": 1}'}}],
                    },
                    {"role": "tool", "tool_call_id": "1", "content": "a sun"},
                ]
            },
            [
                say("developer", "Be brief."),
                say("user", "What is it?", Part("image", url=PICTURE)),
                say("assistant", Part("tool_call", '{"at": 1}', name="look")),
                say("tool", Part("tool_result", "a sun", name="1")),
            ],
            id="openai-chat",
        ),
        pytest.param(
            Flavor.OPENAI_CHAT,
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "input_audio", "input_audio": {"data": "AA", "format": "mp3"}},
                            {
                                "type": "file",
                                "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA"},
                            },
                            {"type": "new", "x": 1},
                        ],
                    }
                ]
            },
            [
                say(
                    "user",
                    Part("audio", url="data:audio/mp3;base64,AA"),
                    Part("file", name="a.pdf", url="data:application/pdf;base64,AA"),
                    Part("json", data={"type": "new", "x": 1}),
                )
            ],
            id="openai-chat-audio-file-and-what-nobody-knows",
        ),
        pytest.param(
            Flavor.OPENAI_RESPONSES,
            {
                "instructions": "Be brief.",
                "input": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "input_text", "text": "Hi"},
                            {"type": "input_image", "image_url": PICTURE},
                        ],
                    },
                    {"type": "function_call", "call_id": "c", "name": "look", "arguments": "{}"},
                    {"type": "function_call_output", "call_id": "c", "output": "a sun"},
                ],
            },
            [
                say("system", "Be brief."),
                say("user", "Hi", Part("image", url=PICTURE)),
                say("assistant", Part("tool_call", "{}", name="look")),
                say("tool", Part("tool_result", "a sun", name="c")),
            ],
            id="openai-responses",
        ),
        pytest.param(Flavor.OPENAI_RESPONSES, {"input": "Hi"}, [say("user", "Hi")], id="openai-responses-text"),
        pytest.param(
            Flavor.OPENAI_COMPLETIONS, {"prompt": ["a", "b"]}, [say("user", "a"), say("user", "b")], id="completions"
        ),
        pytest.param(Flavor.EMBEDDINGS, {"input": ["a", "b"]}, [say("user", "a"), say("user", "b")], id="embeddings"),
        pytest.param(
            Flavor.EMBEDDINGS, {"content": {"parts": [{"text": "a"}]}}, [say("user", "a")], id="embeddings-gemini"
        ),
        pytest.param(
            Flavor.ANTHROPIC,
            {
                "system": [{"type": "text", "text": "Be brief."}],
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"}},
                            {"type": "text", "text": "What?"},
                        ],
                    },
                    {
                        "role": "assistant",
                        "content": [
                            {"type": "thinking", "thinking": "Hm."},
                            {"type": "tool_use", "id": "t", "name": "look", "input": {"at": 1}},
                        ],
                    },
                    {
                        "role": "user",
                        "content": [
                            {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "a sun"}]}
                        ],
                    },
                ],
            },
            [
                say("system", "Be brief."),
                say("user", Part("image", name="image", url=PICTURE), "What?"),
                say("assistant", Part("reasoning", "Hm."), Part("tool_call", name="look", data={"at": 1})),
                say("tool", Part("tool_result", "a sun", name="t")),
            ],
            id="anthropic",
        ),
        pytest.param(
            Flavor.GEMINI,
            {
                "systemInstruction": {"parts": [{"text": "Be brief."}]},
                "contents": [
                    {
                        "role": "user",
                        "parts": [{"text": "What?"}, {"inlineData": {"mimeType": "image/png", "data": "iVBO"}}],
                    },
                    {"role": "model", "parts": [{"functionCall": {"name": "look", "args": {"at": 1}}}]},
                    {"role": "user", "parts": [{"functionResponse": {"name": "look", "response": {"it": "sun"}}}]},
                ],
            },
            [
                say("system", "Be brief."),
                say("user", "What?", Part("image", name="image/png", url=PICTURE)),
                say("assistant", Part("tool_call", name="look", data={"at": 1})),
                say("tool", Part("tool_result", name="look", data={"it": "sun"})),
            ],
            id="gemini",
        ),
        pytest.param(
            Flavor.COHERE,
            {"preamble": "Be brief.", "chat_history": [{"role": "CHATBOT", "message": "Hello"}], "message": "Hi"},
            [say("system", "Be brief."), say("assistant", "Hello"), say("user", "Hi")],
            id="cohere-1",
        ),
        pytest.param(
            Flavor.COHERE, {"messages": [{"role": "user", "content": "Hi"}]}, [say("user", "Hi")], id="cohere-2"
        ),
        pytest.param(
            Flavor.BEDROCK_CONVERSE,
            {
                "system": [{"text": "Be brief."}],
                "messages": [
                    {
                        "role": "user",
                        "content": [{"text": "Hi"}, {"toolResult": {"toolUseId": "t", "content": [{"text": "sun"}]}}],
                    }
                ],
            },
            [say("system", "Be brief."), say("user", "Hi", Part("tool_result", "sun", name="t"))],
            id="converse",
        ),
        pytest.param(
            Flavor.ANTHROPIC,
            {
                "prompt": "Hi",
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            "Look:",
                            {"type": "document", "title": "a.pdf", "source": {"url": "https://example.org/a.pdf"}},
                            {"type": "redacted_thinking", "data": "x"},
                            {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image"}]},
                            {"type": "new"},
                        ],
                    }
                ],
            },
            [
                say(
                    "user",
                    "Look:",
                    Part("file", name="a.pdf", url="https://example.org/a.pdf"),
                    Part("reasoning", "(redacted by the provider)"),
                    Part("tool_result", name="t", data=[{"type": "image"}]),
                    Part("json", data={"type": "new"}),
                ),
                say("user", "Hi"),
            ],
            id="anthropic-the-rarer-parts",
        ),
        pytest.param(
            Flavor.GEMINI,
            {
                "contents": {
                    "parts": [{"fileData": {"mimeType": "video/mp4", "fileUri": "https://x.example/v"}}, {"new": 1}]
                }
            },
            [say("user", Part("file", name="video/mp4", url="https://x.example/v"), Part("json", data={"new": 1}))],
            id="gemini-file",
        ),
        pytest.param(Flavor.OTHER, {"x": 1}, [say("request", Part("json", data={"x": 1}))], id="unknown"),
        pytest.param(
            Flavor.OPENAI_CHAT,
            {"messages": 7},
            [say("request", Part("json", data={"messages": 7}))],
            id="not-what-it-says",
        ),
        pytest.param(Flavor.OPENAI_CHAT, None, [], id="no-body"),
    ],
)
def test_a_request_becomes_messages(flavor: Flavor, request_body: object, messages: list[Message]) -> None:
    """The system's first, then in order; what has no form of its own is kept as JSON."""
    assert asked(flavor, request_body) == messages


NAMES = [
    *("messages", "choices", "message", "delta", "content", "type", "role", "parts", "text", "tool_calls", "input"),
    *("function", "index", "candidates", "contents", "system", "output", "error", "response", "data", "prompt"),
]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(NAMES),
            inner,
            max_size=5,
        )
    ),
    max_leaves=25,
)


@given(st.sampled_from(Flavor), json_values, st.lists(json_values, max_size=4))
def test_no_json_breaks_the_reading(flavor: Flavor, request_body: object, answers: list[object]) -> None:
    """Any JSON in any flavour gives messages, never an exception."""
    for message in asked(flavor, request_body) + answered(flavor, answers):
        assert isinstance(message, Message)
        assert all(isinstance(part.text, str) for part in message.parts)
