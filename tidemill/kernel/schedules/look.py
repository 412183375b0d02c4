"""Looking at a schedule: decide what is due, do it, and plan the next look.

What is decided is written down before it is done, by compare-and-set, and taken off the list when it is
done. So of several who look at once only one decides; one that dies leaves a list that the next one works
off; and working it off twice does nothing, because a run is created once under its id.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeVar

from tidemill.kernel.schedules.decide import Wanted, adopt, advance, due, supersedes, wake
from tidemill.kernel.schedules.state import ScheduleState, Start

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Load:
    """Result: a schedule's memory and its revision, never stale; None where there is none."""

    schedule: str


@dataclass(frozen=True, slots=True)
class Store:
    """Write a schedule's memory if `revision` (0: none) is the present one. Result: the new one, or None."""

    state: ScheduleState
    revision: int


@dataclass(frozen=True, slots=True)
class Going:
    """Result: which of these runs exist and haven't ended, never stale."""

    runs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StartRun:
    """Create a tick's run, unless it exists or has existed."""

    state: ScheduleState
    start: Start


@dataclass(frozen=True, slots=True)
class CancelRuns:
    """Ask for the end of runs, durably."""

    schedule: str
    runs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WakeAt:
    """Plan a look at a schedule at a moment, durably; a second plan for the same moment does nothing."""

    schedule: str
    at: float


Operation = Load | Store | Going | StartRun | CancelRuns | WakeAt
Procedure = Generator[Operation, Any, T]
Stored = tuple[ScheduleState, int]


def look(schedule: str, wanted: Wanted | None, now: float) -> Procedure[ScheduleState | None]:
    """Bring a schedule up to the moment `now`, and return its memory.

    Raises:
        DefinitionError: this process can't read its rule.
    """
    while True:
        stored: Stored | None = yield Load(schedule)
        before, revision = stored or (None, 0)
        if before is not None and (before.starting or before.cancelling):
            yield from carry_out(before)
            yield Store(before.settled, revision)
            continue
        after = yield from _decided(before, wanted, now)
        if after is None:
            return None
        if after != before and ((yield Store(after, revision)) is None or after != after.settled):
            continue
        at = wake(after)
        if at is not None:
            yield WakeAt(schedule, at)
        return after


def carry_out(state: ScheduleState) -> Procedure[None]:
    """Do what was decided on."""
    if state.cancelling:
        yield CancelRuns(state.id, state.cancelling)
    for start in state.starting:
        yield StartRun(state, start)


def _decided(
    before: ScheduleState | None, wanted: Wanted | None, now: float
) -> Procedure[ScheduleState | None]:
    """Return the memory after all that is due was decided, what was due before a change first."""
    state = before
    if (
        before is not None
        and wanted is not None
        and supersedes(wanted, before)
        and not wanted.rule.same_moments(before.rule)
    ):
        state = yield from _advanced(before, min(now, wanted.since))
        if state.starting:
            return state
    state = adopt(state, wanted, now)
    return state if state is None else (yield from _advanced(state, now))


def _advanced(state: ScheduleState, now: float) -> Procedure[ScheduleState]:
    going: tuple[str, ...] = ()
    if state.going and due(state, now):
        going = yield Going(state.going)
    return advance(state, now, going)
