"""What observing a LangChain chain costs the caller: heliconnect's handler and routing, Langfuse's, OpenInference's.

Run: python benchmarks/callbacks.py, with langfuse, openinference-instrumentation-langchain and opentelemetry-sdk
installed beside heliconnect[langchain,demo]. The servers are processes of their own; the tools take turns, so that a
busy moment hits all alike. Their exporters work as in production, in batches in the background, towards an address
where nobody listens. Prints, for a short question and for a long conversation, the median of a call, what each tool
adds to it, and how many of ours go into theirs.
"""

from __future__ import annotations

import contextlib
import logging
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.runnables import RunnableLambda
from langchain_openai import ChatOpenAI

import heliconnect as hc
from heliconnect.settings import Settings
from heliconnect_langchain import HeliconeCallbackHandler

Ask = Callable[[list[BaseMessage]], Any]
NOBODY = "http://127.0.0.1:9"
SERVER = (
    "import sys; from heliconnect.testing import Provider\n"
    "with Provider(as_gateway=sys.argv[1] == 'gateway') as server: print(server.url, flush=True); sys.stdin.read()"
)
SHORT: list[BaseMessage] = [HumanMessage("hi")]
LONG: list[BaseMessage] = [kind(f"{turn} " + "word " * 400) for turn in range(20) for kind in (HumanMessage, AIMessage)]
PROPERTIES = {f"name {number}": f"value {number}" for number in range(5)}


@contextlib.contextmanager
def serving(what: str) -> Iterator[str]:
    """The URL of a scripted provider, or of one that answers as a gateway does, in a process of its own."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVER, what], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.stdin.close()


def chain(model: ChatOpenAI) -> Any:
    """Three runs: a step before the model, the model, a parser."""
    return RunnableLambda(lambda messages: messages[-40:]) | model | StrOutputParser()


def of_nothing(model: ChatOpenAI) -> Ask:
    """No tool at all."""
    return chain(model).invoke


def of_heliconnect(model: ChatOpenAI) -> Ask:
    """Ours: the handler, and the call routed with five properties."""
    config: Any = {"callbacks": [HeliconeCallbackHandler()]}
    made = chain(model)

    def ask(messages: list[BaseMessage]) -> Any:
        with hc.context(user_id="u", session_id="s", properties=PROPERTIES):
            return made.invoke(messages, config=config)

    return ask


def of_langfuse(model: ChatOpenAI) -> Ask:
    """Langfuse's handler for LangChain."""
    from langfuse import Langfuse
    from langfuse.langchain import CallbackHandler

    Langfuse(public_key="pk", secret_key="sk", base_url=NOBODY)
    config: Any = {"callbacks": [CallbackHandler()]}
    made = chain(model)
    return lambda messages: made.invoke(messages, config=config)


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


def times_us(ask: Ask, messages: list[BaseMessage], count: int) -> list[float]:
    """How long each of `count` calls took, in microseconds, after a few unmeasured ones."""
    took = []
    for turn in range(count + 5):
        began = time.perf_counter()
        ask(messages)
        if turn >= 5:
            took.append((time.perf_counter() - began) * 1e6)
    return took


def measure(asks: dict[str, Ask], title: str, messages: list[BaseMessage]) -> None:
    """One table."""
    took: dict[str, list[float]] = {name: [] for name in asks}
    for _ in range(10):
        for name, ask in asks.items():
            with openinference() if name == "openinference" else contextlib.nullcontext():
                took[name] += times_us(ask, messages, 30)
    base = statistics.median(took["nothing"])
    added = {name: statistics.median(found) - base for name, found in took.items()}
    print(title)
    for name, found in took.items():
        ratio = f"{added[name] / added['heliconnect']:6.1f} x ours" if name not in {"nothing", "heliconnect"} else ""
        print(f"  {name:14} {statistics.median(found):8.1f} us a call, {added[name]:+8.1f} us {ratio}")


def main() -> None:
    """Measure and print."""
    logging.disable(logging.CRITICAL)
    with serving("provider") as provider, serving("gateway") as gateway:
        options: dict[str, Any] = {"model": "m", "base_url": f"{provider}/v1", "api_key": "k"}
        plain, routed = ChatOpenAI(**options), ChatOpenAI(**options)
        hc.connect(routed, Settings(base_url=gateway, providers={provider: "openai"}))
        asks: dict[str, Ask] = {
            "nothing": of_nothing(plain),
            "heliconnect": of_heliconnect(routed),
            "langfuse": of_langfuse(plain),
            "openinference": of_nothing(plain),
        }
        measure(asks, "a short question", SHORT)
        measure(asks, "a conversation of 40 messages, 80 kB", LONG)


if __name__ == "__main__":
    main()
