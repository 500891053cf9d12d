"""Another tool that watches LLM calls, alone or beside heliconnect, in a process of its own.

    python -m tests.matrix.neighbours TOOL alone|before|after PROVIDER_URL GATEWAY_URL

makes the same calls each time and prints, as JSON, the types that the SDK gave and what the tool recorded. "before" and
"after" say when `hc.install()` was called: before or after the tool was set up.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterable
from typing import Any

ASK = [{"role": "user", "content": "hi"}]
VOLATILE = ("time", "duration", "thread", "pid", "_id", ".id", "lineno", "filepath")
ADDRESSES = ("url", "host", "port", "peer", "server.address", "http.target", "base_url", "api_base", "net.", "out.")
Collect = Callable[[], list[Any]]


def spans_of(exporter: Any) -> list[Any]:
    return [[span.name, str(span.kind), told(span.attributes)] for span in exporter.get_finished_spans()]


def told(attributes: Any) -> dict[str, Any]:
    """What was recorded but for times, ids and the address that the request went to."""
    kept = {}
    for name, value in sorted(dict(attributes or {}).items()):
        if not any(word in name for word in VOLATILE):
            kept[name] = "address" if is_address(name) else plain(value)
    return kept


def is_address(name: str) -> bool:
    return name == "logfire.msg" or any(word in name for word in ADDRESSES)


def plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | None) else str(type(value))


def otel_provider() -> tuple[Any, Any]:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider, exporter


def opentelemetry() -> Collect:
    from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor

    provider, exporter = otel_provider()
    HTTPXClientInstrumentor().instrument(tracer_provider=provider)
    return lambda: spans_of(exporter)


def openinference() -> Collect:
    from openinference.instrumentation.openai import OpenAIInstrumentor

    provider, exporter = otel_provider()
    OpenAIInstrumentor().instrument(tracer_provider=provider)
    return lambda: spans_of(exporter)


def langfuse() -> Collect:
    from langfuse import Langfuse
    from langfuse.langchain import CallbackHandler
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    client = Langfuse(public_key="pk", secret_key="sk", base_url="http://127.0.0.1:9", span_exporter=exporter)
    HANDLERS.append(CallbackHandler())

    def collect() -> list[Any]:
        client.flush()
        return spans_of(exporter)

    return collect


def logfire() -> Collect:
    import logfire as logfire_module
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    processors = [SimpleSpanProcessor(exporter)]
    logfire_module.configure(send_to_logfire=False, console=False, additional_span_processors=processors)
    logfire_module.instrument_openai()
    logfire_module.instrument_httpx()
    return lambda: spans_of(exporter)


def langsmith() -> Collect:
    import langsmith as langsmith_module
    import langsmith.run_helpers
    from langsmith.wrappers import wrap_openai

    recorded: list[Any] = []

    class Client(langsmith_module.Client):
        def create_run(self, name: str, inputs: Any, run_type: Any, **options: Any) -> None:
            recorded.append([name, str(run_type), sorted(inputs)])

        def update_run(self, run_id: Any, **options: Any) -> None:
            outputs = options.get("outputs") or {}
            recorded.append([sorted(outputs), plain((outputs.get("usage_metadata") or {}).get("total_tokens"))])

    client = Client(api_url="http://127.0.0.1:9", api_key="k", auto_batch_tracing=False)
    langsmith.run_helpers._set_tracing_context({"enabled": True, "client": client})
    WRAPPERS.append(wrap_openai)
    return lambda: recorded


def sentry() -> Collect:
    import sentry_sdk

    recorded: list[Any] = []

    def keep(event: Any, hint: Any) -> None:
        spans = [[span["op"], told(span.get("data"))] for span in event.get("spans", ())]
        recorded.append([event.get("transaction"), spans])

    options: dict[str, Any] = {"traces_sample_rate": 1.0, "before_send_transaction": keep}
    sentry_sdk.init(dsn="http://k@127.0.0.1:9/1", **options)
    AROUND.append(lambda: sentry_sdk.start_transaction(name="calls"))
    return lambda: recorded


def ddtrace() -> Collect:
    from ddtrace import patch
    from ddtrace.trace import TraceFilter, tracer

    recorded: list[Any] = []

    class Keep(TraceFilter):
        def process_trace(self, trace: Any) -> None:
            recorded.extend([span.name, span.resource, told(span.get_tags())] for span in trace)

    tracer.configure(trace_processors=[Keep()])
    patch(openai=True, httpx=True)

    def collect() -> list[Any]:
        tracer.flush()
        return recorded

    return collect


HANDLERS: list[Any] = []
WRAPPERS: list[Callable[[Any], Any]] = []
AROUND: list[Callable[[], Any]] = []
TOOLS: dict[str, Callable[[], Collect]] = {
    tool.__name__: tool for tool in (opentelemetry, openinference, langfuse, logfire, langsmith, sentry, ddtrace)
}


def calls(url: str) -> list[Any]:
    """The types of what the SDKs give, whole, raw, streamed and asynchronous; by httpx too."""
    import httpx
    import openai
    from langchain_openai import ChatOpenAI

    def wrapped(client: Any) -> Any:
        for wrap in WRAPPERS:
            client = wrap(client)
        return client

    async def later() -> list[Any]:
        client = wrapped(openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="k"))
        stream = await client.chat.completions.create(model="m", messages=ASK, stream=True)
        return [stream, *[part async for part in stream], await client.chat.completions.create(model="m", messages=ASK)]

    client = wrapped(openai.OpenAI(base_url=f"{url}/v1", api_key="k"))
    stream = client.chat.completions.create(model="m", messages=ASK, stream=True)
    found = [client.chat.completions.create(model="m", messages=ASK), stream, *stream]
    found.append(client.chat.completions.with_raw_response.create(model="m", messages=ASK))
    found += asyncio.run(later())
    model = ChatOpenAI(model="m", base_url=f"{url}/v1", api_key="k")
    found.append(model.invoke("hi", config={"callbacks": HANDLERS}))
    found.append(httpx.post(f"{url}/v1/chat/completions", json={"model": "m", "messages": ASK}))
    return [f"{type(one).__module__}.{type(one).__qualname__}" for one in found]


def main(arguments: Iterable[str]) -> None:
    tool, order, provider_url, gateway_url = arguments
    import heliconnect as hc
    from heliconnect.settings import Settings

    settings = Settings(base_url=gateway_url, providers={provider_url: "openai"}, failover=False)
    if order == "before":
        hc.install(settings)
    collect = TOOLS[tool]()
    if order == "after":
        hc.install(settings)
    with hc.context(user_id="ada"):
        if AROUND:
            with AROUND[0]():
                types = calls(provider_url)
        else:
            types = calls(provider_url)
    print(json.dumps({"types": types, "recorded": collect()}))


if __name__ == "__main__":
    main(sys.argv[1:])
