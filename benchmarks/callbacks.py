"""What observing a LangChain call costs the caller: heliconnect's handler and routing, Langfuse's and OpenInference's.

Run: python benchmarks/callbacks.py, with langfuse, openinference-instrumentation-langchain and opentelemetry-sdk
installed beside heliconnect[langchain,demo]. One model, one loopback provider; the tools take turns, so that a busy
moment hits all alike. Their exporters work as in production, in batches in the background, towards an address where
nobody listens. Prints the median of a call, what each tool adds to it, and how many of ours go into theirs.
"""

from __future__ import annotations

import contextlib
import logging
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

from langchain_openai import ChatOpenAI

import heliconnect as hc
from heliconnect.settings import Settings
from heliconnect.testing import Provider
from heliconnect_langchain import HeliconeCallbackHandler

Ask = Callable[[], Any]
NOBODY = "http://127.0.0.1:9"


def of_nothing(model: ChatOpenAI) -> Ask:
    """No tool at all."""
    return lambda: model.invoke("hi")


def of_heliconnect(model: ChatOpenAI) -> Ask:
    """Ours: the handler, and the call routed with five properties."""
    config: Any = {"callbacks": [HeliconeCallbackHandler()]}

    def ask() -> Any:
        with hc.context(user_id="u", session_id="s", properties={f"name {i}": f"value {i}" for i in range(5)}):
            return model.invoke("hi", config=config)

    return ask


def of_langfuse(model: ChatOpenAI) -> Ask:
    """Langfuse's handler for LangChain."""
    from langfuse import Langfuse
    from langfuse.langchain import CallbackHandler

    Langfuse(public_key="pk", secret_key="sk", base_url=NOBODY)
    config: Any = {"callbacks": [CallbackHandler()]}
    return lambda: model.invoke("hi", config=config)


@contextlib.contextmanager
def openinference() -> Iterator[None]:
    """OpenInference's instrumentation of LangChain, which watches every run while it is on."""
    from openinference.instrumentation.langchain import LangChainInstrumentor
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{NOBODY}/v1/traces")))
    LangChainInstrumentor().instrument(tracer_provider=provider)
    try:
        yield
    finally:
        LangChainInstrumentor().uninstrument()


def times_us(ask: Ask, count: int) -> list[float]:
    """How long each of `count` calls took, in microseconds, after a few unmeasured ones."""
    took = []
    for turn in range(count + 5):
        began = time.perf_counter()
        ask()
        if turn >= 5:
            took.append((time.perf_counter() - began) * 1e6)
    return took


def main() -> None:
    """Measure and print."""
    logging.disable(logging.CRITICAL)
    with Provider() as provider, Provider(as_gateway=True) as gateway:
        options: dict[str, Any] = {"model": "m", "base_url": f"{provider.url}/v1", "api_key": "k"}
        routed = ChatOpenAI(**options, http_client=None)
        hc.connect(routed, Settings(base_url=gateway.url, providers={provider.url: "openai"}))
        plain = ChatOpenAI(**options)
        asks: dict[str, Ask] = {
            "nothing": of_nothing(plain),
            "heliconnect": of_heliconnect(routed),
            "langfuse": of_langfuse(plain),
            "openinference": of_nothing(plain),
        }
        took: dict[str, list[float]] = {name: [] for name in asks}
        for _ in range(12):
            for name, ask in asks.items():
                with openinference() if name == "openinference" else contextlib.nullcontext():
                    took[name] += times_us(ask, 40)
    base = statistics.median(took["nothing"])
    added = {name: statistics.median(found) - base for name, found in took.items()}
    for name, found in took.items():
        ratio = f"{added[name] / added['heliconnect']:6.1f} x ours" if name not in {"nothing", "heliconnect"} else ""
        print(f"{name:14} {statistics.median(found):8.1f} us a call, {added[name]:+8.1f} us {ratio}")


if __name__ == "__main__":
    main()
