"""A run is forked: a new one has what another had finished before a point, and goes on from there by itself.

Who takes over a run whose owner died right before it wrote record `at` knows the records before that one and
nothing else. A fork is given just these, in a journal of its own: so it goes on as that run could have.
What they say of things that weren't over (a wait that is open, a child that hasn't ended) is the other run's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from tidemill.kernel.protocol.inheritance import (
    Point,
    is_trigger,
    parts_of,
    raced,
    started_in,
    taken_over,
    wait_of,
)
from tidemill.kernel.protocol.operations import JournalOpen, Procedure, ReadLeader
from tidemill.kernel.protocol.records import Created, Entry, News, Record, Spawned, Step, Taken
from tidemill.kernel.protocol.state import Phase, State, fold
from tidemill.kernel.subjects import RUN_ID, child_index, run_of_child

At = str | int | None
"""Where a run is forked: the key of a part, a child's id, a record's sequence; None where it stands."""
_NUMBER: Final = re.compile(r"[0-9]{1,19}")


class Refusal(Enum):
    """Why a run can't be forked."""

    CLOSED = auto()
    """Its journal isn't there, or not as a whole any more."""
    UNKNOWN = auto()
    """Nothing in its journal goes by what was named as the point."""
    TAKEN = auto()
    """It has taken the part over itself: who has done it can be forked there."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What a fork of a run begins with: how that run began, and what is taken over."""

    created: Created
    taken: Taken


def survey(run: str, at: At) -> Procedure[Survey | Refusal]:
    """Read what a fork of a run takes over; nothing is changed."""
    entries: Sequence[Entry] = yield ReadLeader(run)
    state = fold(entries)
    # A closer may have been at work while the journal was read: what it has removed would be done again.
    if state.created is None or not _is_whole(state) or not (yield JournalOpen(run)):
        return Refusal.CLOSED
    point = find_point(run, entries, at)
    if isinstance(point, Refusal):
        return point
    started = started_in(entries)
    for key in state.spawned.keys() - started:
        # Whether a run was started that nobody waits for its journal says, where this one doesn't.
        if is_trigger(key) and (yield JournalOpen(run_of_child(run, child_index(key, 0)))):
            started.add(key)
    return Survey(state.created, taken_over(run, entries, point, started))


def fork_record(run: str, found: Survey, *, rid: str) -> Created:
    """Return the record that begins a run's fork: with the same input, and nobody's child."""
    created = found.created
    return Created(
        rid=rid,
        task=created.task,
        event=created.event,
        tags=created.tags,
        replayof=run,
        hooks=created.hooks,
        taken=found.taken,
        blob=created.blob,
        raw=created.raw,
    )


def find_point(run: str, entries: Sequence[Entry], at: At) -> Point | Refusal:
    """Return the point that a name stands for, or why there is none.

    A part's point is where it was over. One that isn't over yet has its point behind everything.
    """
    if at is None:
        return Point(entries[-1].seq + 1)
    if isinstance(at, int):
        return Point(at) if any(entry.seq == at for entry in entries[1:]) else Refusal.UNKNOWN
    key, who = _call_of(run, entries, at) if RUN_ID.fullmatch(at) else (at, "")
    point = _point_of_part(entries, key, who)
    if point is Refusal.UNKNOWN and _NUMBER.fullmatch(at):
        return find_point(run, entries, int(at))
    return point


def points_of(entries: Sequence[Entry]) -> list[str]:
    """Return the keys of the parts at which a run can be forked, without what it has taken over itself."""
    state = fold(entries)
    steps = [entry.record.key for entry in entries if isinstance(entry.record, Step | Spawned)]
    calls = [key for key in state.spawned if not _is_taken(state, key)]
    waits = [key for key in state.waits if not _is_taken(state, key) and wait_of(state, key) is not None]
    return list(dict.fromkeys([*steps, *calls, *waits]))


def _is_whole(state: State) -> bool:
    """Say whether all records were read that stood before the newest end: a closer takes that away last."""
    if state.phase is Phase.CLOSED:
        return False
    ends = [entry for entry in state.entries if entry.seq == state.end_seq]
    records = getattr(ends[0].record, "records", ()) if ends else ()
    return set(records) <= {entry.seq for entry in state.entries}


def _call_of(run: str, entries: Sequence[Entry], child: str) -> tuple[str, str]:
    """Return the key of the call that has started a child, and its number; its own name where it is none."""
    for spawned in parts_of(entries):
        if isinstance(spawned, Spawned):
            for number in range(spawned.count):
                if run_of_child(spawned.run or run, child_index(spawned.key, number)) == child:
                    return spawned.key, str(number)
    return child, ""


def _point_of_part(entries: Sequence[Entry], key: str, who: str) -> Point | Refusal:
    state = State()
    over = done = 0
    for entry in entries:
        state.apply(entry.seq, entry.record, entry.at)
        record = entry.record
        if isinstance(record, Step) and record.key == key and record.outcome != "again":
            done = entry.seq
        if isinstance(record, Spawned) and record.key == key:
            over = 0  # a call that goes on with more children
        if not over and record is not None and _is_over(state, key, record):
            # One of several children is left out of the news that it came with: the others' stay.
            over = entry.seq + (1 if who and isinstance(record, News) else 0)
    if key not in points_of(entries):
        return Refusal.TAKEN if key in state.steps or _is_taken(state, key) else Refusal.UNKNOWN
    if over == state.created_seq:
        over = done  # it had come far before this run began, which has done the rest
    waited = wait_of(state, key) is not None or key in state.spawned
    return Point((over if waited else done) or entries[-1].seq + 1, key, who)


def _is_taken(state: State, key: str) -> bool:
    """Say whether a wait or a call was over when the run was forked."""
    first = state.created.taken if state.created is not None else None
    spawned = state.spawned.get(key)
    waited = first is not None and any(wait.key == key for wait in first.waits)
    return waited or (spawned is not None and bool(spawned.run))


def _is_over(state: State, key: str, record: Record) -> bool:
    """Say whether a part is over with this record, which the state has taken in."""
    if isinstance(record, Step | Spawned):
        ended = record.outcome != "again" if isinstance(record, Step) else is_trigger(key)
        if record.after == key or (record.key == key and ended) or key in raced(record):
            return True
    wait, spawned = wait_of(state, key), state.spawned.get(key)
    if wait is not None and (key in state.elapsed or state.decided(wait)):
        return True
    if spawned is None:
        return False
    return bool(spawned.run) or len(state.boxes.get(key, ())) >= spawned.count
