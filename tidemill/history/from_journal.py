"""A run as its journal tells it, in the very form in which the history does: for what that one hasn't yet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast

from sqlalchemy import RowMapping

from tidemill.history.changes import Changes
from tidemill.history.journal_projection import JournalProjection, JournalRecord
from tidemill.history.reading import run_of, timeline_of
from tidemill.history.rows import Body, RunDetail
from tidemill.history.run_details import TIMELINE_LIMIT
from tidemill.history.tables import Row
from tidemill.history.waterfall import waterfall
from tidemill.kernel.envelope import edited_data
from tidemill.kernel.frames import unpack
from tidemill.kernel.jetstream.journal import Entry

BODY_LIMIT: Final = 32 << 10
"""Bytes of an input or a result, as in the history."""


def detail_from_journal(run_id: str, entries: Sequence[Entry]) -> RunDetail | None:
    """Return a run from its records; None where they don't begin with its creation (it was closed).

    Its family isn't there: a journal knows of its children only that there are some.

    Raises:
        PayloadError: a record can't be read.
    """
    changes, rows = Changes(), dict[str, Row]()
    projection = JournalProjection(changes, rows, {}, events_base=0, body_limit=BODY_LIMIT)
    records = [_record(run_id, entry) for entry in entries if entry.body]  # a tombstone has none
    projection.take(records)
    projection.finish()
    if run_id not in rows:
        return None
    run = run_of(cast("RowMapping", rows[run_id]))
    rows_told = sorted(changes.timeline, key=lambda row: (row["number"], row["part"]))[:TIMELINE_LIMIT]
    told = [timeline_of(cast("RowMapping", row)) for row in rows_told]
    bodies: dict[str, Any] = {"traceback": None} | (changes.bodies[0] if changes.bodies else {})
    return RunDetail(
        run=run,
        payload=_payload(records[0], bodies),
        result=Body(
            size=bodies.get("result_bytes", 0), data=bodies.get("result"), blob=bodies.get("result_blob")
        ),
        traceback=bodies["traceback"] or "",
        spans=tuple(waterfall(run, told)),
        timeline=tuple(told),
        children=(),
        replays=(),
        more=len(changes.timeline) > TIMELINE_LIMIT,
    )


def _record(run_id: str, entry: Entry) -> JournalRecord:
    facts, raw = unpack(entry.body)
    return JournalRecord(run_id, entry.seq, entry.at, facts, raw)


def _payload(created: JournalRecord, bodies: dict[str, Any]) -> Body:
    """Return the input: the journal keeps an event's too."""
    edited = edited_data(created.facts.get("event") or {})
    if edited is not None:
        return Body(size=len(edited), data=edited[:BODY_LIMIT])
    return Body(size=len(created.raw), data=created.raw[:BODY_LIMIT], blob=bodies.get("payload_blob"))
