"""The spool: nothing appended is lost, nothing torn is read, the folder stays bounded."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import zlib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heliconnect.exchange import Capture, End
from heliconnect.spool import SpoolReader, SpoolWriter, encode


def a_capture(request_id: str = "id-1", request: bytes = b'{"a":1}', response: bytes = b"\x00\xff\n") -> Capture:
    return Capture(
        request_id=request_id,
        started_at=datetime(2026, 3, 4, 5, 6, 7, 250_000, UTC),
        method="POST",
        target_url="https://api.openai.com/v1/chat/completions",
        provider="openai",
        request_headers=(("helicone-user-id", "Zoë"), ("x", "1"), ("x", "2")),
        request_body=request,
        request_size_bytes=len(request),
        end=End.DONE,
        latency_ms=12.5,
        status=200,
        response_headers=(("set-cookie", "[redacted]"),),
        response_body=response,
        response_size_bytes=len(response),
        first_byte_ms=3.25,
        warnings=("late",),
    )


def read_all(folder: Path) -> list[Capture]:
    reader = SpoolReader(folder)
    return [capture for segment in reader.segments() for capture in reader.read(segment, 0).captures]


def test_a_capture_comes_back_as_it_was(tmp_path: Path) -> None:
    """Every field, both bodies with any bytes, and repeated headers survive the spool."""
    writer = SpoolWriter(tmp_path)
    assert writer.append(a_capture())
    writer.close()
    assert read_all(tmp_path) == [a_capture()]


@given(st.lists(st.tuples(st.binary(max_size=300), st.binary(max_size=300)), max_size=6))
@settings(max_examples=40, deadline=None)
def test_any_bodies_come_back_in_order(
    tmp_path_factory: pytest.TempPathFactory, bodies: list[tuple[bytes, bytes]]
) -> None:
    """Bodies that look like frames, and any other bytes, are told apart from frames."""
    folder = tmp_path_factory.mktemp("spool")
    captures = [a_capture(str(n), *pair) for n, pair in enumerate(bodies)]
    captures.append(a_capture("frame", b"".join(encode(a_capture("inner"))), b"\nHC1 1 1 1 00000000\n"))
    writer = SpoolWriter(folder)
    assert all(writer.append(capture) for capture in captures)
    writer.close()
    assert read_all(folder) == captures


def test_a_torn_last_frame_waits_until_it_is_whole(tmp_path: Path) -> None:
    """A reader never sees half a capture, and reads it once the rest has arrived."""
    whole = b"".join(encode(a_capture("a"))) + b"".join(encode(a_capture("b")))
    path = tmp_path / "1.spool"
    reader = SpoolReader(tmp_path)
    for cut in range(len(whole) // 2, len(whole)):
        path.write_bytes(whole[:cut])
        batch = reader.read("1.spool", 0)
        assert [c.request_id for c in batch.captures] == ["a"]
    path.write_bytes(whole)
    rest = reader.read("1.spool", batch.offset)
    assert [c.request_id for c in rest.captures] == ["b"]
    assert rest.offset == len(whole)


def test_a_damaged_frame_costs_only_itself(tmp_path: Path) -> None:
    """Frames behind a damaged place are still read; the loss is counted."""
    frames = [b"".join(encode(a_capture(name))) for name in "abc"]
    damaged = bytearray(frames[1])
    damaged[len(damaged) // 2] ^= 0xFF
    (tmp_path / "1.spool").write_bytes(frames[0] + bytes(damaged) + frames[2])
    batch = SpoolReader(tmp_path).read("1.spool", 0)
    assert [c.request_id for c in batch.captures] == ["a", "c"]
    assert batch.damaged == 1


def test_facts_of_another_version_are_skipped_and_counted(tmp_path: Path) -> None:
    """A whole frame whose facts this version does not know is left out, not guessed at."""
    facts = b'{"unknown": true}'
    frame = b"HC1 %d 0 0 %08x\n%s\n" % (len(facts), zlib.crc32(facts), facts)
    (tmp_path / "1.spool").write_bytes(frame + b"".join(encode(a_capture("a"))))
    batch = SpoolReader(tmp_path).read("1.spool", 0)
    assert [c.request_id for c in batch.captures] == ["a"]
    assert batch.damaged == 1


def test_a_full_spool_drops_and_counts(tmp_path: Path) -> None:
    """Beyond its bound the spool drops: the caller is told, the count is kept where a reader finds it."""
    one = sum(map(len, encode(a_capture())))
    writer = SpoolWriter(tmp_path, max_bytes=3 * one)
    assert [writer.append(a_capture()) for _ in range(5)] == [True, True, True, False, False]
    assert (writer.kept, writer.dropped) == (3, 2)
    assert SpoolReader(tmp_path).dropped() == 2
    assert SpoolReader(tmp_path).size_bytes() == 3 * one
    writer.close()


def test_an_unwritable_folder_never_raises(tmp_path: Path) -> None:
    """A disk that refuses costs the record, not the call."""
    writer = SpoolWriter(tmp_path / "spool")
    (tmp_path / "spool").rmdir()
    assert writer.append(a_capture()) is False
    assert writer.dropped == 1


def test_segments_rotate_and_are_free_once_closed(tmp_path: Path) -> None:
    """A segment that is being appended to is held; older ones and those of a closed writer are free to delete."""
    writer = SpoolWriter(tmp_path, segment_bytes=1)
    for name in "abc":
        writer.append(a_capture(name))
    reader = SpoolReader(tmp_path)
    segments = reader.segments()
    assert [reader.is_free(segment) for segment in segments] == [True, True, False]
    assert [c.request_id for c in read_all(tmp_path)] == ["a", "b", "c"]
    writer.close()
    assert reader.is_free(segments[-1])
    reader.delete(segments[-1])
    assert reader.segments() == segments[:-1]


def test_a_killed_process_loses_nothing_it_appended(tmp_path: Path) -> None:
    """What append() accepted is read after SIGKILL, and the segment is free."""
    code = (
        "import sys; from pathlib import Path; from tests.test_spool import a_capture; from heliconnect.spool import "
        "SpoolWriter\nw = SpoolWriter(Path(sys.argv[1]))\nfor n in range(200): assert w.append(a_capture(str(n)))\n"
        "print('ready', flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[1],
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        reader = SpoolReader(tmp_path)
        assert not reader.is_free(reader.segments()[0])
        os.kill(child.pid, signal.SIGKILL)
    assert [c.request_id for c in read_all(tmp_path)] == [str(n) for n in range(200)]
    assert reader.is_free(reader.segments()[0])
