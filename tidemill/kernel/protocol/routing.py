"""The router: one event becomes one run for every task that wants it, and a verdict for each that doesn't."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from tidemill.kernel.protocol.creation import create
from tidemill.kernel.protocol.operations import Ack, Procedure, Publish
from tidemill.kernel.protocol.records import Created
from tidemill.kernel.subjects import escape, run_of_event


@dataclass(frozen=True, slots=True)
class Arrival:
    """An event at the router: its attributes, its body, its place in EVENTS.

    A large body isn't in `raw`: `blobs` names, for each task that wants it, the copy that its run owns.
    `awaited` says that its sender may wait for an answer.
    """

    facts: dict[str, Any]
    key: str
    seq: int
    raw: bytes = b""
    blobs: dict[str, str] = field(default_factory=dict)
    awaited: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """A task takes the event; `hooks` says that it has some, `replies` that it answers senders."""

    task: str
    hooks: bool = False
    replies: bool = False


@dataclass(frozen=True, slots=True)
class Filtered:
    """A task's `where` was false: which clause, and the value that it saw."""

    task: str
    clause: str
    value: Any = None


@dataclass(frozen=True, slots=True)
class Broken:
    """A task's `where` can't be evaluated on the event: which clause, the value that it saw, and why."""

    task: str
    clause: str
    value: Any = None
    reason: str = ""
    hooks: bool = False


Verdict = Wanted | Filtered | Broken


def route(arrival: Arrival, verdicts: Sequence[Verdict]) -> Procedure[None]:
    """Create the runs of an event, keep the verdicts that aren't runs, then acknowledge the event.

    A started run is its own record; everything else is one message in RECORDS, and a broken pair is put
    into quarantine too, from where it can be sent again. All of it is deduplicated by the event's key.
    """
    for verdict in verdicts:
        if isinstance(verdict, Wanted):
            record = start_record(arrival, verdict.task, hooks=verdict.hooks, replies=verdict.replies)
            yield from create(run_of_event(arrival.key, verdict.task), record)
    declined = [verdict for verdict in verdicts if not isinstance(verdict, Wanted)]
    source = str(arrival.facts["source"])
    if declined or not verdicts:
        body = orjson.dumps(
            {"event": summary(arrival), "verdicts": [describe(verdict) for verdict in declined]}
        )
        yield Publish("RECORDS", "verdict", source, arrival.key, body)
    for verdict in declined:
        if isinstance(verdict, Broken):
            body = orjson.dumps({"event": summary(arrival), "pair": describe(verdict)})
            yield Publish("QUARANTINE", "pair", source, f"{arrival.key}-{escape(verdict.task)}", body)
    yield Ack()


def start_record(arrival: Arrival, task: str, *, hooks: bool = False, replies: bool = False) -> Created:
    """Return the record of a run that an event starts."""
    return Created(
        rid=f"event-{arrival.key}",
        task=task,
        event=arrival.facts,
        event_seq=arrival.seq,
        hooks=hooks,
        reply=replies and arrival.awaited,
        raw=arrival.raw,
        blob=arrival.blobs.get(task),
    )


def summary(arrival: Arrival) -> dict[str, Any]:
    """Return what identifies an event."""
    return {name: arrival.facts[name] for name in ("id", "source", "type")} | {"seq": arrival.seq}


def describe(verdict: Filtered | Broken) -> dict[str, Any]:
    """Return a verdict as data."""
    seen = {"task": verdict.task, "clause": verdict.clause, "value": verdict.value}
    if isinstance(verdict, Filtered):
        return seen | {"verdict": "filtered"}
    return (
        seen
        | {"verdict": "quarantined", "reason": verdict.reason}
        | ({"hooks": True} if verdict.hooks else {})
    )
