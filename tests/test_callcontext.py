"""The call context: nested scopes, merged properties, nothing left behind."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest

import heliconnect as hc
from heliconnect.callcontext import CallContext, active_run, enter_run, join_path, note_request
from heliconnect.references import find, leave


def test_scopes_nest_and_restore() -> None:
    """Inner words win, unsaid ones are inherited, properties are merged, and all of it ends with the block."""
    with hc.context(user_id="ada", properties={"tier": "pro", "app": "x"}) as outer:
        with hc.context(session_id="s", properties={"tier": "free"}):
            here = hc.current()
            assert (here.user_id, here.session_id) == ("ada", "s")
            assert dict(here.properties) == {"tier": "free", "app": "x"}
        assert hc.current() == outer
    assert hc.current() == CallContext()


def test_an_error_restores_the_outer_context() -> None:
    """A scope that is left by an exception is left all the same."""
    with pytest.raises(RuntimeError, match="boom"), hc.context(user_id="ada"):
        raise RuntimeError("boom")
    assert hc.current() == CallContext()


def test_a_session_has_an_id_and_steps_extend_its_path() -> None:
    """session() makes an id unless given; step() appends to the path."""
    with hc.session("trip planner") as session:
        assert hc.current().session_id == session.id
        assert hc.current().session_name == "trip planner"
        with hc.step("search") as path, hc.step("rank/deep") as deeper:
            assert (path, deeper) == ("/search", "/search/rank/deep")
            assert hc.current().session_path == "/search/rank/deep"
        assert hc.current().session_path == "/"
    with hc.session("x", id=42, path="a/b"):
        assert (hc.current().session_id, hc.current().session_path) == ("42", "/a/b")


def test_use_carries_a_context_elsewhere() -> None:
    """current() is a value: another thread puts it in force with use()."""
    seen: list[object] = []
    with hc.context(user_id="ada"):
        here = hc.current()

    def work() -> None:
        seen.append(hc.current().user_id)
        with hc.use(here):
            seen.append(hc.current().user_id)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [None, "ada"]


async def test_concurrent_tasks_do_not_mix() -> None:
    """A hundred tasks with a hundred users see their own, whatever they wait for in between."""

    async def one(number: int) -> bool:
        with hc.context(user_id=number), hc.session(f"s{number}"):
            for _ in range(3):
                await asyncio.sleep(0.001 * (number % 5))
            return hc.current().user_id == number and hc.current().session_name == f"s{number}"

    assert all(await asyncio.gather(*(one(number) for number in range(100))))


def test_a_scope_is_entered_once_and_is_no_decorator() -> None:
    """What would silently do the wrong thing is refused."""
    scope = hc.context(user_id="ada")
    with scope:
        pass
    with pytest.raises(RuntimeError, match="entered once"), scope:
        pass
    with pytest.raises(TypeError):
        hc.context(user_id="ada")(lambda: None)  # type: ignore[operator]  # this is what is refused


async def test_leaving_in_another_task_does_no_harm() -> None:
    """A generator that is closed by another task leaves both tasks clean."""

    async def stream() -> object:
        with hc.context(user_id="ada"):
            yield 1
            yield 2

    generator = stream()
    await asyncio.create_task(generator.__anext__())  # type: ignore[attr-defined]  # an async generator
    await asyncio.create_task(generator.aclose())  # type: ignore[attr-defined]  # as above
    assert hc.current() == CallContext()


def test_unknown_keywords_and_odd_properties(caplog: pytest.LogCaptureFixture) -> None:
    """A misspelt field is an error that lists the fields; properties that are no mapping are left out, with a word."""
    with pytest.raises(TypeError, match=r"user_id.*got usr"):
        hc.context(usr="ada")  # type: ignore[call-arg]  # this is what is refused
    with caplog.at_level(logging.WARNING), hc.context(properties="tier=pro"):  # type: ignore[arg-type]  # on purpose
        assert dict(hc.current().properties) == {}
    assert "must be a mapping" in caplog.text


def test_a_run_overlays_until_it_ends() -> None:
    """The nearest run in force counts; one that has ended does not, nor does a run around a scope."""
    with hc.context(user_id="ada", properties={"a": 1}):
        outer = enter_run(CallContext(session_path="/outer"))
        inner = enter_run(CallContext(session_path="/inner", properties={"b": 2}))
        assert (hc.current().session_path, hc.current().user_id) == ("/inner", "ada")
        assert dict(hc.current().properties) == {"a": 1, "b": 2}
        inner.active = False
        assert hc.current().session_path == "/outer"
        note_request("id-1")
        assert (outer.request_ids, inner.request_ids, hc.last_request_id()) == (["id-1"], [], "id-1")
        with hc.context(session_path="/mine"):
            assert hc.current().session_path == "/mine"
        outer.active = False
        assert active_run() is None


def test_contexts_can_be_left_and_found() -> None:
    """An adapter leaves a context under a reference; unknown references find nothing."""
    reference = leave(CallContext(user_id="ada"))
    assert reference.isascii()
    assert find(reference) == find(reference) == CallContext(user_id="ada")
    assert find("nothing") is None


@pytest.mark.parametrize(
    ("parts", "path"),
    [
        pytest.param((), "/", id="nothing"),
        pytest.param(("/a/", "b"), "/a/b", id="slashes"),
        pytest.param((None, " a ", "", 3), "/a/3", id="blanks-and-numbers"),
    ],
)
def test_paths_are_joined(parts: tuple[object, ...], path: str) -> None:
    """One leading slash, no empty steps."""
    assert join_path(*parts) == path
