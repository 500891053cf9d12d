"""status, prune and backup: over real servers and real stores."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from heliconnect.exchange import Timing
from heliconnect.server.folder import holder_of, lock
from heliconnect.spool import SpoolWriter
from heliconnect.store import open_store
from heliconnect.testing import Provider
from tests.operating import operate, serving, stored
from tests.records import a_record
from tests.test_spool import a_capture


def filled(folder: Path, ages: dict[int, float]) -> Path:
    """A folder with records by number, each so many days old."""
    store = open_store(folder / "heliconnect.db")
    now = datetime.now(UTC)
    store.append([a_record(n, timing=Timing(now - timedelta(days=days), 5.0)) for n, days in ages.items()])
    store.close()
    return folder


def ids(folder: Path) -> list[int]:
    return [int(one.request_id[-4:], 16) for one in stored(folder)]


def test_status_of_a_running_server(tmp_path: Path, provider: Provider) -> None:
    """By its folder or by its URL: health, records, what waits, what was dropped, the size; exit code 0."""
    with serving(tmp_path, provider.url) as server:
        server.call()
        told = json.loads(operate("status", "--data-dir", tmp_path, "--json").out)
        size = told.pop("size_bytes")
        assert size > 10_000
        version = httpx.get(f"{server.url}/healthcheck").json()["version"]
        process = holder_of(tmp_path)
        expected = {
            "ok": True,
            "running": True,
            "health": "ok",
            "url": server.url,
            "version": version,
            "process": process and process.process,
            "data_dir": str(tmp_path),
            "records": 1,
            "waiting_bytes": 0,
            "dropped": 0,
            "set_aside": 0,
            "error": None,
        }
        assert told == expected
        remote = operate("status", "--json", HELICONE_BASE_URL=server.url)
        unknown = {"data_dir": None, "size_bytes": None, "process": None}
        assert (remote.code, json.loads(remote.out)) == (0, {**expected, **unknown})
        lines = operate("status", "--url", server.url).out.splitlines()
        assert lines[0] == f"heliconnect {version} at {server.url}: ok"
        assert [line.split()[:2] for line in lines[1:]] == [
            ["records", "1"],
            ["waiting", "0"],
            ["dropped", "0"],
            ["set", "aside"],
        ]


def test_status_without_a_server_tells_what_is_kept(tmp_path: Path) -> None:
    """What waits in the spool as well; exit code 1, and what to do."""
    filled(tmp_path, {1: 0, 2: 0})
    spool = SpoolWriter(tmp_path / "spool")
    spool.append(a_capture("waits"))
    spool.close()
    done = operate("status", "--data-dir", tmp_path)
    assert done.code == 1
    lines = done.out.splitlines()
    assert lines[0] == f"no server runs on {tmp_path}: start one with `heliconnect up --data-dir {tmp_path}`"
    assert lines[1].split() == ["records", "2"]
    told = json.loads(operate("status", "--data-dir", tmp_path, "--json").out)
    assert (told["running"], told["health"], told["records"]) == (False, None, 2)
    assert told["waiting_bytes"] > 100


def test_status_of_nothing_says_unknown(tmp_path: Path) -> None:
    """The default folder, empty: nothing is made up, nothing is made."""
    done = operate("status", XDG_DATA_HOME=str(tmp_path))
    assert done.code == 1
    assert "holds no records yet" in done.out
    assert done.out.count("unknown") == 5
    assert list(tmp_path.iterdir()) == []


UNREACHABLE: list[Any] = [
    pytest.param(["--url", "http://127.0.0.1:9"], {}, 1, "no server answers", id="nobody"),
    pytest.param([], {"HELICONE_BASE_URL": "http://127.0.0.1:9"}, 1, "heliconnect up", id="nobody-at-the-setting"),
    pytest.param([], {"HELICONE_BASE_URL": "https://oai.helicone.ai/v1"}, 1, "Helicone's own", id="helicone"),
    pytest.param([], {"HELICONE_BASE_URL": "nonsense"}, 2, "absolute http(s) URL", id="bad-setting"),
    pytest.param(["--url", "nonsense"], {}, 2, "expected a URL", id="bad-url"),
]


@pytest.mark.parametrize(("words", "environ", "code", "said"), UNREACHABLE)
def test_status_of_what_is_no_server_is_explained(
    words: list[str], environ: dict[str, str], code: int, said: str
) -> None:
    """Exit code 1, or 2 for words that cannot be used."""
    done = operate("status", *words, **environ)
    assert (done.code, said in done.out + done.err) == (code, True)


def test_status_of_another_program_is_explained(provider: Provider) -> None:
    """Something answers, but not this."""
    done = operate("status", "--url", provider.url)
    assert (done.code, "no server of heliconnect's" in done.out) == (1, True)


def test_status_of_a_store_that_cannot_be_read(tmp_path: Path) -> None:
    """The reason is said; the rest is unknown."""
    (tmp_path / "heliconnect.db").write_text("no database " * 500)
    done = operate("status", "--data-dir", tmp_path)
    assert (done.code, "not a database" in done.out) == (1, True)


def test_a_server_that_has_not_told_its_url_is_said_to_run(tmp_path: Path) -> None:
    """It is starting, say: health is not known, and tail does not guess."""
    filled(tmp_path, {1: 0})
    script = "import sys; from pathlib import Path; from heliconnect.server.folder import lock\n"
    script += "lock(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        done = operate("status", "--data-dir", tmp_path)
        assert (done.code, "an unknown URL" in done.out, str(process.pid) in done.out) == (1, True, True)
        assert operate("tail", "--data-dir", tmp_path).code == 1
        refused = operate("import", "-", "--data-dir", tmp_path, said=b"{}")
        assert (refused.code, "try again in a moment" in refused.err) == (1, True)
        process.kill()
    assert holder_of(tmp_path) is None
    os.close(lock(tmp_path))


def test_prune_removes_what_is_old(tmp_path: Path) -> None:
    """A dry run only counts; afterwards the file is smaller."""
    filled(tmp_path, {**dict.fromkeys(range(300), 40), 1_000: 29, 1_001: 0})
    words = ("prune", "--older-than", "30d", "--data-dir", tmp_path)
    dry = operate(*words, "--dry-run")
    assert (dry.code, dry.out.startswith("300 records from before ")) == (0, True)
    assert len(ids(tmp_path)) == 302
    before = (tmp_path / "heliconnect.db").stat().st_size
    done = operate(*words)
    assert (done.code, done.out.startswith("300 records from before ")) == (0, True)
    assert "given back to the disk" in done.out
    assert ids(tmp_path) == [1_000, 1_001]
    assert (tmp_path / "heliconnect.db").stat().st_size < before
    assert operate(*words).out.startswith("0 records")


def test_prune_removes_only_bodies(tmp_path: Path) -> None:
    """The records stay, and say nothing any more."""
    filled(tmp_path, {1: 40, 2: 0})
    words = ("prune", "--older-than", "4w", "--bodies-only", "--data-dir", tmp_path)
    assert operate(*words, "--dry-run").out.startswith("1 record from before ")
    assert operate(*words).code == 0
    old, young = stored(tmp_path)
    assert (old.request_body, old.request_preview, old.cost) == (None, None, a_record(1).cost)
    assert young.request_body == a_record(2).request_body


def test_prune_while_a_server_runs(tmp_path: Path, provider: Provider) -> None:
    """Calls go on meanwhile, and every one of them is recorded; the server shows what is left."""
    filled(tmp_path, dict.fromkeys(range(3_000), 40))
    with serving(tmp_path, provider.url) as server:
        with ThreadPoolExecutor(1) as pool:
            pruned = pool.submit(operate, "prune", "--older-than", "30d", "--data-dir", tmp_path)
            kept = [server.call() for _ in range(30)]
            done = pruned.result()
        assert (done.code, done.out.startswith("3,000 records")) == (0, True)
        assert [record["request_id"] for record in server.records()] == kept
        health = httpx.get(f"{server.url}/healthcheck").json()
        assert (health["status"], health["set_aside"], health["dropped"]) == ("ok", 0, 0)
    store = open_store(tmp_path / "heliconnect.db", read_only=True)
    assert [facet.count for facet in store.facets("user")] == [30]
    store.close()


def test_up_keeps_records_as_long_as_it_is_told(tmp_path: Path) -> None:
    """--keep removes what is older, soon after the start."""
    filled(tmp_path, {1: 40, 2: 20})
    command = [sys.executable, "-m", "heliconnect.cli", "up", "--port", "0", "--keep", "30d"]
    with subprocess.Popen([*command, "--data-dir", str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while "Ctrl-C" not in (line := process.stdout.readline()):
            assert line, "the server ended by itself"
        deadline = time.monotonic() + 10
        while ids(tmp_path) != [2]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_prune_says_what_an_older_file_keeps(tmp_path: Path, provider: Provider) -> None:
    """While a server runs it cannot be written anew; the free space is told, and how to give it back."""
    with closing(sqlite3.connect(tmp_path / "heliconnect.db")) as raw:
        raw.execute("CREATE TABLE first_page (a)")
        raw.execute("DROP TABLE first_page")
    filled(tmp_path, dict.fromkeys(range(300), 40))
    with serving(tmp_path, provider.url):
        done = operate("prune", "--older-than", "30d", "--data-dir", tmp_path)
        assert (done.code, "stop the server and prune again" in done.out.replace("\n", " ")) == (0, True)
    before = (tmp_path / "heliconnect.db").stat().st_size
    again = operate("prune", "--older-than", "30d", "--data-dir", tmp_path)
    assert (again.code, "stay free" in again.out) == (0, False)
    assert (tmp_path / "heliconnect.db").stat().st_size < before


WRONG_WORDS: list[Any] = [
    pytest.param(["status", "--url", "http://127.0.0.1:9", "--data-dir", "x"], "got both", id="two-servers"),
    pytest.param(["prune"], "--older-than", id="no-age"),
    pytest.param(["prune", "--older-than", "yesterday"], "such as 30d", id="age"),
    pytest.param(["prune", "--older-than", "0d"], "such as 30d", id="no-time-at-all"),
    pytest.param(["prune", "--older-than", "999999d"], "such as 30d", id="endless-age"),
    pytest.param(["up", "--keep", "ever"], "such as 30d", id="keep"),
    pytest.param(["tail", "--last", "-1"], "--last", id="last"),
    pytest.param(["export", "-", "--since", "yesterday"], "expected a time", id="since"),
    pytest.param(["import", "/nowhere/file.jsonl"], "No such file", id="file"),
    pytest.param(["backup"], "TARGET", id="no-target"),
]


@pytest.mark.parametrize(("words", "said"), WRONG_WORDS)
def test_words_that_cannot_be_used_are_explained(words: list[str], said: str) -> None:
    """Exit code 2, and what is expected."""
    done = operate(*words, TERM="dumb", COLUMNS="200")
    assert (done.code, said in done.err) == (2, True)


@pytest.mark.parametrize("words", [["prune", "--older-than", "1d"], ["backup", "copy.db"], ["export", "copy.jsonl"]])
def test_a_folder_without_records_is_explained(words: list[str], tmp_path: Path) -> None:
    """Exit code 1; nothing is made there."""
    done = operate(*words, "--data-dir", tmp_path)
    assert (done.code, "--data-dir" in done.err) == (1, True)
    assert list(tmp_path.iterdir()) == []


def test_backup_while_a_server_runs(tmp_path: Path, provider: Provider) -> None:
    """A whole copy, which another server can begin with; never in the place of another file."""
    target = tmp_path / "copy" / "heliconnect.db"
    target.parent.mkdir()
    with serving(tmp_path / "data", provider.url) as server:
        request_id = server.call()
        done = operate("backup", target, "--data-dir", server.folder)
        assert (done.code, "whole and checked" in done.out) == (0, True)
        again = operate("backup", target, "--data-dir", server.folder)
        assert (again.code, "not overwritten" in again.err) == (1, True)
        server.call()
    assert [one.request_id for one in stored(target.parent)] == [request_id]


def test_backup_says_what_still_waits(tmp_path: Path) -> None:
    """Records in the spool are in no store yet."""
    filled(tmp_path, {1: 0})
    spool = SpoolWriter(tmp_path / "spool")
    spool.append(a_capture("waits"))
    spool.close()
    done = operate("backup", tmp_path / "copy.db", "--data-dir", tmp_path)
    assert (done.code, "wait in the spool are not in it" in done.out) == (0, True)
