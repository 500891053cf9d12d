"""Features by header, over sockets: cache, single flight, limits, retries, fallbacks, and what is recorded of them."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from heliconnect.exchange import End
from heliconnect.testing import Provider, Reply
from tests.conftest import Running
from tests.plane import PlaneProcess, RawUpstream, a_plane
from tests.senders import a_dead_url

CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
STREAM = {**CHAT, "stream": True}
ON = {"Helicone-Cache-Enabled": "true"}
RETRY = {"Helicone-Retry-Enabled": "true", "Helicone-Retry-Min-Timeout": "1", "Helicone-Retry-Max-Timeout": "5"}
LIMITED = {"request_response_rmt": {"properties": {"Helicone-Rate-Limit-Status": {"equals": "bucket_rate_limited"}}}}
PATH = "/oai/v1/chat/completions"


def post(plane: PlaneProcess, headers: dict[str, str], body: Any = CHAT, path: str = PATH) -> httpx.Response:
    return httpx.post(plane.url + path, json=body, headers={"Authorization": "Bearer sk-a", **headers}, timeout=20)


# Cache


def test_the_second_answer_comes_from_the_cache(plane: PlaneProcess, provider: Provider) -> None:
    """As the provider gave it, but for what names the call; the provider is asked once."""
    provider.always(Reply(text="once", headers=(("x-own", "p-1"), ("set-cookie", "secret=1"))))
    first, second = (post(plane, ON) for _ in range(2))
    assert len(provider.requests) == 1
    assert first.headers["helicone-cache"] == "MISS"
    assert (second.status_code, second.content) == (200, first.content)
    assert second.headers["helicone-cache"] == "HIT"
    assert second.headers["helicone-cache-reference-id"] == first.headers["helicone-id"]
    assert second.headers["helicone-id"] != first.headers["helicone-id"]
    assert second.headers["x-own"] == "p-1"
    assert "set-cookie" not in second.headers
    missed, hit = plane.captures(2)
    assert (missed.response_body, hit.response_body) == (first.content, first.content)
    assert ("helicone-cache", "HIT") in hit.response_headers


def test_a_stream_is_replayed(plane: PlaneProcess, provider: Provider) -> None:
    """Its events, at once."""
    first, second = (post(plane, ON, STREAM) for _ in range(2))
    assert len(provider.requests) == 1
    assert second.content == first.content
    assert second.headers["content-type"] == first.headers["content-type"]
    assert second.content.rstrip().endswith(b"[DONE]")


@pytest.mark.parametrize(
    "reply", [Reply(status=500), Reply(status=404), Reply(cut_after=20)], ids=["error", "not-found", "cut"]
)
def test_what_is_no_whole_answer_is_not_kept(plane: PlaneProcess, provider: Provider, reply: Reply) -> None:
    """Errors, and answers that broke off."""
    provider.script(reply, Reply(text="whole"))
    try:
        post(plane, ON)
    except httpx.RemoteProtocolError:
        assert reply.cut_after is not None
    assert "whole" in post(plane, ON).text
    assert len(provider.requests) == 2


def test_an_answer_that_is_to_be_omitted_is_not_kept(plane: PlaneProcess, provider: Provider, tmp_path: Path) -> None:
    """Who asks that a body be stored nowhere gets no copy of it in the cache."""
    for _ in range(2):
        post(plane, {**ON, "Helicone-Omit-Response": "true"})
    assert len(provider.requests) == 2
    assert not list(tmp_path.glob("cache/*/*"))


def test_a_bucket_answers_when_it_is_full(plane: PlaneProcess, provider: Provider) -> None:
    """With any of its answers."""
    provider.script(*(Reply(text=f"answer {number}") for number in range(3)))
    headers = {**ON, "Helicone-Cache-Bucket-Max-Size": "3"}
    told = [post(plane, headers) for _ in range(20)]
    assert [one.headers["helicone-cache"] for one in told] == ["MISS"] * 3 + ["HIT"] * 17
    assert len(provider.requests) == 3
    assert len({one.text for one in told[3:]}) > 1


def test_an_answer_outlives_the_process(tmp_path: Path, provider: Provider) -> None:
    """It is on disk, without any key."""
    for _ in range(2):
        with a_plane(tmp_path, upstreams={"openai": provider.url}) as plane:
            assert post(plane, ON).status_code == 200
    assert len(provider.requests) == 1
    (path,) = tmp_path.glob("cache/*/*")
    assert b"sk-a" not in path.read_bytes()


def test_a_hundred_at_once_ask_the_provider_once(plane: PlaneProcess, provider: Provider) -> None:
    """They wait for the one answer."""
    provider.always(Reply(first_byte_delay_ms=300, text="for all"))
    with ThreadPoolExecutor(100) as pool:
        told = list(pool.map(lambda _: post(plane, ON), range(100)))
    assert len(provider.requests) == 1
    assert {one.content for one in told} == {told[0].content}
    assert sorted(one.headers["helicone-cache"] for one in told) == ["HIT"] * 99 + ["MISS"]
    assert len(plane.captures(100)) == 100


def test_a_failed_answer_is_nobody_elses(plane: PlaneProcess, provider: Provider) -> None:
    """Those who waited ask themselves, at once."""
    provider.script(Reply(status=500, first_byte_delay_ms=300))
    provider.always(Reply(first_byte_delay_ms=300))
    began = time.monotonic()
    with ThreadPoolExecutor(10) as pool:
        told = list(pool.map(lambda _: post(plane, ON), range(10)))
    assert sorted(one.status_code for one in told) == [200] * 9 + [500]
    assert time.monotonic() - began < 5


def test_the_one_who_asks_goes_away(plane: PlaneProcess, provider: Provider) -> None:
    """The others are answered all the same."""
    provider.always(Reply(first_byte_delay_ms=500))

    def leave() -> None:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(plane.url + PATH, json=CHAT, headers={"Authorization": "Bearer sk-a", **ON}, timeout=0.2)

    leaver = threading.Thread(target=leave)
    leaver.start()
    time.sleep(0.1)
    assert post(plane, ON).status_code == 200
    leaver.join()
    ends = sorted(capture.end for capture in plane.captures(2))
    assert ends == [End.CANCELLED, End.DONE]


# Limits


def test_a_limit_answers_by_itself(plane: PlaneProcess, provider: Provider) -> None:
    """429, marked as ours, recorded; another user is not touched, and a hit takes nothing."""
    policy = {"Helicone-RateLimit-Policy": "2;w=3600;s=user"}
    ada = {**policy, "Helicone-User-Id": "ada"}
    told = [post(plane, ada) for _ in range(3)]
    assert [one.status_code for one in told] == [200, 200, 429]
    assert [one.headers["helicone-ratelimit-remaining"] for one in told] == ["1", "0", "0"]
    assert told[0].headers["helicone-ratelimit-policy"] == "2;w=3600;s=user"
    assert told[2].headers["x-helicone-error"] == "rate_limited"
    assert "Please wait" in told[2].json()["message"]
    assert post(plane, {**policy, "Helicone-User-Id": "bob"}).status_code == 200
    assert post(plane, policy, {**CHAT, "user": "ada"}).status_code == 429
    assert post(plane, policy).headers["helicone-ratelimit-policy"] == "2;w=3600;s=user"
    assert len(provider.requests) == 4
    assert sorted(capture.status or 0 for capture in plane.captures(6)) == [200] * 4 + [429] * 2


def test_a_hit_takes_nothing_from_a_limit(plane: PlaneProcess, provider: Provider) -> None:
    """It costs the provider nothing."""
    headers = {**ON, "Helicone-RateLimit-Policy": "1;w=3600"}
    assert [post(plane, headers).status_code for _ in range(3)] == [200, 200, 200]
    assert post(plane, {"Helicone-RateLimit-Policy": "1;w=3600"}).status_code == 429


def test_workers_share_their_limits(tmp_path: Path, provider: Provider) -> None:
    """Two processes, one bucket."""
    headers = {"Helicone-RateLimit-Policy": "2;w=3600"}
    upstreams = {"openai": provider.url}
    with a_plane(tmp_path, upstreams=upstreams) as one, a_plane(tmp_path, upstreams=upstreams) as other:
        assert [post(plane, headers).status_code for plane in (one, other, one)] == [200, 200, 429]


# Retries


def test_a_call_is_tried_again(plane: PlaneProcess, provider: Provider) -> None:
    """After 429 and 5xx, with the same body; the last answer is the caller's, and one record is kept."""
    provider.script(Reply(status=500), Reply(status=429), Reply(text="at last"))
    assert "at last" in post(plane, RETRY).text
    assert [got.json() for got in provider.requests] == [CHAT] * 3
    (capture,) = plane.captures(1)
    assert capture.status == 200
    assert [name for name in dict(provider.requests[0].headers) if name.startswith("helicone")] == []


@pytest.mark.parametrize(
    ("headers", "status", "attempts"),
    [
        pytest.param({**RETRY, "Helicone-Retry-Num": "3"}, 500, 3, id="three-in-total"),
        pytest.param({**RETRY, "Helicone-Retry-Num": "1"}, 500, 1, id="one"),
        pytest.param({**RETRY, "Helicone-Retry-Enabled": "false"}, 500, 1, id="false-is-off"),
        pytest.param(RETRY, 400, 1, id="a-mistake-of-the-caller"),
        pytest.param({**RETRY, "Helicone-Retry-Num": "abc"}, 503, 5, id="malformed"),
    ],
)
def test_how_often(
    plane: PlaneProcess, provider: Provider, headers: dict[str, str], status: int, attempts: int
) -> None:
    """The last answer is passed on as it is; there is no attempt after it."""
    provider.always(Reply(status=status, headers=(("x-try", "yes"),)))
    answer = post(plane, headers)
    assert (answer.status_code, answer.headers["x-try"]) == (status, "yes")
    time.sleep(0.1)
    assert len(provider.requests) == attempts


def test_a_provider_that_hangs_up_is_tried_again(tmp_path: Path) -> None:
    """And one that comes back is found."""
    answers: Iterator[bytes] = iter([b"", b"", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"])

    def answer(raw: Any, head: bytes) -> None:
        said = next(answers)
        if said:
            raw.sendall(said)
        else:
            raw.close()

    with RawUpstream(answer) as upstream, a_plane(tmp_path, upstreams={"openai": upstream.url}) as plane:
        assert post(plane, RETRY).text == "ok"
        assert len(upstream.received) == 3
        (capture,) = plane.captures(1)
        assert (capture.status, capture.end) == (200, End.DONE)


def test_an_unreachable_provider_is_tried_again(tmp_path: Path) -> None:
    """And told of when that did not help."""
    with a_plane(tmp_path, upstreams={"openai": a_dead_url()}) as plane:
        answer = post(plane, {**RETRY, "Helicone-Retry-Num": "3"})
        assert answer.status_code == 502
        assert answer.headers["helicone-unsent"] == "true"
        (capture,) = plane.captures(1)
        assert capture.end is End.UNREACHABLE


def test_a_caller_who_leaves_ends_the_attempts(plane: PlaneProcess, provider: Provider) -> None:
    """Nobody is asked for nobody."""
    provider.always(Reply(status=500))
    slow = {"Helicone-Retry-Enabled": "true", "Helicone-Retry-Min-Timeout": "400"}
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(plane.url + PATH, json=CHAT, headers=slow, timeout=0.2)
    (capture,) = plane.captures(1)
    assert capture.end is End.CANCELLED
    time.sleep(0.8)
    assert len(provider.requests) == 1


# Fallbacks


def test_the_next_target_is_tried(plane: PlaneProcess, provider: Provider) -> None:
    """With its own headers and the keys it puts over the body; which one it was is told and recorded."""
    with Provider() as other:
        other.always(Reply(text="from the other"))
        provider.always(Reply(status=429))
        entries = [
            {"target-url": provider.url, "headers": {"Authorization": "Bearer first"}, "onCodes": [429]},
            {
                "target-url": other.url,
                "headers": {"Authorization": "Bearer second", "X-Own": "1"},
                "onCodes": [],
                "bodyKeyOverride": {"model": "other"},
            },
        ]
        answer = post(plane, {"Helicone-Fallbacks": json.dumps(entries), "X-Caller": "1"})
        assert "from the other" in answer.text
        assert answer.headers["helicone-fallback-index"] == "1"
        assert [got.headers["authorization"] for got in provider.requests] == ["Bearer first"]
        (got,) = other.requests
        assert (got.headers["authorization"], got.headers["x-own"]) == ("Bearer second", "1")
        assert "x-caller" not in got.headers
        assert got.json() == {**CHAT, "model": "other"}
        (capture,) = plane.captures(1)
        assert capture.target_url == f"{other.url}/v1/chat/completions"


def test_a_fallback_may_not_reach_what_the_caller_may_not(tmp_path: Path, provider: Provider) -> None:
    """Private addresses stay closed."""
    entries = [{"target-url": "http://127.0.0.1:9", "headers": {}, "onCodes": [500]}]
    with a_plane(tmp_path, upstreams={"openai": provider.url}) as plane:
        answer = post(plane, {"Helicone-Fallbacks": json.dumps(entries)})
    assert answer.status_code == 403
    assert provider.requests == []


# Other things


@pytest.mark.parametrize("is_chunked", [False, True])
def test_a_very_large_request_is_passed_on_without_features(
    plane: PlaneProcess, provider: Provider, is_chunked: bool
) -> None:
    """It streams, as it would have without them; the record says so."""
    size, block = 65 << 20, b"x" * (1 << 20)

    def pieces() -> Iterator[bytes]:
        for _ in range(65):
            yield block

    headers = {"Authorization": "Bearer sk-a", **ON, **RETRY, "Helicone-RateLimit-Policy": "100;w=60"}
    if not is_chunked:
        headers["Content-Length"] = str(size)
    answer = httpx.post(f"{plane.url}/oai/v1/files", content=pieces(), headers=headers, timeout=60)
    assert answer.headers["helicone-ratelimit-remaining"] == "99"
    assert "helicone-cache" not in answer.headers
    (got,) = provider.requests
    assert len(got.body) == size
    (capture,) = plane.captures(1, timeout_s=20)
    assert capture.warnings[0] == "a request of more than 67108864 bytes is neither cached nor tried again"


def test_a_stream_is_made_to_tell_its_usage(plane: PlaneProcess, provider: Provider) -> None:
    """Where that is asked for, and only in requests that stream."""
    headers = {"Helicone-Stream-Usage": "true"}
    post(plane, headers, {**STREAM, "stream_options": {"x": 1}})
    post(plane, headers)
    asked = [got.json() for got in provider.requests]
    assert asked == [{**STREAM, "stream_options": {"x": 1, "include_usage": True}}, CHAT]


def test_a_malformed_feature_is_a_warning_in_the_record(plane: PlaneProcess, provider: Provider) -> None:
    """The call is passed on."""
    assert post(plane, {"Helicone-RateLimit-Policy": "nonsense"}).status_code == 200
    (capture,) = plane.captures(1)
    assert capture.warnings == ("Helicone-RateLimit-Policy is not understood: 'nonsense'; the call was not limited",)


def test_a_chunked_request_and_one_without_a_body(plane: PlaneProcess, provider: Provider) -> None:
    """Are read whole as well."""

    def pieces() -> Iterator[bytes]:
        whole = json.dumps(CHAT).encode()
        yield whole[:10]
        yield whole[10:]

    headers = {"Authorization": "Bearer sk-a", "Content-Type": "application/json", **ON}
    told = [httpx.post(plane.url + PATH, content=pieces(), headers=headers) for _ in range(2)]
    assert [one.headers["helicone-cache"] for one in told] == ["MISS", "HIT"]
    assert provider.requests[0].json() == CHAT
    models = [httpx.get(f"{plane.url}/oai/v1/models", headers={**RETRY, **ON}) for _ in range(2)]
    assert [one.status_code for one in models] == [200, 200]


# Records


def test_a_hit_used_nothing_and_cost_nothing(live: Running) -> None:
    """Its record names the one whose answer it gave again."""
    user, headers = f"cache {uuid.uuid4()}", {"Authorization": "Bearer sk-a", **ON}
    told = [
        httpx.post(
            live.url + PATH, json=CHAT, headers={**headers, "Helicone-User-Id": user, "Helicone-Cache-Seed": user}
        )
        for _ in range(2)
    ]
    missed, hit = live.records(user, 2)
    assert hit["cache_reference_id"] == missed["request_id"] == told[0].headers["helicone-id"]
    assert (hit["prompt_tokens"], hit["completion_tokens"], hit["costUSD"]) == (0, 0, 0)
    assert (hit["cost_source"], hit["cache_enabled"], missed["cache_reference_id"]) == ("cache", True, None)
    assert missed["costUSD"] > 0
    assert hit["response_body"] == missed["response_body"]


def test_cents_are_charged_once_the_cost_is_known(live: Running) -> None:
    """The call that used a budget up is the last one."""
    user = f"cents {uuid.uuid4()}"
    headers = {"Helicone-User-Id": user, "Helicone-RateLimit-Policy": "0.0001;w=31536000;u=cents;s=user"}

    def call() -> int:
        return httpx.post(live.url + PATH, json=CHAT, headers=headers).status_code

    assert call() == 200
    assert live.records(user, 1)[0]["costUSD"] > 0
    deadline = time.monotonic() + 5
    while call() != 429:
        assert time.monotonic() < deadline
    while True:
        body = {"filter": LIMITED, "limit": 1}
        limited = httpx.post(f"{live.url}/v1/request/query-clickhouse", json=body).json()["data"]
        if limited:
            break
        assert time.monotonic() < deadline
    assert limited[0]["response_status"] == 429
