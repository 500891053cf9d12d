"""LangChain further: every run without a handler of its own, loops, agents, embeddings, retries, concurrent users."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any, TypedDict

import openai
import pytest
from langchain.agents import create_agent
from langchain_core.documents import Document
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from langgraph.graph import END, START, StateGraph

import heliconnect as hc
import heliconnect_langchain
from heliconnect.callcontext import active_run
from heliconnect.testing import Provider, Reply
from heliconnect_langchain import HeliconeCallbackHandler
from heliconnect_langchain.agent import HeliconeAgentMiddleware
from tests.conftest import GATEWAY_MARK


@pytest.fixture(autouse=True)
def settings(provider: Provider, gateway: Provider) -> None:
    hc.configure(base_url=gateway.url, providers={provider.url: "openai"})


@pytest.fixture
def model(provider: Provider) -> ChatOpenAI:
    return ChatOpenAI(model="gpt-4o", base_url=f"{provider.url}/v1", api_key="k", max_retries=0)


@pytest.fixture
def everywhere() -> Iterator[HeliconeCallbackHandler]:
    yield heliconnect_langchain.install()
    heliconnect_langchain.uninstall()


def paths(gateway: Provider) -> list[str]:
    return [got.headers["helicone-session-path"] for got in gateway.requests]


def test_installed_for_all_runs(
    model: ChatOpenAI, gateway: Provider, provider: Provider, everywhere: HeliconeCallbackHandler
) -> None:
    """In every thread, once, also beside a handler of its own; and no longer after uninstall()."""
    model.invoke("hi")
    thread = threading.Thread(target=lambda: model.invoke("hi"))
    thread.start()
    thread.join()
    model.invoke("hi", {"callbacks": [HeliconeCallbackHandler(user_id="given")]})
    assert paths(gateway) == ["/ChatOpenAI"] * 3
    assert gateway.requests[-1].headers["helicone-user-id"] == "given"
    heliconnect_langchain.uninstall()
    model.invoke("hi")
    assert (len(gateway.requests), len(provider.requests)) == (3, 1)


class State(TypedDict, total=False):
    count: int


async def test_loops_are_numbered(model: ChatOpenAI, gateway: Provider, everywhere: HeliconeCallbackHandler) -> None:
    """A node that runs again is "plan 2"; two calls within a node are numbered there."""

    async def plan(state: State) -> State:
        await model.ainvoke("a")
        await model.ainvoke("b")
        return {"count": state.get("count", 0) + 1}

    graph = StateGraph(State).add_node(plan).add_edge(START, "plan")
    graph.add_conditional_edges("plan", lambda state: END if state["count"] > 1 else "plan")
    for _ in range(2):
        await graph.compile().ainvoke({"count": 0}, {"run_name": "trip"})
    once = ["/trip/plan/ChatOpenAI", "/trip/plan/ChatOpenAI 2", "/trip/plan 2/ChatOpenAI", "/trip/plan 2/ChatOpenAI 2"]
    assert paths(gateway) == once * 2


async def test_embeddings_and_raw_calls_have_the_run_around(
    model: ChatOpenAI, gateway: Provider, provider: Provider, everywhere: HeliconeCallbackHandler
) -> None:
    """They fire no callback: in a node they stand below it, outside they are not the handler's."""
    vectors = OpenAIEmbeddings(base_url=f"{provider.url}/v1", api_key="k", check_embedding_ctx_length=False)
    raw = openai.AsyncOpenAI(base_url=f"{provider.url}/v1", api_key="k")
    store = InMemoryVectorStore(vectors)
    documents = [Document("a"), Document("b")]

    async def node(state: State) -> State:
        await vectors.aembed_query("x")
        await raw.models.list()
        with hc.step("inner"):
            await raw.models.list()
        await model.ainvoke("y")
        await store.aadd_documents(documents)
        return {"count": 1}

    graph = StateGraph(State).add_node(node).add_edge(START, "node").compile()
    await graph.ainvoke({"count": 0}, {"run_name": "trip", "configurable": {"thread_id": "t-1"}})
    assert paths(gateway) == [
        *("/trip/node", "/trip/node", "/trip/node/inner", "/trip/node/ChatOpenAI", "/trip/node"),
    ]
    assert {got.headers["helicone-session-id"] for got in gateway.requests} == {"t-1"}
    await raw.models.list()
    assert len(provider.requests) == 1
    await raw.close()


@pytest.mark.parametrize("with_handler", [False, True])
async def test_agent_middleware(model: ChatOpenAI, gateway: Provider, with_handler: bool) -> None:
    """Alone, synchronous and asynchronous; beside the handler one record for each call, with the handler's path."""

    @tool
    def look(question: str) -> str:
        """Look it up."""
        return "42"

    agent = create_agent(model, [look], middleware=[HeliconeAgentMiddleware("trip planner", user_id="ada")])
    config: Any = {"configurable": {"thread_id": "t-1"}, "run_name": "agent"}
    if with_handler:
        config["callbacks"] = [HeliconeCallbackHandler()]
    question: Any = {"messages": [{"role": "user", "content": "go"}]}
    gateway.script(Reply(headers=(GATEWAY_MARK,), tool_calls=(("look", {"question": "why"}),)))
    agent.invoke(question, config)
    await agent.ainvoke(question, config)
    expected = "/agent/model/ChatOpenAI" if with_handler else "/trip planner/ChatOpenAI"
    assert (len(gateway.requests), paths(gateway)[0], paths(gateway)[-1]) == (3, expected, expected)
    assert {got.headers["helicone-user-id"] for got in gateway.requests} == {"ada"}
    assert {got.headers["helicone-session-id"] for got in gateway.requests} == {"t-1"}
    assert active_run() is None


async def test_retries_and_fallbacks_are_attempts_of_their_own(
    model: ChatOpenAI, gateway: Provider, provider: Provider, everywhere: HeliconeCallbackHandler
) -> None:
    """Each is a run with its own request id; all are told for the run around them."""
    other = ChatOpenAI(model="other", base_url=f"{provider.url}/v1", api_key="k", max_retries=0)
    gateway.script(*(Reply(status=500, headers=(GATEWAY_MARK,)) for _ in range(2)))
    steady = model.with_retry(stop_after_attempt=2, wait_exponential_jitter=False).with_fallbacks([other])
    seen: list[Any] = []

    async def ask(question: str, config: Any) -> Any:
        seen.append(config["callbacks"].parent_run_id)
        return await steady.ainvoke(question, config)

    await RunnableLambda(ask).with_config(run_name="trip").ainvoke("hi")
    ids = [got.headers["helicone-request-id"] for got in gateway.requests]
    assert everywhere.request_ids(seen[0]) == ids
    assert [got.json()["model"] for got in gateway.requests] == ["gpt-4o", "gpt-4o", "other"]
    assert all(path.startswith("/trip/ChatOpenAI") for path in paths(gateway))


async def test_a_run_that_times_out_leaves_nothing_in_force(
    model: ChatOpenAI, gateway: Provider, everywhere: HeliconeCallbackHandler
) -> None:
    """In the context of the caller neither a run nor its path stays."""
    gateway.always(Reply(headers=(GATEWAY_MARK,), first_byte_delay_ms=3_000))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(model.ainvoke("hi"), 0.2)
    gateway.always(Reply(headers=(GATEWAY_MARK,)))
    for call in (model.invoke, lambda text: list(model.stream(text))):
        call("hi")
        assert active_run() is None
        assert hc.current().session_path is None


async def test_users_do_not_mix_in_a_graph(model: ChatOpenAI, gateway: Provider) -> None:
    """60 runs of one compiled graph at once, 5 users by metadata, with the model called in a tool as well."""

    @tool
    async def deep(question: str) -> str:
        """Think."""
        return str((await model.ainvoke(question)).content)

    async def node(state: dict[str, Any]) -> dict[str, Any]:
        await model.ainvoke(state["user"])
        await deep.ainvoke({"question": state["user"]})
        return {}

    graph = StateGraph(dict).add_node("node", node).add_edge(START, "node").compile()
    handler = HeliconeCallbackHandler()

    def config(number: int) -> Any:
        return {"callbacks": [handler], "metadata": {"user_id": f"u{number % 5}"}}

    await asyncio.gather(*(graph.ainvoke({"user": f"u{n % 5}"}, config(n)) for n in range(60)))
    pairs = [(got.headers["helicone-user-id"], got.json()["messages"][0]["content"]) for got in gateway.requests]
    assert len(pairs) == 120
    assert [pair for pair in pairs if pair[0] != pair[1]] == []
