"""An app that OpenTelemetry watches: it makes one call of each kind and ends. Run by test_otlp_exporters.py.

    python -m tests.traced_app {openinference|traceloop} GATEWAY PROVIDER USER

In a process of its own: instrumentations leave their libraries changed.
"""

from __future__ import annotations

import contextlib
import sys
from typing import Any

from openai import APIError, OpenAI
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

MESSAGES: list[Any] = [
    {"role": "system", "content": "Be brief."},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}},
        ],
    },
]
TALK: list[Any] = [
    {"role": "user", "content": "Weather?"},
    {
        "role": "assistant",
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Lisbon"}'}}
        ],
    },
    {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
]
TOOLS: list[Any] = [
    {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
]


def main(which: str, gateway: str, upstream: str, user: str) -> None:
    """Chat, stream, tools, failure, embeddings and responses, below the spans of a request and of a step."""
    provider = TracerProvider(resource=Resource.create({"service.name": "shop"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{gateway}/v1/traces")))
    if which == "openinference":
        from openinference.instrumentation.openai import OpenAIInstrumentor

        OpenAIInstrumentor().instrument(tracer_provider=provider)
    else:
        from opentelemetry.instrumentation.openai import OpenAIInstrumentor as Traceloop

        Traceloop().instrument(tracer_provider=provider)
    openai = OpenAI(base_url=f"{upstream}/v1", api_key="sk-test", max_retries=0)
    chat = openai.chat.completions
    tracer = provider.get_tracer("shop")
    who = {"user.id": user, "helicone.property.tier": "pro"}
    with tracer.start_as_current_span("GET /ask", attributes=who) as root, tracer.start_as_current_span("describe"):
        chat.create(model="gpt-4o", messages=MESSAGES, tools=TOOLS, temperature=0)
        list(chat.create(model="gpt-4o", messages=TALK, stream=True, stream_options={"include_usage": True}))
        chat.create(model="gpt-4o", messages=MESSAGES[:1], tools=TOOLS)
        with contextlib.suppress(APIError):
            chat.create(model="gpt-4o", messages=MESSAGES[:1])
        openai.embeddings.create(model="text-embedding-3-small", input=["a", "b"])
        openai.responses.create(model="gpt-4o", input="hi there")
    print(f"{root.get_span_context().trace_id:032x}")
    provider.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
