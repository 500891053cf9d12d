"""Cache, retries and rate limits, asked for by SDKs of the providers with Helicone's headers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from heliconnect.testing import Reply
from tests.clients.node import npm_package, run
from tests.clients.said import (
    CHAT_MODEL,
    CLAUDE,
    KEY,
    Headers,
    Record,
    a_user,
    check_record,
    needed,
    python_package,
    said,
)
from tests.conftest import Running

pytestmark = pytest.mark.filterwarnings("ignore")

Featured = Callable[[str, Headers], dict[str, Any]]


def features(ask: Callable[[str, Headers], Any], text_of: Callable[[Any], str], limited: type[Exception]) -> Any:
    """The three features by a client: `ask` gives the raw answer to a question with headers."""
    cache = []
    for _ in range(2):
        raw = ask("cached", {"Helicone-Cache-Enabled": "true"})
        cache.append([raw.headers["helicone-cache"], text_of(raw.parse())])
    retried = ask("again", {"Helicone-Retry-Enabled": "true", "helicone-retry-min-timeout": "10"})
    policy = {"Helicone-RateLimit-Policy": "1;w=60;s=user"}
    limit: list[Any] = [text_of(ask("limited", policy).parse())]
    with pytest.raises(limited) as error:
        ask("limited", policy)
    limit.append(error.value.status_code)  # type: ignore[attr-defined]  # both SDKs' errors have it
    return {"cache": cache, "retry": text_of(retried.parse()), "limit": limit}


def by_openai(url: str, headers: Headers) -> Any:
    import openai

    with openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, default_headers=headers, max_retries=0) as client:

        def ask(text: str, more: Headers) -> Any:
            messages = [{"role": "user", "content": text}]
            create = client.chat.completions.with_raw_response.create
            return create(model=CHAT_MODEL, messages=messages, extra_headers=more)

        return features(ask, lambda answer: str(answer.choices[0].message.content), openai.RateLimitError)


def by_anthropic(url: str, headers: Headers) -> Any:
    import anthropic

    with anthropic.Anthropic(base_url=url, api_key=KEY, default_headers=headers, max_retries=0) as client:

        def ask(text: str, more: Headers) -> Any:
            messages = [{"role": "user", "content": text}]
            create = client.messages.with_raw_response.create
            return create(model=CLAUDE, max_tokens=9, messages=messages, extra_headers=more)

        return features(ask, lambda answer: str(answer.content[0].text), anthropic.RateLimitError)


def by_npm_openai(package: str, url: str, headers: Headers) -> Any:
    return run("features.mjs", package=package, url=url, headers=headers)


CASES = [
    pytest.param("openai", python_package("openai"), by_openai, id="openai"),
    pytest.param("anthropic", python_package("anthropic"), by_anthropic, id="anthropic"),
    *(
        pytest.param(f"{name} of npm", npm_package(name), partial(by_npm_openai, name), id=f"npm {name}")
        for name in ("openai", "openai-6")
    ),
]


@pytest.mark.parametrize(("package", "found", "featured"), CASES)
def test_features_are_had_by_headers(
    package: str, found: str | None, featured: Featured, live: Running, record_property: Record
) -> None:
    """The second answer is the cache's, a failure is tried again, one too many is refused as the SDK expects it."""
    record_property("package", needed(package, found))
    record_property("shown", "cache, retries and rate limits by headers")
    user = a_user("features")
    live.provider.when(Reply(status=500), text="again", times=1)
    expected = {
        "cache": [["MISS", "Here is my answer to: cached"], ["HIT", "Here is my answer to: cached"]],
        "retry": "Here is my answer to: again",
        "limit": ["Here is my answer to: limited", 429],
    }
    # The answers of other tests must not be found: the user is no part of the cache's question.
    assert featured(live.url, {**said(user), "Helicone-Cache-Seed": user}) == expected
    assert len(live.provider.requests) == 4
    assert not [name for one in live.provider.requests for name in one.headers if name.startswith("helicone-")]
    records = live.records(user, 5)
    assert [record["response_status"] for record in records] == [200, 200, 200, 200, 429]
    added = [{"Helicone-Cache-Enabled": "true"}] * 2 + [{}, {}, {"Helicone-Rate-Limit-Status": "bucket_rate_limited"}]
    for record, more in zip(records, added, strict=True):
        check_record(live, record, user, **more)
    miss, hit, retried, *_ = records
    assert hit["cache_reference_id"] == miss["request_id"]
    assert (miss["costUSD"] > 0, hit["costUSD"]) == (True, 0)
    assert retried["response_preview"] == expected["retry"]
