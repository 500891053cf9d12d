"""OpenTelemetry's own exporters and instrumentations against a running server: what they send becomes records."""

from __future__ import annotations

import secrets
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest

from heliconnect.testing import Reply
from tests.conftest import Running

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the exporters are in the extra dev")

from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import use_span

from tests.traced_app import MESSAGES, TALK

ROOT = Path(__file__).parents[1]
NAMES = {
    "openinference": ["ChatCompletion"] * 4 + ["CreateEmbeddings", "Response"],
    "traceloop": ["openai.chat"] * 4 + ["openai.embeddings", "openai.response"],
}
Record = dict[str, Any]


class OwnIds(IdGenerator):
    """Ids that no test shares: older SDKs make them with `random`, which is seeded anew for each test."""

    def generate_span_id(self) -> int:
        return secrets.randbits(64) or 1

    def generate_trace_id(self) -> int:
        return secrets.randbits(128) or 1


@pytest.mark.parametrize("which", NAMES)
def test_an_instrumented_app_is_recorded(live: Running, which: str) -> None:
    """Whose calls they are, where in the trace, what was said, used and paid: as the gateway itself would record it."""
    user = f"otlp {uuid.uuid4()}"
    live.provider.script(
        Reply(text="A cat.", usage={"input": 1200, "cached": 1000, "output": 40, "reasoning": 30}),
        Reply(text="one two", first_byte_delay_ms=30),
        Reply(tool_calls=(("weather", {"city": "Lisbon"}),)),
        Reply(status=429, text="slow down"),
    )
    command = [sys.executable, "-m", "tests.traced_app", which, live.url, live.provider.url, user]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    records = live.records(user, 6)
    for record, name in zip(records, NAMES[which], strict=True):
        said = record["request_properties"]
        assert (said["tier"], said["Helicone-Session-Id"]) == ("pro", done.stdout.strip())
        assert said["Helicone-Session-Path"] == f"/GET ask/describe/{name}"
        assert record["provider"] == "OPENAI"
        assert record["delay_ms"] > 0
    described, streamed, called, failed, vectors, response = records
    told_what_a_call_was(described)
    assert streamed["request_body"]["messages"] == TALK
    assert streamed["request_body"]["stream"] is True
    assert answer_of(streamed)["content"] == "one two"
    assert streamed["time_to_first_token"] >= 30
    function = answer_of(called)["tool_calls"][0]["function"]
    assert (function["name"], function["arguments"].replace(" ", "")) == ("weather", '{"city":"Lisbon"}')
    assert (failed["response_status"], failed["prompt_tokens"], failed["costUSD"]) == (500, None, None)
    assert "slow down" in failed["response_body"]["error"]["message"]
    assert (vectors["request_body"]["input"], vectors["model"]) == (["a", "b"], "text-embedding-3-small")
    assert vectors["prompt_tokens"] == 5
    assert response["request_body"]["messages"] == [{"role": "user", "content": "hi there"}]
    assert answer_of(response)["content"] == "Here is my answer to: hi there"


def answer_of(record: Record) -> dict[str, Any]:
    message: dict[str, Any] = record["response_body"]["choices"][0]["message"]
    return message


def told_what_a_call_was(record: Record) -> None:
    """The first call: its question with a picture, its tool, its answer, each part of its usage, its cost."""
    assert (record["response_status"], record["model"]) == (200, "gpt-4o")
    counts = ("prompt_tokens", "prompt_cache_read_tokens", "completion_tokens", "reasoning_tokens")
    assert [record[name] for name in counts] == [200, 1000, 10, 30]
    assert record["costUSD"] == pytest.approx(200 * 2.5e-6 + 1000 * 1.25e-6 + 40 * 1e-5)
    assert record["request_body"]["messages"] == MESSAGES
    assert record["request_body"]["tools"][0]["function"]["name"] == "weather"
    assert record["request_body"]["temperature"] == 0
    assert answer_of(record) == {"role": "assistant", "content": "A cat."}


@pytest.mark.parametrize("path", ["/v1/traces", "/v1/trace/log", "/v1/trace/log-python"])
@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip, Compression.Deflate])
def test_every_way_of_the_exporter(live: Running, path: str, compression: Compression) -> None:
    """Each span by itself, a call before the span around it; whose call it is stands in the export's headers."""
    user = f"otlp {uuid.uuid4()}"
    headers = {"Helicone-User-Id": user, "Authorization": "Bearer sk-helicone-secret"}
    provider = TracerProvider(id_generator=OwnIds())
    exporter = OTLPSpanExporter(endpoint=live.url + path, headers=headers, compression=compression)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("shop")
    asked = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o"}
    with tracer.start_as_current_span("job"), tracer.start_as_current_span("chat gpt-4o", attributes=asked):
        pass
    provider.shutdown()
    (record,) = live.records(user, 1)
    assert record["request_properties"]["Helicone-Session-Path"] == "/job/chat gpt-4o"
    assert (record["model"], record["prompt_tokens"]) == ("gpt-4o", None)
    assert "secret" not in str(record)


def test_a_batch_whose_root_never_comes_is_recorded(live: Running) -> None:
    """After ten seconds, with the part of the path that is known."""
    user = f"otlp {uuid.uuid4()}"
    provider = TracerProvider(id_generator=OwnIds())
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{live.url}/v1/traces")))
    tracer = provider.get_tracer("shop")
    asked = {"gen_ai.system": "openai", "gen_ai.request.model": "gpt-4o", "user.id": user}
    root = tracer.start_span("never ends")
    with use_span(root), tracer.start_as_current_span("chat gpt-4o", attributes=asked):
        pass
    provider.shutdown()
    (record,) = live.records(user, 1, timeout_s=15)
    assert record["request_properties"]["Helicone-Session-Path"] == "/chat gpt-4o"
