"""tail: what comes is printed once, in its order, until Ctrl-C."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

import heliconnect as hc
from heliconnect.cli.tail import Newest, follow, line_of, matching
from heliconnect.settings import Settings
from heliconnect.testing import Provider, Reply
from tests.operating import Operated, operate, serving
from tests.test_cli import free_port


@pytest.fixture
def server(tmp_path: Path, provider: Provider) -> Iterator[Operated]:
    with serving(tmp_path, provider.url) as made:
        yield made


@contextmanager
def tailing(*words: str, **more: str) -> Iterator[tuple[subprocess.Popen[str], IO[str]]]:
    """The command in a process of its own, looking ten times a second."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("HELICON")}
    command = [sys.executable, "-m", "heliconnect.cli", "tail", "--every", "0.1", *words]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**environ, **more}
    ) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout
        finally:
            process.kill()


def test_records_are_printed_as_they_come(server: Operated) -> None:
    """The last ones first if asked for, then the new ones; Ctrl-C ends it with 0 and without a word."""
    server.call("before", Helicone_Session_Id="s-1", Helicone_Session_Path="/search")
    with tailing("--url", server.url, "--last", "1") as (process, out):
        fields = re.split(r"  +", out.readline().strip())
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", fields[0])
        assert fields[1:5] == ["200", "gpt-4o", "before", "/search"]
        assert (fields[5].endswith(" tok"), fields[6].startswith("$")) == (True, True)
        for user in ("ada", "bob"):
            server.call(user)
            assert f"  {user}  " in out.readline()
        process.send_signal(signal.SIGINT)
        assert (process.wait(10), out.read()) == (0, "")
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_filters_choose(server: Operated, provider: Provider) -> None:
    """By user, session, model and failure, together; whole records as JSON."""
    words = ("--user", "ada", "--session", "s-1", "--model", "gpt-4o", "--errors", "--json", "--last", "10")
    provider.always(Reply(status=500))
    wanted = server.call("ada", Helicone_Session_Id="s-1")
    with tailing("--data-dir", str(server.folder), *words) as (_, out):
        record = json.loads(out.readline())
        assert (record["request_id"], record["response_status"]) == (wanted, 500)
        assert record["request_body"]["messages"][0]["content"] == "Why?"
        server.call("bob", Helicone_Session_Id="s-1")
        server.call("ada", Helicone_Session_Id="s-2")
        provider.clear()
        server.call("ada", Helicone_Session_Id="s-1")
        provider.always(Reply(status=429))
        wanted = server.call("ada", Helicone_Session_Id="s-1")
        assert json.loads(out.readline())["request_id"] == wanted


def test_a_server_that_is_not_there_is_explained(tmp_path: Path) -> None:
    """Exit code 1, and how to start one."""
    done = operate("tail", "--url", "http://127.0.0.1:9")
    assert (done.code, "heliconnect up" in done.err) == (1, True)
    done = operate("tail", "--data-dir", tmp_path)
    assert (done.code, f"no server runs on {tmp_path}" in done.err) == (1, True)


def test_another_program_is_explained(provider: Provider) -> None:
    """It answers, but not as a server of records does."""
    done = operate("tail", HELICONE_BASE_URL=provider.url)
    assert (done.code, "no server of heliconnect's" in done.err) == (1, True)


def test_the_server_of_the_default_folder_is_found(tmp_path: Path, provider: Provider) -> None:
    """Whatever its port: the folder's lock tells."""
    with serving(tmp_path / "heliconnect", provider.url) as server:
        server.call()
        done = operate("status", "--json", XDG_DATA_HOME=str(tmp_path))
        assert json.loads(done.out)["url"] == server.url
        with tailing("--last", "1", XDG_DATA_HOME=str(tmp_path)) as (_, out):
            assert "gpt-4o" in out.readline()


def test_a_server_that_goes_away_is_waited_for(tmp_path: Path, provider: Provider) -> None:
    """One word when it goes, one when it is back; nothing is printed twice, nothing missed."""
    port = free_port()
    said: list[str] = []
    later: list[str] = []
    with ExitStack() as stack:

        def sleep(_: float) -> None:
            if said and not later:
                later.append(stack.enter_context(serving(tmp_path, provider.url, port)).call())

        with serving(tmp_path, provider.url, port) as server:
            first = server.call()
            records = follow(Settings(base_url=server.url), "all", last=1, every_s=0.0, warn=said.append, sleep=sleep)
            assert next(records)["request_id"] == first
        assert next(records)["request_id"] == later[0]
    assert [words.partition(":")[0] for words in said] == ["no server answers at http", "the server answers again"]


def test_a_filter_that_is_refused_ends_it(server: Operated) -> None:
    """Waiting would not help."""
    nonsense = {"request_response_rmt": {"nonsense": {"equals": 1}}}
    records = follow(Settings(base_url=server.url), nonsense, last=0, every_s=0.0, warn=print)
    with pytest.raises(hc.HeliconnectError, match="unknown column"):
        next(records)


class Log:
    """Records by number, as the API lists them."""

    def __init__(self, count: int) -> None:
        self.ids = [str(n) for n in range(count)]
        self.asked: list[int] = []

    def query(self, offset: int, limit: int) -> list[dict[str, Any]]:
        self.asked.append(limit)
        return [{"request_id": one} for one in self.ids[::-1][offset : offset + limit]]

    def add(self, *ids: object) -> None:
        self.ids += [str(one) for one in ids]


def numbers(records: list[dict[str, Any]]) -> list[str]:
    return [record["request_id"] for record in records]


def test_what_is_new_is_given_once_oldest_first() -> None:
    """However many came, in pages; a look at nothing new asks for one record."""
    log = Log(500)
    newest = Newest(log.query)
    assert numbers(newest.begin(3)) == ["497", "498", "499"]
    log.asked.clear()
    assert newest.fresh() == []
    assert log.asked == [1]
    log.add(*range(500, 700))
    assert numbers(newest.fresh()) == [str(n) for n in range(500, 700)]
    log.add("a", "a")
    assert numbers(newest.fresh()) == ["a"]
    assert newest.fresh() == []


def test_an_empty_log_fills() -> None:
    """All that comes is new; of a flood the latest part is given."""
    log = Log(0)
    newest = Newest(log.query)
    assert newest.begin(0) == []
    log.add(*range(60))
    assert numbers(newest.fresh()) == [str(n) for n in range(60)]
    log.add(*range(60, 7_000))
    found = numbers(newest.fresh())
    assert (len(found) >= 5_000, found[-1]) == (True, "6999")
    assert newest.fresh() == []


def test_lines_say_unknown_and_move_no_cursor() -> None:
    """A record of which nothing is known, and one whose names hold control characters."""
    assert re.split(r"  +", line_of({"request_id": "a"})) == [
        *("unknown", "unknown", "unknown", "-", "-", "unknown tok", "unknown", "unknown"),
    ]
    line = line_of({"model": "a\x1b[2Jb", "request_user_id": "x\ny", "ended": "cut", "response_status": 200})
    assert "\x1b" not in line
    assert "\n" not in line
    assert "  cut  " in line


def test_filters_are_joined() -> None:
    """Everything, one, and failures."""
    nothing: dict[str, Any] = {"user": None, "session": None, "model": None}
    assert matching(**nothing, errors=False) == "all"
    assert matching(**{**nothing, "user": "ada"}, errors=True)["operator"] == "and"
    assert matching(**nothing, errors=True)["operator"] == "or"
