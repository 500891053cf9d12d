"""The REST client, and what it says of records afterwards: over a real server, with records of the real proxy."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

import heliconnect as hc
from heliconnect.settings import Settings, configure
from heliconnect.store import open_store
from tests.conftest import Running
from tests.records import WHOLE
from tests.senders import MESSAGES, a_dead_url


@pytest.fixture
def api(live: Running) -> hc.Api:
    configure(base_url=live.url)
    return hc.Api()


def calls(live: Running, count: int, **context: Any) -> str:
    """Some calls of a user of their own, who is given back."""
    user = f"api {uuid.uuid4()}"
    with hc.connect(openai.OpenAI(base_url=f"{live.url}/oai/v1", api_key="k"), base_url=live.url) as client:
        for number in range(count):
            with hc.context(user_id=user, properties={"n": number}, **context):
                client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    live.records(user, count)
    return user


def test_records_are_read_page_by_page(live: Running, api: hc.Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Newest first or last, as many as wanted; counted, and one by its id with its bodies."""
    user = calls(live, 7, session_id=f"s {uuid.uuid4()}", session_name="api")
    monkeypatch.setattr("heliconnect.api._PAGE", 3)
    mine = hc.where(user_id=user)
    numbers = [int(record["properties"]["n"]) for record in api.requests(mine)]
    assert sorted(numbers) == list(range(7))
    assert [int(record["properties"]["n"]) for record in api.requests(mine, newest_first=False)] == numbers[::-1]
    assert len(list(api.requests(mine, limit=5))) == 5
    assert api.count(mine) == 7
    first = next(api.requests(mine))
    record = api.request(first["request_id"])
    assert record is not None
    assert record["request_body"]["messages"] == MESSAGES
    assert api.request(str(uuid.uuid4())) is None
    (session,) = api.sessions(record["properties"]["Helicone-Session-Id"])
    assert session["total_requests"] == 7


def test_where_finds_what_it_names(live: Running, api: hc.Api) -> None:
    """User, session, model, provider, status, property and time, together."""
    session = f"s {uuid.uuid4()}"
    user = calls(live, 2, session_id=session)
    now = datetime.now(UTC)
    found = hc.where(
        user_id=user,
        session_id=session,
        model="gpt-4o",
        provider="OPENAI",
        status=200,
        properties={"n": "1"},
        since=now - timedelta(minutes=5),
        until=now + timedelta(minutes=5),
    )
    assert api.count(found) == 1
    assert api.count(hc.where(user_id=user, since=now + timedelta(minutes=5))) == 0
    assert hc.where() == "all"


def test_feedback_scores_and_properties(live: Running, api: hc.Api) -> None:
    """They show in the record, replace what was said before, and can be asked for."""
    user = calls(live, 2)
    first, second = (record["request_id"] for record in api.requests(hc.where(user_id=user)))
    assert hc.feedback(first, False) is True
    api.feedback(first, True)
    api.feedback(second, False)
    api.score(first, {"grounded": 0.5, "is_short": True})
    api.score(first, {"grounded": 0.75})
    api.set_property(first, "Größe", "ünï")
    api.set_property(first, "n", "changed")
    record: Any = api.request(first)
    assert (record["feedback_rating"], record["scores"]) == (True, {"grounded": 0.75, "is_short": 1.0})
    assert (record["properties"]["grosse"], record["properties"]["n"]) == ("ünï", "changed")
    for chosen in (
        hc.where(user_id=user, feedback=True),
        hc.where(user_id=user, properties={"n": "changed"}),
        hc.where(user_id=user, properties={"grosse": "ünï"}),
    ):
        assert [one["request_id"] for one in api.requests(chosen)] == [first]
    good = {"request_response_rmt": {"scores": {"grounded": {"gte": 0.7}}}}
    assert [one["request_id"] for one in api.requests(good) if one["user_id"] == user] == [first]


def test_what_is_said_before_the_record_arrives_is_kept(live: Running, api: hc.Api) -> None:
    """Feedback may be quicker than the writer: it waits for the record."""
    user, request_id = f"api {uuid.uuid4()}", str(uuid.uuid4())
    api.feedback(request_id, True)
    api.set_property(request_id, "late", "no")
    headers = {"Helicone-Request-Id": request_id, "Helicone-User-Id": user, "Authorization": "Bearer k"}
    body = {"model": "gpt-4o", "messages": MESSAGES}
    httpx.post(f"{live.url}/oai/v1/chat/completions", json=body, headers=headers).raise_for_status()
    (record,) = live.records(user, 1)
    assert (record["feedback_rating"], record["properties"]["late"]) == (True, "no")
    assert api.count(hc.where(user_id=user, properties={"late": "no"})) == 1


async def test_the_asynchronous_client_is_the_same(live: Running, api: hc.Api) -> None:
    """Every call, awaited."""
    user, other = calls(live, 3), hc.AsyncApi()
    found = [record["request_id"] async for record in other.requests(hc.where(user_id=user))]
    await other.feedback(found[0], True)
    await other.score(found[0], {"a": 1})
    await other.set_property(found[0], "b", "c")
    await other.session_feedback("s-1", True)
    record: Any = await other.request(found[0])
    assert (record["feedback_rating"], record["scores"], record["properties"]["b"]) == (True, {"a": 1.0}, "c")
    assert await other.count(hc.where(user_id=user)) == len(found) == 3
    assert [one async for one in other.sessions("no such session")] == []


def test_errors_say_what_is_wrong(live: Running, api: hc.Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused value, an unknown filter, a gateway that is not there; feedback() only tells."""
    monkeypatch.setattr("heliconnect.api._PAUSE_S", 0.01)
    with pytest.raises(hc.ApiError, match="unknown column") as caught:
        api.count({"request_response_rmt": {"nonsense": {"equals": 1}}})
    assert caught.value.status == 400
    with pytest.raises(hc.ApiError, match="rating"):
        api.feedback("x", "yes")  # type: ignore[arg-type]  # the error is the test
    with pytest.raises(hc.ApiError, match="is the gateway running"):
        hc.Api(Settings(base_url=a_dead_url())).count()
    configure(base_url=a_dead_url())
    assert hc.feedback("x", True) is False


def test_sessions_have_tags(live: Running) -> None:
    """A word, replaced by the next; none for a session that has none."""
    session = f"s-{uuid.uuid4()}"
    assert httpx.get(f"{live.url}/v1/session/{session}/tag").json()["data"] is None
    for tag in ("one", "two"):
        httpx.post(f"{live.url}/v1/session/{session}/tag", json={"tag": tag}).raise_for_status()
    assert httpx.get(f"{live.url}/v1/session/{session}/tag").json()["data"] == "two"


def test_facets_follow_a_changed_property(tmp_path: Path) -> None:
    """The old value is counted no longer, and notes survive a restart."""
    from heliconnect.store import Note

    store = open_store(tmp_path / "s.db")
    store.append([replace(WHOLE, request_id="r", properties={"tier": "free"})])
    store.annotate([Note("r", "property", "tier", "pro", 1), Note("r", "score", "a", "0.5", 1)])
    assert [(facet.value, facet.count) for facet in store.facets("property", "tier")] == [("pro", 1)]
    store.close()
    store = open_store(tmp_path / "s.db")
    row = store.get("r")
    assert row is not None
    assert (row.exchange.properties, row.exchange.scores) == ({"tier": "pro"}, {"a": 0.5})
    assert [note.kind for note in store.notes("r")] == ["property", "score"]
    store.close()


def test_the_page_shows_what_was_said(live: Running, api: hc.Api) -> None:
    """Feedback, scores, and how the record came."""
    user = calls(live, 1)
    (record,) = api.requests(hc.where(user_id=user))
    api.feedback(record["request_id"], False)
    api.score(record["request_id"], {"grounded<b>": 0.5})
    page = httpx.get(f"{live.url}/ui/requests/{record['request_id']}").text
    for words in ("<dt>Feedback</dt><dd>bad</dd>", "grounded&lt;b&gt;: 0.5", "<dd>by the proxy</dd>"):
        assert words in page
    with hc.context(user_id=f"{user} logged"), hc.log_tool("weather") as entry:
        entry.respond({"degrees": 21})
    live.records(f"{user} logged", 1)
    assert "logged by the app" in httpx.get(f"{live.url}/ui/requests/{entry.request_id}").text
