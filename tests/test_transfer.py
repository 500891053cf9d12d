"""export and import: every record comes through whole, once, and a bad line harms no other."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from heliconnect.cli import transfer
from heliconnect.server.keys import KEYS, Keys
from heliconnect.server.rest import export
from heliconnect.server.rest.export import lines_of
from heliconnect.server.rest.rows import request_row
from heliconnect.server.supervisor import ServerOptions, running
from heliconnect.store import open_store
from heliconnect.testing import Provider
from tests.operating import Operated, operate, serving, stored
from tests.records import a_record
from tests.test_reading import HELICONE
from tests.test_store import five_records


@pytest.fixture
def server(tmp_path: Path, provider: Provider) -> Iterator[Operated]:
    with serving(tmp_path / "data", provider.url) as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with five records of different kinds, one of them rated."""
    store = open_store(tmp_path / "full" / "heliconnect.db")
    store.append_new([replace(five_records()[0], feedback=True, scores={"grounded": 0.5}), *five_records()[1:]])
    store.close()
    return tmp_path / "full"


def numbers(lines: str) -> list[int]:
    return [int(json.loads(line)["request_id"][-2:], 16) for line in lines.splitlines()]


def test_export_gives_what_the_api_gives(server: Operated, tmp_path: Path) -> None:
    """While the server runs: the same records, bodies included, oldest first; the file is for its owner only."""
    for user in ("ada", "bob"):
        server.call(user, Helicone_Session_Id="s-1")
    target = tmp_path / "records.jsonl"
    done = operate("export", target, "--data-dir", server.folder)
    assert (done.code, done.out, "2 records exported" in done.err) == (0, "", True)
    assert [json.loads(line) for line in target.read_text().splitlines()] == server.records()
    assert target.stat().st_mode & 0o777 == 0o600
    again = operate("export", target, "--data-dir", server.folder)
    assert (again.code, "not overwritten" in again.err) == (1, True)


CHOICES: list[Any] = [
    pytest.param([], [0, 1, 2, 3, 4], id="all"),
    pytest.param(["--user", "ada"], [1, 3], id="user"),
    pytest.param(["--session", "s-1"], [0, 1, 2, 3], id="session"),
    pytest.param(["--model", "claude"], [3], id="model"),
    pytest.param(["--since", "2026-03-01T12:00:03"], [3, 4], id="since"),
    pytest.param(["--since", "2026-03-01T13:00:03+01:00", "--until", "2026-03-01T12:00:04Z"], [3], id="span"),
    pytest.param(["--until", "2026-03-01"], [], id="until-a-day"),
    pytest.param(["--since", "1h"], [], id="an-age"),
    pytest.param(["--user", "ada", "--model", "claude"], [3], id="both"),
]


@pytest.mark.parametrize(("words", "expected"), CHOICES)
def test_export_of_what_is_chosen(words: list[str], expected: list[int], folder: Path) -> None:
    """To the standard output; words about it go elsewhere."""
    done = operate("export", "-", "--data-dir", folder, *words)
    assert (done.code, numbers(done.out)) == (0, expected)


def test_export_goes_page_by_page(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of arrival, and no further than the store had come when it began."""
    monkeypatch.setattr(export, "_PAGE", 2)
    monkeypatch.setattr(export, "_MAX_BYTES", 1)
    store = open_store(folder / "heliconnect.db")
    lines = lines_of(store, None)
    first = next(lines)
    store.append([a_record(9)])
    assert numbers((first + b"".join(lines)).decode()) == [0, 1, 2, 3, 4]
    store.close()


def test_export_takes_little_memory(tmp_path: Path) -> None:
    """However many records there are: 80 MB of bodies pass through a few."""
    store = open_store(tmp_path / "heliconnect.db")
    for start in range(0, 900, 100):
        bodies = {n: f"{n:03}" * 30_000 for n in range(start, start + 100)}
        store.append([a_record(n, response_body=body, response_size_bytes=len(body)) for n, body in bodies.items()])
    tracemalloc.start()
    size = sum(len(line) for line in lines_of(store, None))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    store.close()
    assert size > 80_000_000
    assert peak < 30_000_000


def test_an_export_that_breaks_off_leaves_no_file(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a file would look like a whole one."""

    def broken(*_: object, **__: object) -> dict[str, object]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(export, "request_row", broken)
    done = operate("export", tmp_path / "out.jsonl", "--data-dir", folder)
    assert (done.code, "No space left" in done.err) == (1, True)
    assert not (tmp_path / "out.jsonl").exists()


def test_a_choice_that_makes_no_sense_is_explained(folder: Path) -> None:
    """Exit code 1, and why."""
    done = operate("export", "-", "--data-dir", folder, "--user", "x" * 20_000)
    assert (done.code, "at most 10000 characters" in done.err) == (1, True)


def test_who_reads_an_export_may_stop(tmp_path: Path) -> None:
    """`heliconnect export - | head` ends without a traceback."""
    store = open_store(tmp_path / "heliconnect.db")
    store.append([a_record(n, response_body="x" * 10_000) for n in range(500)])
    store.close()
    command = [sys.executable, "-m", "heliconnect.cli", "export", "-", "--data-dir", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()


def test_import_of_an_export_is_the_same_again(folder: Path, tmp_path: Path) -> None:
    """All records, in their order, ratings too; once more changes nothing."""
    exported = operate("export", "-", "--data-dir", folder).out
    for said in ("5 new, 0 stored already", "0 new, 5 stored already"):
        done = operate("import", "-", "--data-dir", tmp_path / "new", said=exported.encode())
        assert (done.code, done.out.startswith(said), done.err) == (0, True, "")
    assert operate("export", "-", "--data-dir", tmp_path / "new").out == exported
    assert [one.request_id for one in stored(tmp_path / "new")] == [one.request_id for one in stored(folder)]
    store = open_store(tmp_path / "new" / "heliconnect.db", read_only=True)
    assert [facet.value for facet in store.facets("property", "tier")] == ["pro", "gold"]
    assert store.sessions()[0].requests == 4
    store.close()


def bad_lines() -> bytes:
    good = [orjson.dumps(request_row(a_record(n))) for n in range(3)]
    return b"\xef\xbb\xbf" + b"\n".join([good[0], b"", b"{nonsense", good[1], b"{}", good[2]])


def test_a_bad_line_is_named_and_harms_no_other(tmp_path: Path) -> None:
    """By its number in the file, from 1; exit code 1."""
    (tmp_path / "in.jsonl").write_bytes(bad_lines())
    done = operate("import", tmp_path / "in.jsonl", "--data-dir", tmp_path)
    assert (done.code, done.out) == (1, "3 new, 0 stored already, 2 left out\n")
    assert [line.split(":")[1] for line in done.err.splitlines()] == [" line 3", " line 5"]
    assert len(stored(tmp_path)) == 3


def test_of_many_bad_lines_the_first_are_named(tmp_path: Path) -> None:
    """All are counted."""
    done = operate("import", "-", "--data-dir", tmp_path, said=b"nonsense\n" * 500)
    assert done.out.endswith("500 left out\n")
    assert len(done.err.splitlines()) == 21
    assert "480 more" in done.err


def test_import_goes_through_a_running_server(server: Operated, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same words, the same numbers; the server shows the records at once."""
    monkeypatch.setattr(transfer, "_BATCH_LINES", 2)
    done = operate("import", "-", "--data-dir", server.folder, said=bad_lines())
    assert (done.code, done.out) == (1, "3 new, 0 stored already, 2 left out\n")
    assert [line.split(":")[1] for line in done.err.splitlines()] == [" line 3", " line 5"]
    assert [int(record["request_id"][-2:], 16) for record in server.records()] == [0, 1, 2]
    again = operate("import", "-", "--data-dir", server.folder, said=bad_lines())
    assert again.out.startswith("0 new, 3 stored already")


def test_a_record_too_large_for_the_server_is_named(server: Operated) -> None:
    """The others get through, before and after it."""
    large = orjson.dumps(request_row(a_record(1, response_body="x" * (11 << 20))))
    lines = [orjson.dumps(request_row(a_record(0))), large, orjson.dumps(request_row(a_record(2)))]
    done = operate("import", "-", "--data-dir", server.folder, said=b"\n".join(lines))
    assert (done.code, "line 2: too large for a running server" in done.err) == (1, True)
    assert [int(record["request_id"][-2:], 16) for record in server.records()] == [0, 2]


def test_an_older_server_is_said(tmp_path: Path, provider: Provider) -> None:
    """One that does not know how to take records."""
    script = "import sys; from pathlib import Path; from heliconnect.server.folder import lock, tell\n"
    script += "tell(lock(Path(sys.argv[1])), sys.argv[2]); print('held', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", script, str(tmp_path), provider.url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        done = operate("import", "-", "--data-dir", tmp_path, said=orjson.dumps(request_row(a_record(0))))
        process.kill()
    assert (done.code, "too old to take records" in done.err) == (1, True)


def test_records_of_helicones_own_api_are_taken(tmp_path: Path) -> None:
    """Found by user and session, with what they say of tokens and cost."""
    done = operate("import", "-", "--data-dir", tmp_path, said=json.dumps(HELICONE).encode())
    assert done.code == 0
    (line,) = operate("export", "-", "--data-dir", tmp_path, "--user", "Zoë", "--session", "s-1").out.splitlines()
    record = json.loads(line)
    same = ("request_id", "request_body", "response_body", "prompt_tokens", "cost", "provider", "request_created_at")
    assert {name: record[name] for name in same} == {name: HELICONE[name] for name in same}


def test_import_holds_records_to_the_rules(tmp_path: Path, provider: Provider) -> None:
    """Those of --redact, or those that the running server was started with."""
    rules = tmp_path / "rules.toml"
    rules.write_text("[[rule]]\nregex = 'Why'\nreplace = '[word]'\n")
    line = orjson.dumps(request_row(a_record(0)))
    done = operate("import", "-", "--data-dir", tmp_path / "a", "--redact", rules, said=line)
    assert done.code == 0
    options = ServerOptions(tmp_path / "b", port=0, upstreams={"openai": provider.url}, redact=rules)
    with running(options):
        assert operate("import", "-", "--data-dir", tmp_path / "b", said=line).code == 0
        refused = operate("import", "-", "--data-dir", tmp_path / "b", "--redact", rules, said=line)
        assert (refused.code, "rules of its own" in refused.err) == (1, True)
    for name in ("a", "b"):
        (record,) = stored(tmp_path / name)
        assert (record.request_preview, "Why" in str(record.request_body)) == ("[word]?", False)


def test_a_server_that_demands_keys_is_asked_with_one(tmp_path: Path, provider: Provider) -> None:
    """HELICONE_API_KEY goes to the folder's server; without it the way out is said."""
    key = Keys(tmp_path / KEYS).create("ada")
    options = ServerOptions(tmp_path, port=0, upstreams={"openai": provider.url}, demands_keys=True)
    line = orjson.dumps(request_row(a_record(0)))
    words = ("import", "-", "--data-dir", tmp_path)
    with running(options):
        refused = operate(*words, said=line)
        assert (refused.code, "set HELICONE_API_KEY" in refused.err) == (1, True)
        assert operate(*words, said=line, HELICONE_API_KEY=key).code == 0
        told = json.loads(operate("status", "--json", "--data-dir", tmp_path).out)
        assert (told["health"], told["records"]) == ("ok", 1)
