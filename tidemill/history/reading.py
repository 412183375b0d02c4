"""Rows of the database as the objects that the queries return, and where in a table a moment is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import orjson
from sqlalchemy import Connection, RowMapping, Table, bindparam, select

from tidemill.history.halving import Gap, Place, first_from
from tidemill.history.rows import (
    DeadRow,
    DeliveryRow,
    EventRow,
    QuarantineRow,
    RunRow,
    TimelineRow,
    VerdictRow,
)

_SAME: Final = (
    "number",
    "id",
    "task",
    "status",
    "created_at",
    "started_at",
    "changed_at",
    "ended_at",
    "start_at",
    "expires_at",
    "claimed_at",
    "until",
    "source",
    "type",
    "event_id",
    "event_number",
    "key",
    "parent_id",
    "root_id",
    "depth",
    "replayof",
    "fork_at",
    "starts",
    "reopened",
    "worker",
    "fingerprint",
)


def run_of(row: RowMapping) -> RunRow:
    """Read a row of `runs`."""
    given: dict[str, Any] = {name: row[name] for name in _SAME}
    return RunRow(
        **given,
        attempt=row["attempts"] + 1 if row["starts"] else 0,
        tags=tuple(_json(row["tags"], [])),
        waits=tuple(_json(row["waits"], [])),
        reason=row["reason"] or "",
        error=_error(row),
    )


def timeline_of(row: RowMapping) -> TimelineRow:
    """Read a row of `timeline`."""
    names = ("number", "part", "kind", "key", "at", "until", "outcome")
    return TimelineRow(**{name: row[name] for name in names}, data=_json(row["data"], {}))


def event_of(row: RowMapping, verdicts: Sequence[VerdictRow] = (), runs: Sequence[RunRow] = ()) -> EventRow:
    """Read a row of `events`."""
    names = (
        "number", "id", "key", "source", "type", "at", "subject", "time", "replayof", "content_type",
    )  # fmt: skip
    given: dict[str, Any] = {name: row[name] for name in names}
    return EventRow(**given, size=row["bytes"], verdicts=tuple(verdicts), runs=tuple(runs))


def verdict_of(row: RowMapping) -> VerdictRow:
    """Read a row of `verdicts`."""
    return VerdictRow(
        event_number=row["event"],
        verdict=row["verdict"],
        task=row["task"],
        at=row["at"],
        data=_json(row["data"], {}),
    )


def delivery_of(row: RowMapping) -> DeliveryRow:
    """Read a row of `deliveries` or `refusals`."""
    names = ("number", "id", "verdict", "at", "source", "status", "reason", "client")
    given: dict[str, Any] = {name: row[name] for name in names}
    data = _json(row["data"], {})
    return DeliveryRow(**given, events=tuple(data.pop("events", ())), data=data)


def quarantine_of(row: RowMapping, **more: Any) -> QuarantineRow:
    """Read a row of `quarantine`."""
    names = ("number", "key", "kind", "source", "type", "event_id", "at", "task")
    given: dict[str, Any] = {name: row[name] for name in names}
    return QuarantineRow(**given, reason=_json(row["reason"], {}), **more)


def dead_of(row: RowMapping, status: str | None) -> DeadRow:
    """Read a row of `dead`."""
    names = ("number", "id", "task", "outcome", "at", "attempts")
    given: dict[str, Any] = {name: row[name] for name in names}
    return DeadRow(**given, error=_error(row), data=_json(row["data"], {}), status=status)


def first_since(connection: Connection, table: Table, moment: float) -> int:
    """Return a number with which everything in a table begins that is from this moment or later.

    Numbers grow with time: no index over times is needed.
    """
    at = table.c.created_at if "created_at" in table.c else table.c.at
    look = select(table.c.number, at).limit(1)
    edge = look.where(table.c.number >= 0)
    first = connection.execute(edge.order_by(table.c.number)).first()
    last = connection.execute(edge.order_by(table.c.number.desc())).first()
    if first is None or last is None:
        return 0
    if first[1] >= moment:
        return int(first[0])
    if last[1] < moment:
        return int(last[0]) + 1
    # One bound alone: of two lower ones SQLite may begin at the wrong one, and go through all in between.
    there = look.where(table.c.number >= bindparam("number")).order_by(table.c.number)

    def find(number: int) -> Place:
        found = connection.execute(there, {"number": number}).one()
        return int(found[0]), float(found[1])

    return first_from(Gap(find, moment, (int(first[0]), float(first[1])), (int(last[0]), float(last[1]))))


def _json(text: str | None, empty: Any) -> Any:
    return orjson.loads(text) if text else empty


def _error(row: RowMapping) -> tuple[str, str] | None:
    return (row["error_type"], row["error_message"] or "") if row["error_type"] is not None else None
