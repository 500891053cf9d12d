"""The families of attributes: each convention's words for a call, and the bodies that are made of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from heliconnect.recorder import finish
from tests.spans import Json, bodies_of, capture_of, span

ASKED = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
SAID = {"role": "assistant", "content": "Hello"}
CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Lisbon"}'}}
TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
NOW = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o"}
OLD = {"gen_ai.system": "OpenAI", "gen_ai.request.model": "gpt-4o", "llm.request.type": "chat"}
INFERENCE = {"openinference.span.kind": "LLM", "llm.system": "openai", "llm.model_name": "gpt-4o"}
AI_SDK = {"gen_ai.system": "openai.chat", "gen_ai.request.model": "gpt-4o"}


def parts(*given: Json, role: str, **more: str) -> Json:
    return {"role": role, "parts": list(given), **more}


def text(said: str) -> Json:
    return {"type": "text", "content": said}


INPUT = [parts(text("Be brief."), role="system"), parts(text("Hi"), role="user")]
OUTPUT = [parts(text("Hello"), role="assistant", finish_reason="stop")]


@pytest.mark.parametrize(
    ("attributes", "events"),
    [
        pytest.param(
            {**NOW, "gen_ai.input.messages": json.dumps(INPUT), "gen_ai.output.messages": json.dumps(OUTPUT)},
            (),
            id="gen-ai-json",
        ),
        pytest.param({**NOW, "gen_ai.input.messages": INPUT, "gen_ai.output.messages": OUTPUT}, (), id="gen-ai-values"),
        pytest.param(
            {
                **NOW,
                "gen_ai.system_instructions": json.dumps([text("Be brief.")]),
                "gen_ai.input.messages": json.dumps(INPUT[1:]),
                "gen_ai.output.messages": json.dumps(OUTPUT),
            },
            (),
            id="gen-ai-instructions",
        ),
        pytest.param(
            NOW,
            (
                (
                    "gen_ai.client.inference.operation.details",
                    {"gen_ai.input.messages": INPUT, "gen_ai.output.messages": OUTPUT},
                ),
            ),
            id="gen-ai-details-event",
        ),
        pytest.param(
            NOW,
            (
                ("gen_ai.system.message", {"content": "Be brief."}),
                ("gen_ai.user.message", {"gen_ai.event.content": '{"content": "Hi"}'}),
                ("gen_ai.choice", {"index": 0, "finish_reason": "stop", "message": json.dumps(SAID)}),
            ),
            id="gen-ai-message-events",
        ),
        pytest.param(
            {**NOW, "gen_ai.response.finish_reasons": ["stop"]},
            (
                ("gen_ai.content.prompt", {"gen_ai.prompt": json.dumps(ASKED)}),
                ("gen_ai.content.completion", {"gen_ai.completion": json.dumps([SAID])}),
            ),
            id="gen-ai-content-events",
        ),
        pytest.param(
            {
                **OLD,
                "gen_ai.prompt.0.role": "system",
                "gen_ai.prompt.0.content": "Be brief.",
                "gen_ai.prompt.1.role": "user",
                "gen_ai.prompt.1.content": "Hi",
                "gen_ai.completion.0.content": "Hello",
                "gen_ai.completion.0.finish_reason": "stop",
            },
            (),
            id="traceloop",
        ),
        pytest.param(
            {
                **INFERENCE,
                "llm.input_messages.0.message.role": "system",
                "llm.input_messages.0.message.content": "Be brief.",
                "llm.input_messages.1.message.role": "user",
                "llm.input_messages.1.message.contents.0.message_content.type": "text",
                "llm.input_messages.1.message.contents.0.message_content.text": "Hi",
                "llm.output_messages.0.message.role": "assistant",
                "llm.output_messages.0.message.content": "Hello",
                "llm.finish_reason": "stop",
            },
            (),
            id="openinference",
        ),
        pytest.param(
            {
                **INFERENCE,
                "input.value": json.dumps({"model": "gpt-4o", "messages": ASKED}),
                "output.value": json.dumps({"choices": [{"message": SAID, "finish_reason": "stop"}]}),
            },
            (),
            id="openinference-values",
        ),
        pytest.param(
            {
                **AI_SDK,
                "ai.prompt.messages": json.dumps([ASKED[0], {"role": "user", "content": "Hi"}]),
                "ai.response.text": "Hello",
                "ai.response.finishReason": "stop",
            },
            (),
            id="ai-sdk",
        ),
    ],
)
def test_what_was_said_is_the_same_in_every_convention(attributes: Json, events: Any) -> None:
    """The bodies of OpenAI's chat, which the pages read as any other call's."""
    request, answer = bodies_of(span(attributes, events=events))
    assert request == {"model": "gpt-4o", "messages": ASKED}
    answer.pop("model", None)
    choice = {"index": 0, "message": SAID, "finish_reason": "stop"}
    assert answer == {"object": "chat.completion", "choices": [choice]}
    exchange = finish(capture_of(span(attributes, events=events)))
    assert (exchange.flavor, exchange.provider, exchange.model) == ("openai-chat", "openai", "gpt-4o")
    assert (exchange.request_preview, exchange.response_preview) == ("Hi", "Hello")
    assert (exchange.usage, exchange.cost, exchange.warnings) == (None, None, ())


@pytest.mark.parametrize(
    ("attributes", "asked"),
    [
        pytest.param(
            {
                **NOW,
                "gen_ai.input.messages": json.dumps(
                    [
                        parts(
                            {"type": "reasoning", "content": "Hm."},
                            {"type": "tool_call", "id": "c1", "name": "weather", "arguments": {"city": "Lisbon"}},
                            role="assistant",
                        ),
                        parts({"type": "tool_call_response", "id": "c1", "response": {"sky": "blue"}}, role="tool"),
                    ]
                ),
            },
            [
                {"role": "assistant", "tool_calls": [CALL], "reasoning_content": "Hm."},
                {"role": "tool", "tool_call_id": "c1", "content": '{"sky":"blue"}'},
            ],
            id="gen-ai-tools",
        ),
        pytest.param(
            {
                **NOW,
                "gen_ai.input.messages": json.dumps(
                    [
                        parts(
                            text("See:"),
                            {"type": "blob", "modality": "image", "mime_type": "image/png", "content": "aGk="},
                            {"type": "uri", "modality": "image", "uri": "https://example.com/a.png"},
                            {"type": "blob", "modality": "audio", "mime_type": "audio/wav", "content": "aGk="},
                            {"type": "uri", "modality": "video", "uri": "https://example.com/a.mp4"},
                            {"type": "file", "modality": "image", "file_id": "file-1"},
                            {"type": "own", "x": 1},
                            "bare",
                            role="user",
                        )
                    ]
                ),
            },
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "See:"},
                        {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
                        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
                        {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}},
                        {"type": "file", "file": {"filename": "video", "file_data": "https://example.com/a.mp4"}},
                        {"type": "file", "file": {"file_id": "file-1"}},
                        {"type": "own", "x": 1},
                        {"type": "text", "text": "bare"},
                    ],
                }
            ],
            id="gen-ai-media",
        ),
        pytest.param(
            {
                **OLD,
                "gen_ai.prompt.0.role": "assistant",
                "gen_ai.prompt.0.tool_calls.0.id": "c1",
                "gen_ai.prompt.0.tool_calls.0.name": "weather",
                "gen_ai.prompt.0.tool_calls.0.arguments": '{"city":"Lisbon"}',
                "gen_ai.prompt.1.role": "tool",
                "gen_ai.prompt.1.content": "sunny",
                "gen_ai.prompt.1.tool_call_id": "c1",
                "gen_ai.prompt.10.role": "user",
                "gen_ai.prompt.10.content": '[{"type": "text", "text": "Thanks"}]',
            },
            [
                {"role": "assistant", "tool_calls": [CALL]},
                {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
                {"role": "user", "content": [{"type": "text", "text": "Thanks"}]},
            ],
            id="traceloop-tools",
        ),
        pytest.param(
            {
                **INFERENCE,
                "llm.input_messages.0.message.role": "assistant",
                "llm.input_messages.0.message.contents.0.message_content.type": "reasoning",
                "llm.input_messages.0.message.contents.0.message_content.text": "Hm.",
                "llm.input_messages.0.message.tool_calls.0.tool_call.id": "c1",
                "llm.input_messages.0.message.tool_calls.0.tool_call.function.name": "weather",
                "llm.input_messages.0.message.tool_calls.0.tool_call.function.arguments": '{"city":"Lisbon"}',
                "llm.input_messages.1.message.role": "tool",
                "llm.input_messages.1.message.content": "sunny",
                "llm.input_messages.1.message.tool_call_id": "c1",
                "llm.input_messages.2.message.role": "user",
                "llm.input_messages.2.message.contents.0.message_content.image.image.url": "https://example.com/a.png",
                "llm.input_messages.2.message.contents.1.message_content.audio.audio.url": "https://example.com/a.wav",
            },
            [
                {"role": "assistant", "reasoning_content": "Hm.", "tool_calls": [CALL]},
                {"role": "tool", "content": "sunny", "tool_call_id": "c1"},
                {
                    "role": "user",
                    "content": [
                        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
                        {"type": "file", "file": {"filename": "audio", "file_data": "https://example.com/a.wav"}},
                    ],
                },
            ],
            id="openinference-tools",
        ),
        pytest.param(
            {**INFERENCE, "llm.prompts.0.prompt.text": '{"role": "no message"}'},
            [{"role": "user", "content": '{"role": "no message"}'}],
            id="openinference-prompt",
        ),
        pytest.param(
            {**INFERENCE, "input.value": '{"a": [1]}'},
            [{"role": "user", "content": '{"a": [1]}'}],
            id="openinference-any-value",
        ),
    ],
)
def test_what_was_asked_keeps_its_parts(attributes: Json, asked: list[Json]) -> None:
    """Tool calls and results, pictures, sound, files, reasoning."""
    request, _ = bodies_of(span(attributes))
    assert request["messages"] == asked


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        pytest.param(
            {
                **NOW,
                "gen_ai.output.messages": json.dumps(
                    [
                        parts(
                            {"type": "tool_call", "id": "c1", "name": "weather", "arguments": '{"city":"Lisbon"}'},
                            role="assistant",
                        )
                    ]
                ),
            },
            {"role": "assistant", "tool_calls": [CALL]},
            id="gen-ai",
        ),
        pytest.param(
            {
                **AI_SDK,
                "ai.response.toolCalls": json.dumps(
                    [{"toolCallId": "c1", "toolName": "weather", "input": {"city": "Lisbon"}}]
                ),
            },
            {"role": "assistant", "tool_calls": [CALL]},
            id="ai-sdk",
        ),
        pytest.param(
            {
                **OLD,
                "gen_ai.completion.0.function_call.name": "weather",
                "gen_ai.completion.0.function_call.arguments": '{"city":"Lisbon"}',
            },
            {"role": "assistant", "tool_calls": [{**CALL, "id": None}]},
            id="traceloop-function",
        ),
        pytest.param(
            {
                **INFERENCE,
                "llm.output_messages.0.message.function_call_name": "weather",
                "llm.output_messages.0.message.function_call_arguments_json": '{"city":"Lisbon"}',
            },
            {"role": "assistant", "tool_calls": [{**CALL, "id": None}]},
            id="openinference-function",
        ),
        pytest.param({**INFERENCE, "llm.choices.0.completion.text": "Hello"}, SAID, id="openinference-choice"),
        pytest.param({**INFERENCE, "output.value": "Hello"}, SAID, id="openinference-any-value"),
        pytest.param({**OLD, "gen_ai.completion": "Hello"}, SAID, id="old-whole"),
    ],
)
def test_what_was_answered_keeps_its_parts(attributes: Json, message: Json) -> None:
    """Tools that the model wants called, and answers that are told as text."""
    _, answer = bodies_of(span(attributes))
    assert answer["choices"][0]["message"] == message
