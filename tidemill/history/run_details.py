"""One run with everything that is known of it."""

from __future__ import annotations

from typing import Final

import orjson
from sqlalchemy import Connection, RowMapping, select

from tidemill.history.reading import run_of, timeline_of
from tidemill.history.rows import Body, RunDetail, RunRow
from tidemill.history.tables import event_bodies, events, run_bodies, runs, timeline
from tidemill.history.waterfall import waterfall
from tidemill.kernel.envelope import EDITED_BY, edited_data
from tidemill.kernel.errors import NotFoundError

TIMELINE_LIMIT: Final = 5_000
FAMILY_LIMIT: Final = 1_000


def find_run(connection: Connection, run_id: str) -> RunRow:
    """Return a run's row.

    Raises:
        NotFoundError: the history has no such run (any more, or yet).
    """
    row = connection.execute(select(runs).where(runs.c.id == run_id)).mappings().one_or_none()
    if row is None:
        raise NotFoundError(
            f"there is no run {run_id!r} in the history",
            hint="it is kept for as long as history.keep_runs says; new ones come within a second",
        )
    return run_of(row)


def run_detail(connection: Connection, run_id: str) -> RunDetail:
    """Return a run with its bodies, its waterfall and its nearest family.

    Raises:
        NotFoundError: the history has no such run.
    """
    run = find_run(connection, run_id)
    body = _bodies(connection, run)
    rows = connection.execute(
        select(timeline)
        .where(timeline.c.run == run.number)
        .order_by(timeline.c.number, timeline.c.part)
        .limit(TIMELINE_LIMIT + 1)
    ).mappings()
    told = [timeline_of(row) for row in rows]
    children = family(connection, "parent_id", run.id)
    return RunDetail(
        run=run,
        payload=_seen_payload(connection, run, body),
        result=_result(body),
        traceback=(body["traceback"] or "") if body is not None else "",
        spans=tuple(waterfall(run, told[:TIMELINE_LIMIT], children)),
        timeline=tuple(told[:TIMELINE_LIMIT]),
        children=tuple(children),
        replays=tuple(family(connection, "replayof", run.id)),
        more=len(told) > TIMELINE_LIMIT or len(children) == FAMILY_LIMIT,
    )


def family(connection: Connection, column: str, run_id: str) -> list[RunRow]:
    """Return the runs that name a run as `parent_id`, `root_id` or `replayof`, the oldest first."""
    query = select(runs).where(runs.c[column] == run_id).order_by(runs.c.number).limit(FAMILY_LIMIT)
    return [run_of(row) for row in connection.execute(query).mappings()]


def payload_of(connection: Connection, run: RunRow) -> Body:
    """Return a run's input, as far as it is kept."""
    return _payload(connection, run, _bodies(connection, run))


def _seen_payload(connection: Connection, run: RunRow, body: RowMapping | None) -> Body:
    """Return a run's input for people: the data of an event that was edited, not its raw body."""
    if run.event_number is not None:
        query = select(event_bodies.c.facts).where(event_bodies.c.number == run.event_number)
        facts = connection.execute(query).scalar_one_or_none()
        edited = edited_data(orjson.loads(facts)) if facts is not None and EDITED_BY in facts else None
        if edited is not None:
            return Body(size=len(edited), data=edited)
    return _payload(connection, run, body)


def _bodies(connection: Connection, run: RunRow) -> RowMapping | None:
    query = select(run_bodies).where(run_bodies.c.number == run.number)
    return connection.execute(query).mappings().first()


def _payload(connection: Connection, run: RunRow, body: RowMapping | None) -> Body:
    """Return a run's input; that of an event stands with the event."""
    if body is None or run.event_number is None:
        return _body(body, "payload")
    found = (
        connection.execute(
            select(event_bodies.c.body, events.c.bytes)
            .join(events, events.c.number == event_bodies.c.number)
            .where(event_bodies.c.number == run.event_number)
        )
        .mappings()
        .first()
    )
    if found is None or found["body"] is None:
        return _body(body, "payload")
    return Body(size=found["bytes"], data=found["body"], blob=body["payload_blob"])


def _result(body: RowMapping | None) -> Body:
    return _body(body, "result")


def _body(body: RowMapping | None, name: str) -> Body:
    if body is None:
        return Body()
    return Body(size=body[f"{name}_bytes"], data=body[name], blob=body[f"{name}_blob"])
