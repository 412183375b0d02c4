"""Marks of ended runs on the wire."""

from __future__ import annotations

import time

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.kernel.errors import PayloadError
from tidemill.kernel.marks import end_header, mark_of, read_header, read_note, write_note
from tidemill.kernel.protocol.closer import Mark
from tidemill.kernel.protocol.records import End

NUMBERS = st.integers(0, 2**53)
MARKS = st.builds(
    Mark,
    run=st.text(),
    task=st.text(),
    seq=NUMBERS,
    at=st.floats(0, 1e11),
    event_seq=NUMBERS,
    keyed=st.booleans(),
    lasting=st.booleans(),
    blobs=st.booleans(),
    records=st.lists(NUMBERS, max_size=5).map(tuple),
)


@given(st.lists(MARKS, max_size=5))
def test_notes_are_read_as_they_were_written(marks: list[Mark]) -> None:
    assert read_note(write_note(marks)) == marks


@given(MARKS)
def test_a_header_says_what_the_closer_must_know(mark: Mark) -> None:
    end = End(
        rid="r",
        outcome="failed",
        task=mark.task,
        event_seq=mark.event_seq,
        keyed=mark.keyed,
        lasting=mark.lasting,
        blobs=mark.blobs,
    )
    header = end_header(end)
    assert "\n" not in header
    assert read_header(mark.run, mark.seq, mark.at, header) == Mark(
        run=mark.run,
        task=mark.task,
        seq=mark.seq,
        at=mark.at,
        event_seq=mark.event_seq,
        keyed=mark.keyed,
        lasting=mark.lasting,
        blobs=mark.blobs,
    )


def test_the_mark_of_an_end_counts_the_end_among_its_records() -> None:
    end = End(rid="r", outcome="completed", task="t", event_seq=7, keyed=True, records=(1, 3))
    before = time.time()
    mark = mark_of("run_x", 5, end)
    assert (mark.seq, mark.records, mark.event_seq, mark.keyed) == (5, (1, 3, 5), 7, True)
    assert before <= mark.at <= time.time()


def test_what_a_newer_version_says_besides_is_left_out() -> None:
    mark = read_header("run_x", 5, 1.0, '{"task":"t","history":7}')
    assert (mark.run, mark.task) == ("run_x", "t")
    [noted] = read_note(orjson.dumps([{"run": "a", "task": "b", "seq": 1, "at": 2.0, "history": 7}]))
    assert noted == Mark("a", "b", 1, 2.0)


@pytest.mark.parametrize("header", ["", "{", "nonsense"])
def test_what_is_no_mark_is_refused(header: str) -> None:
    with pytest.raises(PayloadError):
        read_header("run_x", 5, 1.0, header)
    with pytest.raises(PayloadError):
        read_note(header.encode())


@pytest.mark.parametrize("note", [b"[1]", b"7", b'{"run": 1}', b'[{"run":"a"}]', b"null"])
def test_what_is_no_note_is_refused(note: bytes) -> None:
    with pytest.raises(PayloadError):
        read_note(note)
