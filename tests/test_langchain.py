"""The LangChain handler: every model call of a run, in every mode, under its path and with its user."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypedDict
from uuid import UUID, uuid4

import openai
import pytest
from langchain.agents import create_agent
from langchain_anthropic import ChatAnthropic
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import Runnable, RunnableLambda, RunnableParallel
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.graph import START, StateGraph

import heliconnect as hc
from heliconnect.testing import Provider, Reply
from heliconnect_langchain import HeliconeCallbackHandler
from heliconnect_langchain.paths import run_path
from tests.conftest import GATEWAY_MARK

Config = dict[str, Any]


@pytest.fixture
def handler(provider: Provider, gateway: Provider) -> HeliconeCallbackHandler:
    hc.configure(base_url=gateway.url, providers={provider.url: "openai"})
    return HeliconeCallbackHandler()


@pytest.fixture
def config(handler: HeliconeCallbackHandler) -> Config:
    return {"callbacks": [handler], "run_name": "trip"}


@pytest.fixture
def model(provider: Provider) -> ChatOpenAI:
    return ChatOpenAI(model="gpt-4o", base_url=f"{provider.url}/v1", api_key="k", max_retries=0)


@pytest.fixture
def chain(model: ChatOpenAI) -> Runnable[Any, Any]:
    return ChatPromptTemplate.from_template("say {word}") | model


def paths(gateway: Provider) -> list[str]:
    return [got.headers["helicone-session-path"] for got in gateway.requests]


async def invoke(chain: Runnable[Any, Any], config: Config) -> None:
    chain.invoke({"word": "a"}, config)


async def ainvoke(chain: Runnable[Any, Any], config: Config) -> None:
    await chain.ainvoke({"word": "a"}, config)


async def stream(chain: Runnable[Any, Any], config: Config) -> None:
    list(chain.stream({"word": "a"}, config))


async def astream(chain: Runnable[Any, Any], config: Config) -> None:
    _ = [part async for part in chain.astream({"word": "a"}, config)]


async def batch(chain: Runnable[Any, Any], config: Config) -> None:
    chain.batch([{"word": "a"}, {"word": "b"}], config)


async def abatch(chain: Runnable[Any, Any], config: Config) -> None:
    await chain.abatch([{"word": "a"}, {"word": "b"}], config)


async def astream_events(chain: Runnable[Any, Any], config: Config) -> None:
    _ = [event async for event in chain.astream_events({"word": "a"}, config, version="v2")]


@pytest.mark.parametrize("mode", [invoke, ainvoke, stream, astream, batch, abatch, astream_events])
async def test_each_mode_alone_routes_with_its_path(
    mode: Callable[..., Any], chain: Runnable[Any, Any], config: Config, gateway: Provider, provider: Provider
) -> None:
    """Nothing but the handler: the call is routed, and a raw call afterwards is not."""
    await mode(chain, config)
    assert set(paths(gateway)) == {"/trip/ChatOpenAI"}
    assert {got.headers["helicone-session-name"] for got in gateway.requests} == {"trip"}
    assert provider.requests == []
    with openai.OpenAI(base_url=f"{provider.url}/v1", api_key="k") as raw:
        raw.chat.completions.create(model="m", messages=[{"role": "user", "content": "raw"}])
    assert len(provider.requests) == 1


async def test_parallel_and_lambda_branches_have_their_path(chain: Any, config: Config, gateway: Provider) -> None:
    """Plumbing between the named runs is left out."""
    both = RunnableParallel(left=chain, right=RunnableLambda(lambda x: chain.invoke(x)).with_config(run_name="right"))
    both.invoke({"word": "a"}, config)
    await both.ainvoke({"word": "a"}, config)
    assert sorted(paths(gateway)) == ["/trip/ChatOpenAI"] * 2 + ["/trip/right/ChatOpenAI"] * 2


class State(TypedDict, total=False):
    word: str


async def test_a_graph_gives_nodes_thread_and_surroundings(
    model: ChatOpenAI, config: Config, gateway: Provider
) -> None:
    """The node is a step; the thread is the session, unless the surroundings name one; steps taken inside count."""

    def planned(state: State) -> State:
        with hc.step("inner"):
            model.invoke("plan")
        return {"word": "a"}

    async def written(state: State) -> State:
        await model.ainvoke("write")
        return {"word": "b"}

    graph = StateGraph(State).add_sequence([planned, written]).add_edge(START, "planned").compile()
    await graph.ainvoke({"word": ""}, {**config, "configurable": {"thread_id": "t-1"}})
    assert paths(gateway) == ["/trip/planned/inner/ChatOpenAI", "/trip/written/ChatOpenAI"]
    assert {got.headers["helicone-session-id"] for got in gateway.requests} == {"t-1"}
    with hc.context(user_id="ada"), hc.session("web", id="s-1"), hc.step("request"):
        await graph.ainvoke({"word": ""}, {**config, "configurable": {"thread_id": "t-1"}})
    headers = gateway.requests[-1].headers
    assert (headers["helicone-session-id"], headers["helicone-user-id"]) == ("s-1", "ada")
    assert (headers["helicone-session-name"], headers["helicone-session-path"]) == (
        "web",
        "/request/trip/written/ChatOpenAI",
    )


async def test_a_model_inside_a_tool_stands_below_it(model: ChatOpenAI, config: Config, gateway: Provider) -> None:
    """An agent's own calls and those of its tools are told apart."""

    @tool
    def deep(question: str) -> str:
        """Think."""
        return str(model.invoke(question).content)

    gateway.script(Reply(headers=(GATEWAY_MARK,), tool_calls=(("deep", {"question": "why"}),)))
    agent = create_agent(model, [deep])
    await agent.ainvoke({"messages": [{"role": "user", "content": "go"}]}, config)
    assert paths(gateway) == ["/trip/model/ChatOpenAI", "/trip/tools/deep/ChatOpenAI", "/trip/model 2/ChatOpenAI"]


async def test_metadata_names_user_session_and_properties(
    model: ChatOpenAI, gateway: Provider, handler: HeliconeCallbackHandler
) -> None:
    """Metadata over what the handler was given over the surroundings."""
    given = HeliconeCallbackHandler(user_id="given", session_id="given", properties={"a": 1, "b": 1})
    metadata = {"user_id": "meta", "helicone_session_id": "meta-s", "properties": {"b": 2}}
    with hc.context(user_id="ambient", properties={"c": 3}):
        await model.ainvoke("hi", {"callbacks": [given], "metadata": metadata})
        await model.ainvoke("hi", {"callbacks": [given]})
        await model.ainvoke("hi", {"callbacks": [handler]})
    first, second, third = (got.headers for got in gateway.requests)
    assert (first["helicone-user-id"], first["helicone-session-id"]) == ("meta", "meta-s")
    assert [first[f"helicone-property-{name}"] for name in "abc"] == ["1", "2", "3"]
    assert (second["helicone-user-id"], second["helicone-session-id"]) == ("given", "given")
    assert third["helicone-user-id"] == "ambient"


async def test_the_outermost_run_is_the_session_otherwise(chain: Any, config: Config, gateway: Provider) -> None:
    """Calls of one run share a session; another run is another session."""
    both = RunnableParallel(left=chain, right=chain)
    both.invoke({"word": "a"}, config)
    both.invoke({"word": "a"}, config)
    ids = [got.headers["helicone-session-id"] for got in gateway.requests]
    assert len(set(ids)) == 2
    assert all(UUID(one) for one in ids)


async def test_request_ids_are_told_by_run(
    chain: Any, config: Config, gateway: Provider, handler: HeliconeCallbackHandler
) -> None:
    """For feedback: the ids of all calls below a run, after it has ended."""
    run_id = uuid4()
    await RunnableParallel(left=chain, right=chain).ainvoke({"word": "a"}, {**config, "run_id": run_id})
    sent = {got.headers["helicone-request-id"] for got in gateway.requests}
    assert set(handler.request_ids(run_id)) == sent
    assert len(sent) == 2
    assert handler.request_ids(uuid4()) == []


async def test_sixty_runs_at_once_do_not_mix(chain: Any, handler: HeliconeCallbackHandler, gateway: Provider) -> None:
    """Each call carries the user of its own run, in tasks and in threads."""

    def config(number: int) -> Config:
        return {"callbacks": [handler], "metadata": {"user_id": f"u{number}"}}

    await asyncio.gather(*(chain.ainvoke({"word": f"u{n}"}, config(n)) for n in range(60)))
    chain.batch([{"word": f"u{n}"} for n in range(30)], [config(n) for n in range(30)])
    pairs = [
        (got.headers["helicone-user-id"], got.json()["messages"][0]["content"].removeprefix("say "))
        for got in gateway.requests
    ]
    assert len(pairs) == 90
    assert all(user == asked for user, asked in pairs)


async def test_failures_and_cancellations_leave_nothing_in_force(
    model: ChatOpenAI, config: Config, gateway: Provider, provider: Provider, handler: HeliconeCallbackHandler
) -> None:
    """After an error, an abandoned stream or a cancelled call, a raw call is not routed."""
    gateway.script(Reply(status=400, headers=(GATEWAY_MARK,)))
    with pytest.raises(openai.BadRequestError):
        model.invoke("hi", config)
    for _ in model.stream("hi", config):
        break
    gateway.always(Reply(headers=(GATEWAY_MARK,), first_byte_delay_ms=3_000))
    task = asyncio.create_task(model.ainvoke("hi", config))
    gateway_saw = len(gateway.requests)
    while len(gateway.requests) <= gateway_saw:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with openai.AsyncOpenAI(base_url=f"{provider.url}/v1", api_key="k") as raw:
        await raw.chat.completions.create(model="m", messages=[{"role": "user", "content": "raw"}])
    assert len(provider.requests) == 1


def test_anthropic_models_too(gateway: Provider, provider: Provider, handler: HeliconeCallbackHandler) -> None:
    """Whatever HTTP library the model's SDK uses."""
    hc.configure(base_url=gateway.url, providers={provider.url: "anthropic"})
    model = ChatAnthropic(model="claude-sonnet-4-6", base_url=provider.url, api_key="k", max_tokens=5)
    model.invoke("hi", {"callbacks": [handler]})
    assert (gateway.requests[0].path, paths(gateway)) == ("/anthropic/v1/messages", ["/ChatAnthropic"])


@pytest.mark.parametrize(
    ("names", "path"),
    [
        pytest.param(["trip", "RunnableSequence", "ChatOpenAI"], "trip/ChatOpenAI", id="sequence"),
        pytest.param(["LangGraph", "RunnableParallel<a,b>", "", "node", "m"], "node/m", id="graph"),
        pytest.param(["a/b", "m"], "a-b/m", id="slashes-in-names"),
    ],
)
def test_plumbing_is_left_out_of_paths(names: list[str], path: str) -> None:
    """Names the framework gives by itself say nothing."""
    assert run_path(names) == path
