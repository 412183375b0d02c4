"""Marks of ended runs on the wire: as a header of the end record, and as notes to the closer."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Final

import orjson

from tidemill.kernel.errors import PayloadError
from tidemill.kernel.protocol.closer import Mark
from tidemill.kernel.protocol.records import Created, End, Record

END_HEADER: Final = "Tidemill-End"
"""Header of end records: a sweep reads no bodies."""
EXPIRES_HEADER: Final = "Tidemill-Expires"
"""Header of the first records of runs with a time to live: the last moment at which they may begin."""


_FACTS: Final = frozenset(field.name for field in fields(Mark))


def end_header(end: End) -> str:
    """Return the header's value for an end record."""
    facts = {
        name: getattr(end, name) for name in ("task", "event_seq", "keyed", "lasting", "blobs", "parent")
    }
    return orjson.dumps({name: value for name, value in facts.items() if value}).decode()


def record_headers(record: Record) -> dict[str, str] | None:
    """Return what a sweep has to know of a record without reading it, None where that is nothing."""
    if isinstance(record, End):
        return {END_HEADER: end_header(record)}
    if isinstance(record, Created) and record.expires_at is not None:
        return {EXPIRES_HEADER: repr(record.expires_at)}
    return None


def expires_at(headers: Mapping[str, str]) -> float | None:
    """Return the last moment at which a run may begin whose first record is its last, None without one."""
    try:
        return float(headers[EXPIRES_HEADER])
    except (KeyError, ValueError):
        return None


def read_header(run: str, seq: int, at: float, header: str) -> Mark:
    """Return the mark of an end record that was found with this header.

    Raises:
        PayloadError: the header can't be read.
    """
    return _mark({"task": ""} | _parse(header, dict) | {"run": run, "seq": seq, "at": at})


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
        blobs=end.blobs,
        parent=end.parent,
        records=(*end.records, seq),
    )


def write_note(marks: Sequence[Mark]) -> bytes:
    """Return marks as one note to the closer."""
    return orjson.dumps(list(marks))


def read_note(note: bytes) -> list[Mark]:
    """Read a note.

    Raises:
        PayloadError: the bytes are no note.
    """
    return [_mark(facts) for facts in _parse(note, list)]


def _parse(text: bytes | str, kind: type) -> Any:
    try:
        parsed = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise PayloadError(f"the mark of an end can't be read: {error}") from error
    if not isinstance(parsed, kind):
        raise PayloadError(f"the mark of an end can't be read: it is no {kind.__name__}")
    return parsed


def _mark(facts: Any) -> Mark:
    """Return a mark; what a newer version says besides is left out."""
    try:
        known = {name: value for name, value in facts.items() if name in _FACTS}
        return Mark(**known | {"records": tuple(known.get("records", ()))})
    except (AttributeError, TypeError) as error:
        raise PayloadError(f"the mark of an end can't be read: {error}") from error
