"""Broken rules about forks, to be planted one at a time."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from tests.model.scenarios import FORK, RUN
from tidemill.kernel.protocol import creation, forking, inheritance
from tidemill.kernel.protocol.operations import Ack, Append, Procedure
from tidemill.kernel.protocol.records import Entry, News, Spawned, Step, Taken
from tidemill.kernel.protocol.state import State
from tidemill.kernel.subjects import child_index, run_of_child

right_taken_over = inheritance.taken_over


def fork_bit_by_bit(at: forking.At) -> Procedure[None]:
    """What is taken over is appended record by record, behind the one by which the fork exists."""
    found = yield from forking.survey(RUN, at)
    if isinstance(found, forking.Survey):
        bare = replace(found, taken=replace(found.taken, parts=(), waits=()))
        state = yield from creation.create(FORK, forking.fork_record(RUN, bare, rid="fork"))
        tail = state.tail
        for number, part in enumerate(found.taken.parts):
            tail = (yield Append(FORK, replace(part, rid=f"taken-{number}"), tail)) or tail
    yield Ack()


def all_taken_over(
    run: str, entries: Sequence[Entry], point: inheritance.Point, started: Collection[str] = ()
) -> Taken:
    """What came after the point is taken over too."""
    behind = inheritance.Point(entries[-1].seq + 1)
    return replace(right_taken_over(run, entries, behind, started), at=point.seq, key=point.key)


def without_waits(
    run: str, entries: Sequence[Entry], point: inheritance.Point, started: Collection[str] = ()
) -> Taken:
    """A wait that was over is waited for again."""
    return replace(right_taken_over(run, entries, point, started), waits=())


def without_news(
    run: str, entries: Sequence[Entry], point: inheritance.Point, started: Collection[str] = ()
) -> Taken:
    """What was decided is asked for again, and who was joined is started again."""
    taken = right_taken_over(run, entries, point, started)
    parts: tuple[Step | Spawned | News, ...] = tuple(
        part for part in taken.parts if not isinstance(part, News)
    )
    return replace(taken, parts=parts)


def all_unfinished_children(run: str, state: State) -> tuple[str, ...]:
    """The cancellation of a fork ends the children of the run that it was forked from."""
    return tuple(
        run_of_child(spawned.run or run, child_index(spawned.key, index))
        for spawned in state.spawned.values()
        for index in range(spawned.count)
        if str(index) not in state.boxes.get(spawned.key, {})
    )
