"""Marks of ended runs on the wire: as a header of the end record, and as notes to the closer."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

import orjson

from tidemill.kernel.protocol.closer import Mark
from tidemill.kernel.protocol.records import End

END_HEADER: Final = "Tidemill-End"
"""Header of end records: a sweep reads no bodies."""


def end_header(end: End) -> str:
    """Return the header's value for an end record."""
    facts = {"task": end.task, "event_seq": end.event_seq, "keyed": end.keyed, "lasting": end.lasting}
    return orjson.dumps({name: value for name, value in facts.items() if value}).decode()


def read_header(run: str, seq: int, at: float, header: str) -> Mark:
    """Return the mark of an end record that was found with this header."""
    facts: dict[str, Any] = {"task": ""} | orjson.loads(header)
    return Mark(run, seq=seq, at=at, **facts)


def mark_of(run: str, seq: int, end: End) -> Mark:
    """Return the mark of an end that was appended just now."""
    return Mark(
        run=run,
        task=end.task,
        seq=seq,
        at=time.time(),
        event_seq=end.event_seq,
        keyed=end.keyed,
        lasting=end.lasting,
        records=(*end.records, seq),
    )


def write_note(marks: Sequence[Mark]) -> bytes:
    """Return marks as one note to the closer."""
    return orjson.dumps([asdict(mark) for mark in marks])


def read_note(note: bytes) -> list[Mark]:
    """Read a note."""
    return [Mark(**facts | {"records": tuple(facts["records"])}) for facts in orjson.loads(note)]
