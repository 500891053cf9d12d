"""Logging by hand: what no HTTP library of ours carries becomes a record too, and nobody waits for it."""

from __future__ import annotations

import asyncio
import json
import os
import stat
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import heliconnect as hc
from heliconnect.outbox import Entry, Outbox
from heliconnect.sender import Sender, get_sender
from heliconnect.settings import configure
from tests.conftest import Running
from tests.senders import a_dead_url

CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
ANSWER = {
    "object": "chat.completion",
    "model": "gpt-4o",
    "choices": [{"message": {"role": "assistant", "content": "hello"}}],
    "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
}
Wait = Callable[[Callable[[], object]], None]


@pytest.fixture
def user(live: Running) -> str:
    """A user of this test alone, whose entries go to the running server."""
    configure(base_url=live.url)
    return f"manual {uuid.uuid4()}"


def test_a_call_logged_by_hand(live: Running, user: str) -> None:
    """It carries the context of its moment, has tokens and cost, and an id that is known at once."""
    with hc.context(user_id=user, properties={"Größe": "ünï 東京"}), hc.session("trip"), hc.step("search"):
        with hc.log(provider="openai", request=CHAT) as entry:
            time.sleep(0.02)
            entry.respond(ANSWER)
        assert hc.last_request_id() == entry.request_id
    (record,) = live.records(user, 1)
    assert record["request_id"] == entry.request_id
    assert record["request_properties"]["grosse"] == "ünï 東京"
    assert record["request_properties"]["Helicone-Session-Path"] == "/search"
    assert (record["response_status"], record["prompt_tokens"], record["completion_tokens"]) == (200, 10, 5)
    assert record["costUSD"] > 0
    assert 15 < record["delay_ms"] < 5_000


def test_failures_streams_and_steps(live: Running, user: str) -> None:
    """An error goes on and is logged; chunks are a stream; tools, searches and data have their names."""
    chunk = {"object": "chat.completion.chunk", "model": "gpt-4o", "choices": [{"index": 0, "delta": {"content": "x"}}]}
    with hc.context(user_id=user):
        with pytest.raises(ValueError, match="no such"), hc.log(request=CHAT):
            raise ValueError("no such model")
        with hc.log(provider="openai", request=CHAT) as entry:
            entry.chunk(chunk)
            entry.chunk({**chunk, "usage": ANSWER["usage"]})
        with hc.log_tool("weather", {"city": "Lisbon"}) as entry:
            entry.respond({"degrees": 21})
        with hc.log_vector_search("sights", top_k=3) as entry:
            entry.respond("three of them")
        with hc.log_data("prices", {"n": 1}):
            pass
    failed, streamed, tool, search, data = live.records(user, 5)
    assert failed["response_status"] == 500
    assert "no such model" in str(failed["response_body"])
    assert (streamed["prompt_tokens"], streamed["time_to_first_token"] is None) == (10, False)
    assert [one["model"] for one in (tool, search, data)] == ["tool:weather", "vector_db", "data:prices"]
    assert tool["response_body"] == {"degrees": 21}


async def test_decorated_functions(live: Running, user: str) -> None:
    """Functions and generators, synchronous and asynchronous: results, errors and types as without it."""

    @hc.logged()
    def add(a: int, b: int = 2) -> int:
        return a + b

    @hc.logged(kind="data", name="later")
    async def later(text: str) -> str:
        await asyncio.sleep(0)
        return text.upper()

    @hc.logged()
    def count(n: int) -> Iterator[int]:
        yield from range(n)

    @hc.logged(kind="llm", provider="openai")
    async def ask(model: str, messages: list[Any]) -> AsyncIterator[dict[str, Any]]:
        yield {"object": "chat.completion.chunk", "model": model, "choices": [], "usage": ANSWER["usage"]}

    with hc.context(user_id=user):
        assert add(1, b=3) == 4
        with pytest.raises(TypeError):
            add()  # type: ignore[call-arg]  # the error is the test
        assert await later("x") == "X"
        assert list(count(3)) == [0, 1, 2]
        assert [piece async for piece in ask("gpt-4o", [])] != []
    assert add.__name__ == "add"
    records = live.records(user, 5)
    models = ["tool:add", "tool:add", "data:later", "tool:count", "gpt-4o"]
    assert [record["model"] for record in records] == models
    assert [record["response_status"] for record in records] == [200, 500, 200, 200, 200]
    assert records[0]["request_body"]["input"] == {"a": 1, "b": 3}
    assert records[4]["prompt_tokens"] == 10


def test_odd_values_and_omitted_bodies(live: Running, user: str) -> None:
    """What JSON does not know becomes text or its fields; what must not be kept is not even sent."""

    class Odd:
        def __str__(self) -> str:
            raise RuntimeError("no")

    with hc.context(user_id=user):
        with hc.log(request={"model": "m", "odd": Odd()}) as entry:
            entry.respond(ANSWER)
        with hc.log(request={"model": "m", "raw": b"123", "set": {1}, "path": Path("/x")}):
            pass
        with hc.context(omit_request=True, omit_response=True), hc.log(provider="openai", request=CHAT) as entry:
            entry.respond(ANSWER)
    kept, omitted = live.records(user, 2)
    assert kept["request_body"]["raw"] == "[3 bytes]"
    assert "hello" not in str(omitted)
    assert (omitted["model"], omitted["prompt_tokens"]) == ("gpt-4o", 10)


def test_a_dead_gateway_costs_nothing_and_loses_nothing(tmp_path: Path, wait_until: Wait) -> None:
    """Entries wait in private files without any key, and go out when it answers again."""
    configure(base_url=a_dead_url(), api_key="sk-helicone-secret")
    began = time.monotonic()
    for _ in range(20):
        with hc.log(request=CHAT) as entry:
            entry.respond(ANSWER)
    assert time.monotonic() - began < 1
    assert hc.flush(10)
    found = hc.status()
    assert (found.queued, found.waiting, found.sent, found.dropped) == (0, 20, 0, 0)
    files = get_sender()._outbox.waiting()
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert not [path for path in files if b"secret" in path.read_bytes()]


def test_what_waits_is_sent_by_the_next_process(live: Running, tmp_path: Path) -> None:
    """Exactly once, though the first process ended while its gateway was away."""
    user, folder = f"manual {uuid.uuid4()}", tmp_path / "outbox"
    code = """
import sys, heliconnect as hc
with hc.context(user_id=sys.argv[1]):
    with hc.log(provider="openai", request={"model": "gpt-4o"}) as entry:
        entry.respond({"ok": 1})
"""
    dead, port = a_dead_url(), live.url.rpartition(":")[2]
    environ = {**os.environ, "HELICONNECT_SPOOL_DIR": str(folder), "HELICONE_BASE_URL": dead}
    subprocess.run([sys.executable, "-c", code, user], env=environ, check=True, timeout=60)
    (path,) = folder.glob("*.entry")
    path.write_bytes(path.read_bytes().replace(dead.encode(), f"http://127.0.0.1:{port}".encode(), 1))
    environ["HELICONE_BASE_URL"] = live.url
    for _ in range(2):
        subprocess.run([sys.executable, "-c", code, user], env=environ, check=True, timeout=60)
    assert len(live.records(user, 3)) == 3
    assert list(folder.glob("*.entry")) == []


def test_entries_are_out_when_a_process_ends(live: Running) -> None:
    """Also in the child of a fork, which sends its own and none of its parent's."""
    user = f"manual {uuid.uuid4()}"
    code = """
import os, sys, heliconnect as hc
def one(name):
    with hc.context(user_id=sys.argv[1]), hc.log_data(name): pass
one("parent")
child = os.fork()
one("child" if child == 0 else "after")
if child: os.waitpid(child, 0)
"""
    environ = {**os.environ, "HELICONE_BASE_URL": live.url}
    subprocess.run([sys.executable, "-W", "ignore", "-c", code, user], env=environ, check=True, timeout=60)
    assert sorted(record["model"] for record in live.records(user, 3)) == ["data:after", "data:child", "data:parent"]


def test_memory_is_bounded_and_no_thread_idles(tmp_path: Path, wait_until: Wait) -> None:
    """What does not fit is counted; the thread comes with the first entry and goes when there is nothing to do."""
    sender = Sender(Outbox(tmp_path / "outbox"))
    entry = Entry(a_dead_url() + "/custom/v1/log", (), b"x" * 1_000_000)
    taken = [sender.submit(entry) for _ in range(200)]
    assert taken.count(False) > 50
    assert sender.status().dropped == taken.count(False)
    assert sender.flush(30)
    assert len(sender._outbox.waiting()) == taken.count(True)
    sender.discard()
    wait_until(lambda: sender._thread is None, 10)  # type: ignore[call-arg]  # the fixture takes a time too
    code = "import threading, heliconnect as hc; hc.log, hc.status; print(threading.active_count())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "1\n"


def test_what_is_logged_while_the_process_ends_is_kept(tmp_path: Path) -> None:
    """After the sender's end, and where no thread can be started any more: on disk, for the next process."""
    entry = Entry(f"{a_dead_url()}/custom/v1/log", (), b"{}")
    ended = Sender(Outbox(tmp_path / "ended"))
    ended.close()
    assert ended.submit(entry)
    assert len(Outbox(tmp_path / "ended").waiting()) == 1
    words = [
        "import atexit, sys",
        "from pathlib import Path",
        "from heliconnect.outbox import Entry, Outbox",
        "from heliconnect.sender import Sender",
        "sender = Sender(Outbox(Path(sys.argv[1])))",
        "def late(): print(sender.submit(Entry('http://127.0.0.1:9/custom/v1/log', (), b'{}')))",
        "atexit.register(late)",
    ]
    folder = tmp_path / "late"
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(words), str(folder)], capture_output=True, text=True, timeout=30
    )
    assert (done.stdout, done.stderr) == ("True\n", "")
    if sys.version_info >= (3, 12):  # no thread starts while the interpreter ends
        assert len(Outbox(folder).waiting()) == 1


def test_an_outbox_is_bounded_and_survives_nonsense(tmp_path: Path) -> None:
    """No room, no folder, a torn file: said once, never raised."""
    outbox = Outbox(tmp_path / "o", max_bytes=2_500)
    entry = Entry("http://x/custom/v1/log", (("A", "ü"),), b"{}" * 400)
    assert [outbox.put(entry) for _ in range(4)] == [True, True, False, False]
    (tmp_path / "o" / "0-torn.entry").write_bytes(b"nonsense")
    first, second, third = outbox.waiting()
    assert outbox.read(first) is None
    assert outbox.read(second) == entry
    outbox.remove(third)
    outbox.remove(third)
    assert outbox.waiting() == [second]
    (tmp_path / "file").write_text("")
    assert Outbox(tmp_path / "file" / "below").put(entry) is False
    with outbox.delivering() as mine, Outbox(tmp_path / "o").delivering() as others:
        assert (mine, others) == (True, False)


def test_nothing_is_logged_while_disabled(user: str) -> None:
    """As with routed calls."""
    with hc.disabled(), hc.log(request=CHAT):
        pass
    assert hc.status().queued == 0
    assert hc.status().routes == "nothing"
    assert json.dumps(hc.status().refused_tokens) is not None
    assert threading.active_count() >= 1
