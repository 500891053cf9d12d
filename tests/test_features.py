"""Features by header, without a network: what a request asks for, and the state behind it, with a clock of its own."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

from heliconnect.server.features.caching import Answer, AnswerCache, question_of
from heliconnect.server.features.fallbacks import parse_fallbacks
from heliconnect.server.features.limits import Buckets, Policy, bucket_key, parse_policy
from heliconnect.server.features.retries import RetryWish, is_retried
from heliconnect.server.features.wishes import CacheWish, Wishes, wishes_of

Lines = list[tuple[bytes, bytes, bytes]]
ON = {"Helicone-Cache-Enabled": "true"}
RETRY = {"Helicone-Retry-Enabled": "true"}
ENTRY = {"target-url": "https://x.example", "headers": {"Authorization": "Bearer b"}, "onCodes": [429]}


def lines(headers: dict[str, str]) -> Lines:
    return [(name.lower().encode(), name.encode(), value.encode()) for name, value in headers.items()]


def asked(headers: dict[str, str]) -> Wishes | None:
    return wishes_of(lines(headers))


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now_s = 1_000_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


# Wishes


@pytest.mark.parametrize(
    ("headers", "wish"),
    [
        pytest.param(ON, CacheWish(True, True), id="enabled"),
        pytest.param({"Helicone-Cache-Enabled": "TRUE"}, CacheWish(True, True), id="in-any-case"),
        pytest.param({"Helicone-Cache-Save": "true"}, CacheWish(False, True), id="save-only"),
        pytest.param({"Helicone-Cache-Read": "true"}, CacheWish(True, False), id="read-only"),
        pytest.param({**ON, "Cache-Control": "max-age=60"}, CacheWish(True, True, 60), id="max-age"),
        pytest.param({**ON, "Cache-Control": "max-age=60, s-maxage=5"}, CacheWish(True, True, 5), id="s-maxage-first"),
        pytest.param({**ON, "Cache-Control": "max-age=99999999999"}, CacheWish(True, True, 31_536_000), id="a-year"),
        pytest.param({**ON, "Cache-Control": "max-age=abc"}, CacheWish(True, True), id="no-age"),
        pytest.param({**ON, "Cache-Control": "no-cache"}, CacheWish(False, True), id="no-cache-reads-nothing"),
        pytest.param({**ON, "Cache-Control": "no-store"}, None, id="no-store-does-nothing"),
        pytest.param({"Cache-Control": "max-age=60"}, None, id="a-plain-header-alone"),
        pytest.param({"Helicone-Cache-Enabled": "false"}, None, id="off"),
        pytest.param(
            {**ON, "Helicone-Cache-Seed": "42", "Helicone-Cache-Bucket-Max-Size": "3"},
            CacheWish(True, True, bucket_size=3, seed="42"),
            id="seed-and-bucket",
        ),
        pytest.param(
            {**ON, "Helicone-Cache-Ignore-Keys": "b,a"}, CacheWish(True, True, ignored=("a", "b")), id="plain"
        ),
        pytest.param(
            {**ON, "Helicone-Cache-Ignore-Keys": '"b","a"'}, CacheWish(True, True, ignored=("a", "b")), id="quoted"
        ),
    ],
)
def test_what_is_asked_of_the_cache(headers: dict[str, str], wish: CacheWish | None) -> None:
    """Helicone's spellings, and those of its documentation."""
    found = asked(headers)
    assert (found.cache if found is not None else None) == wish


@pytest.mark.parametrize(
    ("headers", "wish"),
    [
        pytest.param(RETRY, RetryWish(), id="defaults"),
        pytest.param({"Helicone-Retry-Enabled": "false"}, None, id="false-is-off"),
        pytest.param({**RETRY, "Helicone-Retry-Num": "3"}, RetryWish(3), id="attempts-in-total"),
        pytest.param({**RETRY, "Helicone-Retry-Num": "0"}, RetryWish(1), id="at-least-one"),
        pytest.param(
            {
                **RETRY,
                "Helicone-Retry-Factor": "1.5",
                "Helicone-Retry-Min-Timeout": "10",
                "helicone-retry-max-timeout": "20",
            },
            RetryWish(5, 1.5, 10, 20),
            id="all",
        ),
    ],
)
def test_what_is_asked_of_retries(headers: dict[str, str], wish: RetryWish | None) -> None:
    """helicone-retry-num counts attempts, the first one too."""
    found = asked(headers)
    assert (found.retry if found is not None else None) == wish


@pytest.mark.parametrize(
    ("headers", "warning"),
    [
        pytest.param({**ON, "Helicone-Cache-Bucket-Max-Size": "21"}, "must be 1 to 20, got '21'", id="bucket-21"),
        pytest.param({**ON, "Helicone-Cache-Bucket-Max-Size": "abc"}, "must be 1 to 20, got 'abc'", id="bucket-abc"),
        pytest.param({**RETRY, "Helicone-Retry-Num": "abc"}, "Num must be a number, got 'abc'", id="retry-abc"),
        pytest.param({"Helicone-RateLimit-Policy": "100;w=59"}, "is not understood: '100;w=59'", id="policy"),
        pytest.param({"Helicone-Fallbacks": "{"}, "it must be a JSON array", id="fallbacks"),
        pytest.param({"Helicone-Fallbacks": '[{"target-url": "x"}]'}, "entry 0 must be an object", id="entry"),
    ],
)
def test_a_malformed_feature_is_a_warning(headers: dict[str, str], warning: str) -> None:
    """The call goes on without it, or with its default."""
    found = asked(headers)
    assert found is not None
    assert len(found.warnings) == 1
    assert warning in found.warnings[0]


@pytest.mark.parametrize(
    ("name", "value", "warns"),
    [
        ("Helicone-LLM-Security-Enabled", "true", True),
        ("Helicone-Moderations-Enabled", "true", True),
        ("Helicone-Token-Limit-Exception-Handler", "truncate", True),
        ("Helicone-Moderations-Enabled", "false", False),
    ],
)
def test_what_is_not_available_is_said(name: str, value: str, warns: bool) -> None:
    """The call is passed on without it, and its record says so."""
    words = f"{name} is not available in this gateway: the call was passed on without it"
    assert asked({name: value}) == (Wishes(warnings=(words,)) if warns else None)


def test_a_call_without_wishes() -> None:
    """Other headers of Helicone's ask for nothing."""
    assert asked({"Helicone-User-Id": "u", "Helicone-Property-Cache": "x", "Accept": "*/*"}) is None


# The cache


def question(headers: dict[str, str] | None = None, body: object = None, url: str = "https://a/v1") -> str:
    wish = asked({**ON, **(headers or {})})
    assert wish is not None
    assert wish.cache is not None
    text = body if isinstance(body, bytes) else json.dumps(body or {"model": "m", "user": "u"}).encode()
    return question_of(wish.cache, b"POST", url, lines({"Authorization": "Bearer a", **ON, **(headers or {})}), text)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param(question(body=b'{"a": 1,  "b": 2}'), question(body=b'{"a":1,"b":2}'), id="blanks-in-json"),
        pytest.param(question({"Helicone-User-Id": "x"}), question(), id="users"),
        pytest.param(question({"Cache-Control": "max-age=9"}), question(), id="ttl"),
        pytest.param(question({"Helicone-Cache-Enabled": "True"}), question(), id="spelling-of-true"),
        pytest.param(
            question({"Helicone-Cache-Ignore-Keys": "user"}, {"model": "m", "user": "x"}),
            question({"Helicone-Cache-Ignore-Keys": '"user"'}, {"model": "m", "user": "y"}),
            id="ignored-keys",
        ),
    ],
)
def test_the_same_question(one: str, other: str) -> None:
    """Gets the same answer."""
    assert one == other


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(question(body=b'{"user": "u", "model": "m"}'), id="order-of-keys"),
        pytest.param(question({"Authorization": "Bearer b"}), id="provider-key"),
        pytest.param(question({"x-api-key": "b"}), id="another-provider-key"),
        pytest.param(question({"Helicone-Auth": "Bearer b"}), id="helicone-key"),
        pytest.param(question({"Helicone-Cache-Seed": "1"}), id="seed"),
        pytest.param(question({"Helicone-Cache-Bucket-Max-Size": "2"}), id="bucket"),
        pytest.param(question({"Helicone-Cache-Control": "x"}), id="cache-control"),
        pytest.param(question(url="https://a/v1?x"), id="url"),
        pytest.param(question({"Accept-Encoding": "gzip"}), id="codings"),
        pytest.param(question(body=b"no json"), id="body"),
    ],
)
def test_another_question(other: str) -> None:
    """Gets an answer of its own."""
    assert other != question()


def an_answer(text: bytes = b"hi") -> Answer:
    return Answer("id-1", 12.5, ((b"content-type", b"Content-Type", b"text/plain"),), text)


def test_an_answer_lasts_as_long_as_it_was_asked_to(tmp_path: Path, clock: Clock) -> None:
    """And comes back as it was, by another process too; a torn file is none."""
    cache = AnswerCache(tmp_path / "cache", clock)
    assert cache.find("ab" * 32, 1) == []
    assert cache.save("ab" * 32, 1, an_answer(), 60)
    assert AnswerCache(tmp_path / "cache", clock).find("ab" * 32, 1) == [an_answer()]
    assert not cache.save("ab" * 32, 1, an_answer(b"other"), 60)
    clock.now_s += 60
    assert cache.find("ab" * 32, 1) == []
    assert cache.save("ab" * 32, 1, an_answer(b"new"), 60)
    (path,) = (tmp_path / "cache").glob("*/*")
    assert path.stat().st_mode & 0o077 == 0
    path.write_bytes(path.read_bytes()[:-1])
    assert cache.find("ab" * 32, 1) == []
    assert not cache.save("cd" * 32, 1, an_answer(), 0)


def test_a_bucket_holds_several_answers(tmp_path: Path, clock: Clock) -> None:
    """As many as asked for, then no more."""
    cache = AnswerCache(tmp_path / "cache", clock)
    assert [cache.save("ab" * 32, 3, an_answer(b"%d" % n), 60) for n in range(4)] == [True, True, True, False]
    assert [answer.body for answer in cache.find("ab" * 32, 3)] == [b"0", b"1", b"2"]


def test_the_cache_is_bounded(tmp_path: Path, clock: Clock) -> None:
    """What has expired goes first, then the oldest."""
    cache = AnswerCache(tmp_path / "cache", clock, max_bytes=5_000)
    for number in range(10):
        cache.save(f"{number:02}" * 32, 1, an_answer(b"x" * 1_000), 60 if number == 9 else 600)
    clock.now_s += 61
    cache.sweep()
    left = list((tmp_path / "cache").glob("*/*"))
    assert 3 <= len(left) <= 4
    assert cache.find("09" * 32, 1) == []


# Limits


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        pytest.param("1000;w=3600", Policy(1000, 3600), id="global"),
        pytest.param(" 5000;w=3600;u=cents;s=tenant-id ", Policy(5000, 3600, "cents", "tenant-id"), id="all"),
        pytest.param("0.5;w=60;u=cents", Policy(0.5, 60, "cents"), id="fraction"),
        pytest.param("100;W=60;S=USER", Policy(100, 60, "request", "user"), id="case"),
        *(
            pytest.param(bad, None, id=bad)
            for bad in ("100;w=59", "0;w=60", "1e10;w=60", "100;w=60;u=tokens", "100;w=60;x=extra", "100:w=60", "")
        ),
    ],
)
def test_the_grammar_of_policies(text: str, policy: Policy | None) -> None:
    """Source: worker/test/rate-limit/policyParser.spec.ts of Helicone/helicone."""
    assert parse_policy(text) == policy


@pytest.mark.parametrize(
    ("policy", "key"),
    [
        pytest.param(Policy(1, 60), "k:global:request", id="global"),
        pytest.param(Policy(1, 60, "cents", "user"), "k:user:a_b:cents", id="user"),
        pytest.param(Policy(1, 60, segment="tier"), "k:prop:tier:pro:request", id="property"),
        pytest.param(Policy(1, 60, segment="absent"), None, id="absent"),
    ],
)
def test_which_bucket_a_call_takes_from(policy: Policy, key: str | None) -> None:
    """None where what it is divided by is not there."""
    assert bucket_key(policy, "k", "a:b", {"tier": "pro"}) == key


def test_a_bucket_empties_and_fills_again(tmp_path: Path, clock: Clock) -> None:
    """Evenly, over its window; the caller is told what is left."""
    buckets, policy = Buckets(tmp_path / "limits.db", clock), Policy(2, 60)
    decisions = [buckets.take("k", policy) for _ in range(3)]
    assert [(one.is_allowed, one.tokens, one.reset_s) for one in decisions] == [
        (True, 1, 30),
        (True, 0, 60),
        (False, 0, 60),
    ]
    assert decisions[0].lines(policy) == [
        b"helicone-ratelimit-limit: 2",
        b"helicone-ratelimit-remaining: 1",
        b"helicone-ratelimit-policy: 2;w=60",
        b"helicone-ratelimit-reset: 30",
    ]
    clock.now_s += 30
    assert Buckets(tmp_path / "limits.db", clock).take("k", policy).is_allowed
    assert not buckets.take("k", policy).is_allowed
    clock.now_s += 3600
    assert buckets.take("k", policy).tokens == 1


def test_cents_are_taken_once_they_are_known(tmp_path: Path, clock: Clock) -> None:
    """A call passes while anything is left; what it has cost may be more than that."""
    buckets, policy = Buckets(tmp_path / "limits.db", clock), Policy(10, 60, "cents")
    assert buckets.take("k", policy).tokens == 10
    buckets.charge("k", policy, Decimal("0.15"))
    assert not buckets.take("k", policy).is_allowed
    clock.now_s += 31
    assert buckets.take("k", policy).is_allowed


def test_two_policies_on_one_bucket_starve_nobody(tmp_path: Path, clock: Clock) -> None:
    """What has come back since the last call stays, whichever policy asks."""
    buckets = Buckets(tmp_path / "limits.db", clock)
    assert buckets.take("k", Policy(1, 60)).is_allowed
    clock.now_s += 66
    assert buckets.take("k", Policy(1, 61)).is_allowed
    assert not buckets.take("k", Policy(1, 60)).is_allowed
    assert buckets.take("k", Policy(1, 60)).tokens < 1


def test_a_bucket_that_cannot_be_read_lets_calls_pass(tmp_path: Path, clock: Clock) -> None:
    """A limit of ours fails no call."""
    buckets = Buckets(tmp_path / "limits.db", clock)
    buckets.close()
    assert buckets.take("k", Policy(1, 60)).is_allowed


# Retries and fallbacks


def test_the_pauses_between_attempts() -> None:
    """1, 2, 4, 8, 10 seconds, each stretched by chance; what the provider asks for, within the bound."""
    wish = RetryWish()
    assert [wish.delay_s(retry, 0) for retry in range(1, 6)] == [1, 2, 4, 8, 10]
    assert wish.delay_s(1, 0.5) == 1.5
    assert wish.delay_s(1, 0, retry_after_s=7) == 7
    assert wish.delay_s(1, 0, retry_after_s=70) == 10
    assert [status for status in (200, 400, 408, 429, 500, 503, 599) if is_retried(status)] == [429, 500, 503, 599]


def test_the_entries_of_fallbacks() -> None:
    """Ranges of statuses, headers, keys put over the body."""
    codes = [429, {"from": 500, "to": 599}]
    first, second = parse_fallbacks(json.dumps([{**ENTRY, "onCodes": codes, "bodyKeyOverride": {"model": "b"}}, ENTRY]))
    assert [status for status in (200, 400, 429, 500, 599) if first.leads_on(status)] == [429, 500, 599]
    assert json.loads(first.body(b'{"model": "a", "n": 1}')) == {"model": "b", "n": 1}
    assert second.body(b"x") == first.body(b"x") == b"x"
    assert second.headers == (("Authorization", "Bearer b"),)


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param([], id="none"),
        pytest.param([{**ENTRY, "headers": {"a\r\nb": "c"}}], id="name"),
        pytest.param([{**ENTRY, "headers": {"a": "b\r\nc: d"}}], id="value"),
        pytest.param([{**ENTRY, "onCodes": ["429"]}], id="code"),
        pytest.param([{**ENTRY, "onCodes": [True]}], id="boolean"),
        pytest.param([3], id="no-object"),
    ],
)
def test_fallbacks_that_are_refused(entry: object) -> None:
    """No header of theirs can end a line."""
    with pytest.raises(ValueError, match=r"entry 0|array"):
        parse_fallbacks(json.dumps(entry))
