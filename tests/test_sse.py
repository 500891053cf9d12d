"""Server-sent events: the standard's examples, and any cutting of the bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliconnect.sse import Decoder, Event, decode

BODIES = [
    pytest.param(b"data: YHOO\ndata: +2\ndata: 10\n\n", [Event(b"YHOO\n+2\n10")], id="lines-are-joined"),
    pytest.param(
        b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
        [Event(b"first event", id="1"), Event(b"second event"), Event(b" third event")],
        id="comments-ids-one-space",
    ),
    pytest.param(b"data\n\ndata\ndata\n\ndata:", [Event(b""), Event(b"\n")], id="empty-data"),
    pytest.param(b"event: add\r\ndata: 1\r\n\r\n", [Event(b"1", "add")], id="crlf"),
    pytest.param(b"data: 1\r\rdata: 2\r\n\rdata: 3\n\r\n", [Event(b"1"), Event(b"2"), Event(b"3")], id="mixed-ends"),
    pytest.param(b"\xef\xbb\xbfdata: 1\n\n", [Event(b"1")], id="byte-order-mark"),
    pytest.param(b"data: 1\n\ndata: 2\r\r", [Event(b"1"), Event(b"2")], id="the-last-carriage-return-ends-a-line"),
    pytest.param(b"event: add\n\nretry: 5\nfoo: bar\ndata: x\n\n", [Event(b"x")], id="event-without-data-is-none"),
    pytest.param(b"data: done\n\ndata: cut", [Event(b"done")], id="an-unfinished-event-is-not-dispatched"),
    pytest.param("data: é\u2028x\n\n".encode(), [Event("é\u2028x".encode())], id="only-cr-and-lf-end-lines"),
]


@pytest.mark.parametrize(("body", "events"), BODIES)
def test_a_whole_body_gives_its_events(body: bytes, events: list[Event]) -> None:
    """The rules of the standard, one body each."""
    assert decode(body) == events


@given(st.sampled_from([p.values[0] for p in BODIES]) | st.binary(max_size=200), st.data())
def test_any_cutting_gives_the_same_events(body: bytes, data: st.DataObject) -> None:
    """Chunks may end anywhere: within a character, between CR and LF, within the byte order mark."""
    decoder = Decoder()
    events, at = [], 0
    while at < len(body):
        size = data.draw(st.integers(1, max(1, len(body) - at)))
        events += decoder.feed(body[at : at + size])
        at += size
    whole = Decoder()
    assert events == whole.feed(body)
    assert decoder.finish() == whole.finish()
    assert events == decode(body)[: len(events)]


def test_an_oversized_event_is_dropped_and_counted() -> None:
    """A giant event costs itself only, whether it is one line or many, or arrives in pieces."""
    decoder = Decoder(max_event_bytes=50)
    events = decoder.feed(b"data: " + b"x" * 100 + b"\n\ndata: a\n\n")
    events += decoder.feed(b"data: 1234567890\n" * 20 + b"\ndata: b\n\n")
    events += decoder.feed(b"data: ")
    for _ in range(30):
        events += decoder.feed(b"y" * 10)
    events += decoder.feed(b"\n\ndata: c\n\n")
    assert [event.data for event in events] == [b"a", b"b", b"c"]
    assert decoder.oversized == 3


def test_a_stream_that_ends_within_an_event_is_seen() -> None:
    """finish() tells a cut stream from a whole one."""
    whole, cut = Decoder(), Decoder()
    whole.feed(b"data: 1\n\n")
    cut.feed(b"data: 1\n\ndata: 2\n")
    assert (whole.finish(), cut.finish()) == (False, True)
