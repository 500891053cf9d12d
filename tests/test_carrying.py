"""carry(): the call context in threads, pools, queues, other processes and services."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import heliconnect as hc
from heliconnect.callcontext import CallContext, enter_run, use
from heliconnect.carrying import pack, patch_threads, read_token, refused_tokens, unpack, unpatch_threads

SECRET = "a secret of thirty-two characters"


def user() -> object:
    return hc.current().user_id


@pytest.fixture
def patched() -> Iterator[None]:
    patch_threads()
    patch_threads()
    yield
    unpatch_threads()
    unpatch_threads()
    assert not hasattr(threading.Thread.start, "_heliconnect")
    assert not hasattr(ThreadPoolExecutor.submit, "_heliconnect")


def in_a_thread(fn: Any, make: Any = threading.Thread) -> object:
    """What fn gives in a thread that is started now."""
    found: list[object] = []
    thread = make(target=lambda: found.append(fn()))
    thread.start()
    thread.join()
    return found[0]


def test_a_function_takes_the_context_of_its_carrying() -> None:
    """In threads, timers and pools; a run in force goes along, arguments and results pass."""
    with hc.context(user_id="ada"), hc.step("search"):
        enter_run(CallContext(session_path="/search/model"))
        carried = hc.carry(lambda *args, **kwargs: (user(), hc.current().session_path, args, kwargs))
    assert user() is None
    assert in_a_thread(lambda: carried(1, two=2)) == ("ada", "/search/model", (1,), {"two": 2})
    found: list[object] = []
    timer = threading.Timer(0.001, hc.carry(lambda: found.append(user())))
    timer.start()
    timer.join()
    assert found == [None]
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(carried).result()[0] == "ada"
        assert pool.submit(user).result() is None


async def test_a_coroutine_function_takes_it_too() -> None:
    """Also when it runs in a task of its own; it keeps its name, and errors are its own."""

    async def ask(question: str) -> tuple[str, object]:
        await asyncio.sleep(0)
        return question, user()

    def fails() -> None:
        raise KeyError("x")

    with hc.context(user_id="ada"):
        carried, failing = hc.carry(ask), hc.carry(fails)
    assert carried.__name__ == "ask"
    assert await asyncio.create_task(carried("why")) == ("why", "ada")
    assert await asyncio.get_running_loop().run_in_executor(None, hc.carry(user)) is None
    with pytest.raises(KeyError):
        failing()


def test_an_executor_runs_each_task_in_the_context_of_its_submission() -> None:
    """submit and map, on the same threads, with nothing left for the next task."""
    with hc.Executor(2) as pool:
        futures = []
        for name in ("ada", "bob", None, "cyd"):
            with use(CallContext(user_id=name)):
                futures.append(pool.submit(user))
        assert [one.result() for one in futures] == ["ada", "bob", None, "cyd"]
        with hc.context(user_id="dee"):
            assert list(pool.map(lambda _: user(), range(5))) == ["dee"] * 5
        assert pool.submit(user).result() is None


async def test_patched_threads_carry_by_themselves(patched: None) -> None:
    """Threads, subclasses, timers, pools and run_in_executor; pool threads keep nothing of whoever started them."""

    class Own(threading.Thread):
        def run(self) -> None:
            self.found = user()

    with ThreadPoolExecutor(1) as pool:
        with hc.context(user_id="ada"):
            assert in_a_thread(user) == "ada"
            own = Own()
            own.start()
            own.join()
            assert own.found == "ada"
            assert "run" not in own.__dict__
            assert pool.submit(user).result() == "ada"
            assert await asyncio.get_running_loop().run_in_executor(pool, user) == "ada"
            assert await asyncio.to_thread(user) == "ada"
        assert pool.submit(user).result() is None
        assert await asyncio.get_running_loop().run_in_executor(pool, user) is None
    assert in_a_thread(user) is None


def test_unpatched_threads_carry_nothing() -> None:
    """install(threads=True) is opt-in, uninstall() undoes it, also below another tool's wrapper."""
    with hc.context(user_id="ada"):
        assert in_a_thread(user) is None
        hc.install(threads=True)
        assert in_a_thread(user) == "ada"
        ours = threading.Thread.start

        def theirs(self: threading.Thread) -> None:
            ours(self)

        threading.Thread.start = theirs  # type: ignore[method-assign]  # as tracing tools do
        try:
            hc.uninstall()
            assert in_a_thread(user) is None
        finally:
            threading.Thread.start = ours  # type: ignore[method-assign]  # takes theirs away again
            unpatch_threads()


def test_nothing_but_the_call_context_goes_along(patched: None) -> None:
    """Other people's context variables behave as without us."""
    from contextvars import ContextVar

    other: ContextVar[str] = ContextVar("other", default="none")
    other.set("mine")
    with hc.context(user_id="ada"):
        assert in_a_thread(lambda: (user(), other.get())) == ("ada", "none")
        assert in_a_thread(hc.carry(lambda: (user(), other.get()))) == ("ada", "none")


def test_a_token_carries_the_context(monkeypatch: pytest.MonkeyPatch) -> None:
    """Printable ASCII for a header; values keep the types that JSON has, others become text."""
    monkeypatch.setenv("HELICONNECT_SECRET", SECRET)
    with (
        hc.context(user_id="Zoë 東京", properties={"n": 3, "yes": True, "odd": {"a": 1}}, cache=True),
        hc.session("trip"),
    ):
        here = hc.current()
        token = hc.dump()
    assert token.isascii()
    assert token.isprintable()
    with hc.load(token) as found:
        assert (found.user_id, found.session_id, found.session_name) == (here.user_id, here.session_id, "trip")
        assert dict(found.properties) == {"n": 3, "yes": True, "odd": '{"a": 1}'}
        assert found.cache is True
        assert hc.current() == found
    assert user() is None


def test_a_token_reaches_another_process() -> None:
    """By an environment variable, say."""
    code = "import os, heliconnect as hc\nwith hc.load(os.environ['TOKEN']): print(hc.current().user_id)"
    with hc.context(user_id="ada"):
        token = hc.dump(secret=SECRET)
    environ = {**os.environ, "TOKEN": token, "HELICONNECT_SECRET": SECRET}
    shown = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "ada"


def bad_tokens() -> dict[str, str]:
    with hc.context(user_id="mallory"):
        token, other, old = hc.dump(secret=SECRET), hc.dump(secret="x"), hc.dump(-1, secret=SECRET)
    version, payload, signature = token.split(".")
    return {
        "tampered": f"{version}.{payload[:-2]}AA.{signature}",
        "tampered ": other,
        "expired": old,
        "malformed": f"2.{payload}.{signature}",
        "malformed ": "nonsense",
        "malformed  ": f"{version}.{payload}.ü",
        "malformed   ": token + "A" * 9_000,
    }


def test_a_token_that_cannot_be_believed_is_ignored_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    """The current context stays in force; each kind is said once, and no value of the token is."""
    before = refused_tokens()
    with caplog.at_level(logging.WARNING), hc.context(user_id="ada"):
        for kind, token in bad_tokens().items():
            for _ in range(2):
                with hc.load(token, secret=SECRET):
                    assert user() == "ada", kind
            counted = refused_tokens().get(kind.strip(), 0) - before.get(kind.strip(), 0)
            assert counted >= 2, kind
        with hc.load(None, secret=SECRET), hc.load("", secret=SECRET):
            assert user() == "ada"
    assert "mallory" not in caplog.text
    assert len(caplog.records) <= 3


def test_without_a_secret_nothing_is_signed_or_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """dump() says what to do; load() ignores and counts."""
    monkeypatch.delenv("HELICONNECT_SECRET", raising=False)
    with pytest.raises(hc.SettingsError, match="HELICONNECT_SECRET"):
        hc.dump()
    with hc.context(user_id="ada"):
        assert read_token(hc.dump(secret=SECRET)) is None
    assert refused_tokens()["no secret"] >= 1


def test_a_token_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time."""
    with hc.context(user_id="ada"):
        token = hc.dump(60, secret=SECRET)
    assert read_token(token, secret=SECRET) == CallContext(user_id="ada")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 61)
    assert read_token(token, secret=SECRET) is None


@pytest.mark.parametrize("odd", [None, "text", [1], {"properties": 3, "unknown": 1}, {"user_id": {"a": 1}}])
def test_unpacking_takes_anything(odd: Any) -> None:
    """What is no context is an empty one, field by field."""
    found = unpack(odd)
    assert dict(found.properties) == {}
    assert unpack(pack(CallContext(user_id=1, properties={"a": None, "b": 2}))) == CallContext(
        user_id=1, properties={"a": None, "b": 2}
    )
