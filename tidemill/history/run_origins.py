"""What a run was started with, as the history remembers it: for runs whose journals are closed."""

from __future__ import annotations

from typing import Any, Final

import orjson
from sqlalchemy import Connection, select

from tidemill.history.inbound_projection import WITHOUT_BODY
from tidemill.history.rows import Body, RunRow
from tidemill.history.run_details import find_run, payload_of
from tidemill.history.tables import event_bodies, events, positions
from tidemill.kernel.envelope import EDITED_BY
from tidemill.kernel.services.origins import Origin

_JSON: Final = "json"
_NOT_THE_RUNS: Final = ("blob",)


def run_origin(connection: Connection, run_id: str) -> Origin:
    """Return what a run was started with; without its input where that isn't kept as a whole.

    Raises:
        NotFoundError: the history has no such run.
    """
    run = find_run(connection, run_id)
    body = payload_of(connection, run)
    event = _event(connection, run)
    raw = _whole(body, event)
    if event is not None and event.pop(WITHOUT_BODY, False):
        event, raw = (event | {"value": orjson.loads(raw)}, b"") if raw else (event, None)
    return Origin(
        task=run.task,
        event=event,
        event_seq=_sequence(connection, run),
        tags=run.tags,
        raw=raw,
        blob=body.blob,
    )


def _whole(body: Body, event: dict[str, Any] | None) -> bytes | None:
    if body.size == 0 and body.blob is None:
        return b""
    if not body.whole or body.data is None:
        return None
    if event is None or event.keys() & {"value", WITHOUT_BODY}:
        return body.data
    if EDITED_BY in (event.get("extensions") or {}):
        return None  # its edited data were too large to be kept
    # The data of an event that is no JSON stand beside its bytes; without them it wouldn't be the same.
    return body.data if _JSON in str(event.get("datacontenttype", _JSON)) else None


def _event(connection: Connection, run: RunRow) -> dict[str, Any] | None:
    """Return the attributes of the run's event: all of them, or those that every list shows."""
    if run.event_id is None:
        return None
    if run.event_number is not None:
        query = select(event_bodies.c.facts).where(event_bodies.c.number == run.event_number)
        if (facts := connection.execute(query).scalar_one_or_none()) is not None:
            told: dict[str, Any] = orjson.loads(facts)
            return {name: value for name, value in told.items() if name not in _NOT_THE_RUNS}
        columns = (events.c.key, events.c.time, events.c.subject, events.c.content_type)
        row = connection.execute(select(*columns).where(events.c.number == run.event_number)).first()
        if row is not None:
            names = ("deliverykey", "time", "subject", "datacontenttype")
            more = {name: value for name, value in zip(names, row, strict=True) if value is not None}
            return _attributes(run) | more
    return _attributes(run)


def _attributes(run: RunRow) -> dict[str, Any]:
    return {"id": run.event_id, "source": run.source, "type": run.type, "specversion": "1.0"}


def _sequence(connection: Connection, run: RunRow) -> int:
    """Return the event's sequence in EVENTS, 0 where that stream has been created anew since."""
    if run.event_number is None:
        return 0
    base = connection.execute(select(positions.c.base).where(positions.c.stream == "EVENTS")).scalar()
    return max(0, run.event_number - int(base or 0))
