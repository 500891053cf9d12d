"""How an exporter is answered: taken, taken in part, or why not."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import sys
import uuid
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from fastapi import FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st

from heliconnect.server import otlp
from heliconnect.server.guard import Guard
from heliconnect.server.otlp import otlp_router
from heliconnect.server.supervisor import ServerOptions, running
from heliconnect.testing import Provider
from tests.conftest import Running
from tests.spans import ANYTHING, Json, Taking, capture_of, export, span

CALL = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "gpt-4o"}
JSON = {"content-type": "application/json"}
PROTOBUF = {"content-type": "application/x-protobuf"}
try:
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as service
except ImportError:
    service = None
needs_protobuf = pytest.mark.skipif(service is None, reason="the extra otlp is not installed")


def app_of(taking: Taking) -> Guard:
    app = FastAPI()
    app.include_router(otlp_router(taking.traces))
    return Guard(app, ["gateway"])


async def post(taking: Taking, body: bytes, headers: dict[str, str], path: str = "/v1/traces") -> httpx.Response:
    transport = httpx.ASGITransport(app_of(taking))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        return await client.post(path, content=body, headers=headers)


@pytest.mark.parametrize("path", ["/v1/traces", "/v1/trace/log", "/v1/trace/log-python"])
async def test_json_is_answered_with_json(path: str) -> None:
    """200 and an empty object; what is refused is counted, as 64-bit numbers are in OTLP's JSON."""
    taking = Taking()
    answer = await post(taking, orjson.dumps(export(span(CALL))), JSON, path)
    assert (answer.status_code, answer.json(), answer.headers["content-type"]) == (200, {}, "application/json")
    answer = await post(taking, orjson.dumps(export(span(CALL, traceId=""), span(CALL, at=2))), JSON, path)
    partial = answer.json()["partialSuccess"]
    assert (answer.status_code, partial["rejectedSpans"]) == (200, "1")
    assert "trace id" in partial["errorMessage"]
    assert len(taking.kept.captures) == 2


@needs_protobuf
async def test_protobuf_is_answered_with_protobuf() -> None:
    """Read to the same capture as JSON; refused spans are counted, a broken body has a status in protobuf."""
    from google.protobuf import json_format

    told = {
        **CALL,
        "gen_ai.input.messages": [{"role": "user", "content": "Hi"}],
        "user.id": "ada",
        "b": b"hi",
        "n": None,
    }
    document = export(span(told, events=(("First Token Stream Event", {}),), status={"code": 2, "message": "no"}))
    request = _parsed(document)
    request.resource_spans[0].scope_spans[0].spans.add(name="no ids")
    taking = Taking()
    answer = await post(taking, gzip.compress(request.SerializeToString()), {**PROTOBUF, "content-encoding": "gzip"})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-protobuf")
    partial = service.ExportTraceServiceResponse.FromString(answer.content).partial_success
    assert (partial.rejected_spans, "trace id" in partial.error_message) == (1, True)
    assert taking.kept.captures == [capture_of(*document["resourceSpans"][0]["scopeSpans"][0]["spans"])]
    answer = await post(taking, b"", PROTOBUF)
    assert (answer.status_code, answer.content) == (200, b"")
    answer = await post(taking, b"nonsense", PROTOBUF)
    assert (answer.status_code, answer.content[2:].decode()) == (400, "the body must be an ExportTraceServiceRequest")
    assert json_format.MessageToDict(partial)["rejectedSpans"] == "1"


def _parsed(document: Json) -> Any:
    """The protobuf form of a document. Its ids are hex, where protobuf's own JSON has base64."""
    from google.protobuf import json_format

    copy = json.loads(json.dumps(document))
    for one in copy["resourceSpans"][0]["scopeSpans"][0]["spans"]:
        for name in ("traceId", "spanId", "parentSpanId"):
            one[name] = base64.b64encode(bytes.fromhex(one[name])).decode()
    return json_format.ParseDict(copy, service.ExportTraceServiceRequest())


@pytest.mark.parametrize(
    ("body", "headers", "status", "words"),
    [
        pytest.param(b"nonsense", JSON, 400, "no JSON", id="no-json"),
        pytest.param(b"[]", JSON, 400, "resourceSpans", id="no-object"),
        pytest.param(b'{"resourceSpans": 1}', JSON, 400, "resourceSpans", id="no-list"),
        pytest.param(b"{}", {**JSON, "content-encoding": "gzip"}, 400, "gzip", id="not-gzip"),
        pytest.param(b"{}", {**JSON, "content-encoding": "own"}, 415, "own", id="unknown-coding"),
        pytest.param(b"{}", {"content-type": "text/plain"}, 415, "application/x-protobuf", id="other-type"),
        pytest.param(b"{}", {}, 415, "application/json", id="no-type"),
        pytest.param(
            gzip.compress(b" " * (21 << 20)), {**JSON, "content-encoding": "gzip"}, 413, "20971520", id="bomb"
        ),
        pytest.param(
            gzip.compress(b" " * (70 << 20)), {**JSON, "content-encoding": "gzip"}, 413, "20971520", id="big-bomb"
        ),
    ],
)
async def test_what_is_no_export_is_explained(body: bytes, headers: dict[str, str], status: int, words: str) -> None:
    """With a status that says whether sending it again helps: never."""
    answer = await post(Taking(), body, headers)
    assert answer.status_code == status
    assert words in answer.json()["message"]


async def test_a_body_that_is_cut_at_the_bound_is_refused() -> None:
    """One of unknown length: what is left of it may look whole."""

    async def pieces() -> Any:
        for _ in range(11):
            yield b" " * (1 << 20)

    transport = httpx.ASGITransport(app_of(Taking()))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        answer = await client.post("/v1/traces", content=pieces(), headers=JSON)
    assert (answer.status_code, "too large" in answer.json()["message"]) == (413, True)


async def test_a_full_spool_asks_for_another_try() -> None:
    """503 with Retry-After; what then comes again is kept once."""
    taking, body = Taking(), orjson.dumps(export(span(CALL)))
    taking.kept.is_open = False
    answer = await post(taking, body, JSON)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    taking.kept.is_open = True
    assert (await post(taking, body, JSON)).status_code == 200
    assert len(taking.kept.captures) == 1


async def test_without_the_extra_protobuf_is_declined_and_json_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """415 with the line that helps."""
    monkeypatch.delitem(sys.modules, "heliconnect.server.otlp.protobuf", raising=False)
    monkeypatch.delattr(otlp, "protobuf", raising=False)
    monkeypatch.setitem(sys.modules, "google.protobuf.message", None)
    answer = await post(Taking(), b"", PROTOBUF)
    assert answer.status_code == 415
    assert b"pip install 'heliconnect[otlp]', or send application/json" in answer.content
    assert (await post(Taking(), b"{}", JSON)).status_code == 200


def test_a_trace_that_comes_twice_is_one_record(live: Running) -> None:
    """Over the running server, before and after it was stored."""
    user = f"otlp {uuid.uuid4()}"
    document = export(span({**CALL, "user.id": user}, traceId=uuid.uuid4().hex))
    for _ in range(2):
        assert httpx.post(f"{live.url}/v1/traces", json=document).json() == {}
    (record,) = live.records(user, 1)
    assert httpx.post(f"{live.url}/v1/trace/log", json=document).status_code == 200
    document["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["spanId"] = "f" * 16
    assert httpx.post(f"{live.url}/v1/traces", json=document).status_code == 200
    assert record["request_id"] in {one["request_id"] for one in live.records(user, 2)}


def test_a_server_that_ends_keeps_what_waits(tmp_path: Path) -> None:
    """A call whose root has not come is in the store when the server is there again."""
    options = ServerOptions(data_dir=tmp_path, port=0)
    with running(options) as server:
        document = export(span({**CALL, "user.id": "ada"}, at=2, below=1))
        assert httpx.post(f"{server.url}/v1/traces", json=document).json() == {}
    with running(options) as server:
        assert len(Running(server, Provider()).records("ada", 1)) == 1


def test_logs_of_opentelemetry_go_to_no_provider(live: Running) -> None:
    """Whoever sends all signals here gets 404 or 405 for those that are not taken; a provider gets nothing."""
    for path in ("/v1/logs", "/v1/metrics"):
        assert httpx.post(live.url + path, json={}).status_code in {404, 405}
    assert live.provider.requests == []


@settings(max_examples=200, deadline=None)
@given(
    body=st.binary(max_size=200) | ANYTHING.map(lambda value: json.dumps(value, default=str).encode()),
    kind=st.sampled_from(["application/json", "application/x-protobuf", "text/plain", ""]),
    coding=st.sampled_from(["", "gzip", "deflate", "br", "zstd"]),
)
def test_no_body_is_an_error_of_the_server(body: bytes, kind: str, coding: str) -> None:
    """Whatever its bytes."""
    answer = asyncio.run(post(Taking(), body, {"content-type": kind, "content-encoding": coding}))
    assert answer.status_code < 500
