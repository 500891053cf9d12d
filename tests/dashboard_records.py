"""Records for looking at the pages: calls of every API flavour, made into records by the real recorder.

`call` makes one; `every_flavour` one of each kind, failures included. Used by the tests of the pages, and by
scripts/screenshots.py through tests/dashboard_traffic.py.
"""

from __future__ import annotations

import json
import uuid
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from heliconnect.exchange import Capture, End, Exchange
from heliconnect.recorder import finish
from tests.dashboard_picture import picture

START = datetime(2026, 3, 14, 9, 30, tzinfo=UTC)
OPENAI = "https://api.openai.com/v1"
Json = dict[str, Any]


def call(
    url: str,
    request: Json | bytes,
    answer: Json | Sequence[Json] | bytes | None,
    *,
    request_id: str | None = None,
    at: datetime = START,
    status: int | None = 200,
    end: End = End.DONE,
    latency_ms: float = 1234.0,
    first_byte_ms: float | None = 320.0,
    provider: str | None = "openai",
    headers: Sequence[tuple[str, str]] = (),
    content_type: str = "application/json",
    error: str | None = None,
) -> Exchange:
    """One record. An answer that is a list is a stream of server-sent events."""
    sent = request if isinstance(request, bytes) else json.dumps(request).encode()
    if answer is None or isinstance(answer, bytes):
        got = answer or b""
    elif isinstance(answer, dict):
        got = json.dumps(answer, indent=2).encode()
    else:
        got, content_type = b"".join(map(_event, answer)), "text/event-stream"
    return finish(
        Capture(
            request_id=request_id or str(uuid.uuid4()),
            started_at=at,
            method="POST",
            target_url=url,
            provider=provider,
            request_headers=(("content-type", "application/json"), ("user-agent", "example/1.0"), *headers),
            request_body=sent,
            request_size_bytes=len(sent),
            end=end,
            latency_ms=latency_ms,
            status=status,
            response_headers=(("content-type", content_type), ("x-request-id", "req_7f3a")) if status else (),
            response_body=got,
            response_size_bytes=len(got),
            first_byte_ms=first_byte_ms if got else None,
            error=error,
        )
    )


def _event(data: Json) -> bytes:
    kind = f"event: {data['type']}\n" if isinstance(data.get("type"), str) else ""
    return f"{kind}data: {json.dumps(data)}\n\n".encode()


def who(
    user: str | None = None,
    session: str | None = None,
    path: str | None = None,
    name: str | None = None,
    **properties: str,
) -> tuple[tuple[str, str], ...]:
    """The context headers of a call."""
    plain = (
        ("helicone-user-id", user),
        ("helicone-session-id", session),
        ("helicone-session-path", path),
        ("helicone-session-name", name),
    )
    given = [(key, value) for key, value in plain if value is not None]
    return (*given, *((f"helicone-property-{key}", value) for key, value in properties.items()))


def chat(question: str, answer: str, model: str = "gpt-4o-mini", **facts: Any) -> Exchange:
    """An OpenAI chat completion; tokens counted by word."""
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": question}]
    return call(
        f"{OPENAI}/chat/completions",
        {"model": model, "messages": messages, "temperature": 0.2},
        chat_answer(answer, model, len(question.split()) * 9, len(answer.split()) * 2),
        **facts,
    )


def chat_answer(text: str, model: str, given: int, made: int) -> Json:
    """A chat completion's body."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made},
    }


SYSTEM = "You are the help desk of a bicycle shop.\nAnswer in at most eight sentences.\nIf unsure, say so."
ANSWER = """## Bleeding a disc brake

Have these ready: **mineral oil**, a syringe, a bleed block and a clean cloth.

1. Take the wheel off and push the pistons back; put the bleed block in.
2. Open the lever's port, fill the funnel to a third, and press oil up from the caliper until *no bubble* comes.
3. Close both ports, wipe everything, and squeeze twenty times.

| Brake | Oil | Torque |
|---|---|---|
| front | mineral | 6 Nm |
| rear | mineral | 6 Nm |

```python
def is_safe(lever_travel_mm: float) -> bool:
    # a third of the way is the limit
    return lever_travel_mm < 25
```

Do not mix it with DOT fluid: it destroys the seals.
"""
TOOLS = [
    {
        "type": "function",
        "function": {"name": "search_stock", "description": "Parts in stock by name", "parameters": {"type": "object"}},
    },
    {"type": "function", "function": {"name": "book_slot", "description": "Books an hour in the workshop"}},
]


def with_tools(**facts: Any) -> Exchange:
    """A chat with tools offered, called and answered, whose last answer is Markdown."""
    asked = [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": "How do I bleed my disc brakes, and have you got the oil?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "search_stock", "arguments": '{"name": "mineral oil", "limit": 2}'},
                }
            ],
        },
        {
            "role": "tool",
            "tool_call_id": "call_1",
            "content": '[{"id": 17, "name": "oil, 100 ml", "left": 4}, {"id": 18, "name": "oil, 1 l", "left": 0}]',
        },
    ]
    answer = chat_answer(ANSWER, "gpt-4o-2024-08-06", 412, 246)
    answer["usage"]["prompt_tokens_details"] = {"cached_tokens": 128}
    return call(
        f"{OPENAI}/chat/completions",
        {"model": "gpt-4o", "messages": asked, "tools": TOOLS, "temperature": 0.2, "max_tokens": 600},
        answer,
        **facts,
    )


def chat_stream(text: str, model: str = "gpt-4o", *, has_usage: bool = True, **facts: Any) -> Exchange:
    """A streamed chat completion."""
    chunk = {"id": "c", "object": "chat.completion.chunk", "model": model}
    events: list[Json] = [{**chunk, "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}]
    events += [{**chunk, "choices": [{"index": 0, "delta": {"content": word}}]} for word in _words(text)]
    if has_usage:
        usage = {"prompt_tokens": 57, "completion_tokens": len(events), "total_tokens": 57 + len(events)}
        events.append({**chunk, "choices": [], "usage": usage})
    request = {"model": model, "stream": True, "messages": [{"role": "user", "content": "Which tyres for gravel?"}]}
    return call(f"{OPENAI}/chat/completions", request, events, **facts)


def _words(text: str) -> list[str]:
    return [word + " " for word in text.split(" ")]


def responses(**facts: Any) -> Exchange:
    """OpenAI's Responses with reasoning and a function call."""
    output = [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "The rider wants the shop to be open."}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Let me look."}]},
        {"type": "function_call", "call_id": "f1", "name": "book_slot", "arguments": '{"hour": 10}'},
    ]
    usage = {
        "input_tokens": 80,
        "output_tokens": 95,
        "total_tokens": 175,
        "output_tokens_details": {"reasoning_tokens": 64},
    }
    answer = {
        "id": "resp_1",
        "object": "response",
        "model": "o4-mini",
        "status": "completed",
        "output": output,
        "usage": usage,
    }
    request = {
        "model": "o4-mini",
        "instructions": "Be brief.",
        "input": "Book me the workshop at ten.",
        "reasoning": {"effort": "low"},
    }
    return call(f"{OPENAI}/responses", request, answer, **facts)


def claude(**facts: Any) -> Exchange:
    """Anthropic's Messages: a picture asked about, thinking, a streamed answer."""
    image = {"type": "base64", "media_type": "image/png", "data": picture().partition(",")[2]}
    question = [{"type": "image", "source": image}, {"type": "text", "text": "What is in this picture?"}]
    events: list[Json] = [
        {
            "type": "message_start",
            "message": {
                "id": "msg_1",
                "type": "message",
                "role": "assistant",
                "model": "claude-sonnet-4-5",
                "content": [],
                "usage": {"input_tokens": 210, "cache_read_input_tokens": 1800, "output_tokens": 1},
            },
        },
        {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}},
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "thinking_delta", "thinking": "A round shape, warm."},
        },
        {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
        *(
            {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": word}}
            for word in _words("An orange sun on a blue sky, drawn with **few** pixels.")
        ),
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 48}},
        {"type": "message_stop"},
    ]
    request = {
        "model": "claude-sonnet-4-5",
        "max_tokens": 300,
        "stream": True,
        "system": "Describe pictures.",
        "messages": [{"role": "user", "content": question}],
    }
    return call("https://api.anthropic.com/v1/messages", request, events, **{"provider": "anthropic", **facts})


def gemini(answer: str = "Twelve speeds, one chainring.", **facts: Any) -> Exchange:
    """Gemini's generateContent."""
    request = {
        "systemInstruction": {"parts": [{"text": "Answer in one line."}]},
        "contents": [{"role": "user", "parts": [{"text": "What does 1x12 mean?"}]}],
        "generationConfig": {"temperature": 0.4, "maxOutputTokens": 200},
    }
    body = {
        "candidates": [{"content": {"role": "model", "parts": [{"text": answer}]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 19, "candidatesTokenCount": 8, "totalTokenCount": 27},
        "modelVersion": "gemini-2.5-flash",
    }
    url = "https://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash:generateContent"
    return call(url, request, body, **{"provider": "google", **facts})


def cohere(**facts: Any) -> Exchange:
    """Cohere's chat."""
    request = {"model": "command-r-plus", "messages": [{"role": "user", "content": "Name a hub."}]}
    body = {
        "id": "x",
        "message": {"role": "assistant", "content": [{"type": "text", "text": "A freehub."}]},
        "usage": {"tokens": {"input_tokens": 12, "output_tokens": 5}},
    }
    return call("https://api.cohere.com/v2/chat", request, body, **{"provider": "cohere", **facts})


def embedding(**facts: Any) -> Exchange:
    """OpenAI's embeddings."""
    request = {"model": "text-embedding-3-small", "input": ["chain", "sprocket"]}
    body = {
        "object": "list",
        "model": "text-embedding-3-small",
        "data": [{"object": "embedding", "index": at, "embedding": [0.1, 0.2]} for at in range(2)],
        "usage": {"prompt_tokens": 4, "total_tokens": 4},
    }
    return call(f"{OPENAI}/embeddings", request, body, **facts)


def completion(**facts: Any) -> Exchange:
    """A legacy completion."""
    body = {
        "object": "text_completion",
        "model": "gpt-3.5-turbo-instruct",
        "choices": [{"index": 0, "text": " and ride on."}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 4, "total_tokens": 9},
    }
    return call(f"{OPENAI}/completions", {"model": "gpt-3.5-turbo-instruct", "prompt": "Pump it up"}, body, **facts)


def failure(status: int, message: str, **facts: Any) -> Exchange:
    """A call the provider refused."""
    body = {"error": {"message": message, "type": "invalid_request_error", "code": None}}
    request = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Which pump fits a Presta valve?"}]}
    return call(f"{OPENAI}/chat/completions", request, body, **{"status": status, "latency_ms": 132.0, **facts})


EVIL = (
    '<script>window.hit=1</script><img src=x onerror="window.hit=1"><svg onload="window.hit=1"></svg>'
    '<iframe srcdoc="<script>parent.hit=1</script>"></iframe><style>body{display:none}</style>'
    "[click](javascript:window.hit=1) ![i](https://evil.example/p.png) {{7*7}} {% raw %} \x00 \u202e"
)


def hostile(**facts: Any) -> Exchange:
    """A call in which every text tries to break out of the page."""
    messages = [
        {"role": "system", "content": EVIL},
        {"role": EVIL, "content": EVIL},
        {
            "role": "user",
            "content": [
                {
                    "type": "image_url",
                    "image_url": {"url": f"data:image/svg+xml;base64,{b64encode(EVIL.encode()).decode()}"},
                },
                {"type": "image_url", "image_url": {"url": "https://evil.example/p.png"}},
            ],
        },
        {"role": "assistant", "tool_calls": [{"function": {"name": EVIL, "arguments": EVIL}}]},
    ]
    context = who("<b>u</b>", '"><script>', "/<i>a</i>/../b", "<u>name</u>", feature="<s>x</s>")
    return call(
        f"{OPENAI}/chat/completions?<script>",
        {
            "model": "<b>gpt</b>",
            "messages": messages,
            "tools": [{"function": {"name": EVIL, "description": EVIL}}],
            "stop": EVIL,
        },
        chat_answer(EVIL, "<b>gpt</b>", 3, 4),
        **{"headers": (*context, ("x-evil", EVIL)), **facts},
    )


def every_flavour() -> list[Exchange]:
    """One record of each kind, oldest first, a second apart, ids "r-00" and up."""
    made = [
        chat("Is a 32-hole rim stronger?", "A little."),
        chat_stream("Something wide with a smooth middle."),
        chat_stream("No usage here.", has_usage=False),
        responses(),
        claude(),
        gemini(),
        cohere(),
        embedding(),
        completion(),
        with_tools(headers=who("ada", "s-1", "/help", "brakes", tier="pro")),
        failure(401, "Incorrect API key provided"),
        failure(429, "Rate limit reached", headers=who("grace", tier="free")),
        chat_stream("It broke off after", end=End.CUT, has_usage=False, error="upstream closed the connection"),
        replace(chat_stream("The reader left", has_usage=False), end=End.CANCELLED, status=-3),
        call(f"{OPENAI}/chat/completions", {"model": "gpt-4o"}, None, status=None, end=End.TIMEOUT),
        call(
            f"{OPENAI}/chat/completions", {"model": "gpt-4o"}, None, status=None, end=End.UNREACHABLE, error="refused"
        ),
        call("https://llm.example.com/v9/think", b"\xff\xfe\x00binary", b"\x80\x81", provider=None),
        call("https://llm.example.com/v9/think", {"what": 1}, {"answer": [1, {"b": None}]}, provider=None),
        call("https://llm.example.com/v9/none", b"", None, provider=None, status=204),
        hostile(),
    ]
    return [
        replace(one, request_id=f"r-{at:02d}", timing=replace(one.timing, started_at=START + timedelta(seconds=at)))
        for at, one in enumerate(made)
    ]
