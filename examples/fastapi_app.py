"""A trip planner whose every LLM call is observed: the lines marked (1) to (5) are all it takes. In three shells:
heliconnect up  |  uvicorn fastapi_app:app  |  curl -X POST -H "X-User: ada" "127.0.0.1:8000/trips?city=Lisbon"
"""

import litellm
from anthropic import AsyncAnthropic
from fastapi import FastAPI
from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import ChatOpenAI
from langgraph.graph import START, StateGraph
from openai import AsyncOpenAI
from starlette.concurrency import run_in_threadpool

import heliconnect as hc
from heliconnect.starlette import HeliconeMiddleware, from_header
from heliconnect_langchain import HeliconeCallbackHandler
from heliconnect_litellm import HeliconeLogger

app = FastAPI()
app.add_middleware(  # (1) who asks, and for what: every call below carries it
    HeliconeMiddleware,
    user_id=from_header("x-user"),  # or lambda scope: what your authentication knows
    session_id=from_header("x-session"),
    session_name="trip planner",
    properties=lambda scope: {"feature": scope["path"].strip("/"), "tier": "pro"},
)
openai, claude = hc.connect(AsyncOpenAI()), hc.connect(AsyncAnthropic())  # (2) (3) SDK clients
observed = {"callbacks": [HeliconeCallbackHandler()]}  # (4) LangChain and LangGraph
litellm.callbacks = [HeliconeLogger()]  # (5) LiteLLM

outline = ChatPromptTemplate.from_template("Outline a day in {city}.") | ChatOpenAI(model="gpt-4o-mini")
story = ChatPromptTemplate.from_template("Tell a story about {city}.") | ChatOpenAI(model="gpt-4.1", stream_usage=True)
agent = ChatOpenAI(model="gpt-4o")


def ask(text: str) -> dict:
    return {"messages": [{"role": "user", "content": text}]}


async def book(trip: dict) -> dict:
    return trip | {"hotel": (await agent.ainvoke(f"Pick a hotel in {trip['city']}.")).text}


async def price(trip: dict) -> dict:
    return trip | {"price": (await agent.ainvoke(f"Price a weekend in {trip['city']}.")).text}


graph = StateGraph(dict).add_sequence([book, price]).add_edge(START, "book").compile(name="booking")


@app.post("/trips")
async def trips(city: str) -> dict:
    with hc.step("ideas"):
        ideas = await openai.responses.create(model="gpt-4.1-mini", input=f"Name three sights of {city}.")
    with hc.step("check"):
        check = await claude.messages.create(model="claude-sonnet-4-6", max_tokens=200, **ask(f"Is {city} safe?"))
    with hc.step("write"):
        day = await run_in_threadpool(outline.invoke, {"city": city}, observed)
        told = [chunk.text async for chunk in story.astream({"city": city}, observed)]
    trip = await graph.ainvoke({"city": city}, observed)
    return trip | {"ideas": ideas.output_text, "check": check.content[0].text, "day": day.text, "story": "".join(told)}


@app.post("/translations")
async def translations(text: str) -> dict:
    with hc.step("draft"):
        draft = await run_in_threadpool(litellm.completion, model="openai/gpt-4o-mini", **ask(f"Translate: {text}"))
    with hc.step("review"):
        review = await litellm.acompletion(model="anthropic/claude-haiku-4-5", **ask(f"Correct: {text}"))
    with hc.step("polish"):
        options = {"stream": True, "stream_options": {"include_usage": True}}
        parts = await litellm.acompletion(model="openai/gpt-4o", **ask(f"Polish: {text}"), **options)
        polish = "".join([part.choices[0].delta.content or "" async for part in parts if part.choices])
    return {"draft": draft.choices[0].message.content, "review": review.choices[0].message.content, "polish": polish}
