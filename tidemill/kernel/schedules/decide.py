"""What a schedule has to do at a moment: a pure function of its memory, its definition and the time.

Of the ticks that are due only the latest can be on time, and only for `GRACE` seconds; all others have been
missed. A clock that was set back far lets a schedule begin again at the present: runs of ticks that it comes
by once more have the ids that they had, and aren't started again while those are known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from tidemill.kernel.schedules.rule import ScheduleRule
from tidemill.kernel.schedules.state import ScheduleState, Start
from tidemill.kernel.subjects import run_of_tick

GRACE: Final = 60.0
"""Seconds for which the latest tick is on time."""
MOST_CAUGHT_UP: Final = 100
"""How many missed ticks `missed="all"` starts at most: the latest ones."""
MOST_COUNTED: Final = 1000
"""Up to how many missed ticks are counted."""
SET_BACK: Final = 3600.0
"""Seconds by which the clock must have been set back for a schedule to begin again at the present."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A schedule as the definitions have it: its task, its rule, and since when that version is in force."""

    task: str
    rule: ScheduleRule
    since: float


def adopt(state: ScheduleState | None, wanted: Wanted | None, now: float) -> ScheduleState | None:
    """Return a schedule's memory after its definition was looked at; None where there is neither.

    A new schedule, one that comes back, and one with other moments count from the time at which their
    version came into force; an older version than the known one is an old view, and changes nothing.
    """
    if wanted is None:
        if state is None or state.removed is not None:
            return state
        return replace(state, removed=now)
    since = min(wanted.since, now)
    if state is None:
        return ScheduleState(task=wanted.task, rule=wanted.rule, since=wanted.since, cursor=since)
    if supersedes(wanted, state):
        anew = state.removed is not None or not wanted.rule.same_moments(state.rule)
        cursor = max(state.cursor, since) if anew else state.cursor
        state = replace(
            state, task=wanted.task, rule=wanted.rule, since=wanted.since, cursor=cursor, removed=None
        )
    return replace(state, cursor=now) if state.cursor > now + SET_BACK else state


def supersedes(wanted: Wanted, state: ScheduleState) -> bool:
    """Say whether a definition counts: it isn't older than the one that is known."""
    return wanted.since >= state.since or state.removed is not None


def due(state: ScheduleState, now: float) -> list[int]:
    """Return the ticks that are to be decided, in their order; of very many the latest.

    Raises:
        DefinitionError: this process can't read the rule.
    """
    if not state.active:
        return []
    return state.rule.rhythm.latest(state.cursor, now - state.rule.offset, MOST_COUNTED)


def advance(state: ScheduleState, now: float, going: Sequence[str] = ()) -> ScheduleState:
    """Decide all ticks that are due at a moment.

    Args:
        state: what is known.
        now: the present.
        going: which of `state.going` haven't ended.

    Raises:
        DefinitionError: this process can't read the rule.
    """
    ticks = due(state, now)
    if not ticks:
        return state
    chosen = _chosen(state.rule, ticks, now)
    state = replace(state, cursor=float(ticks[-1]), missed=state.missed + len(ticks) - len(chosen))
    if not chosen:
        return state
    if going and state.rule.overlap == "skip":
        return replace(state, skipped=state.skipped + len(chosen), going=tuple(going))
    return _start(state, chosen, now, tuple(going))


def run_now(state: ScheduleState, run: str, now: float) -> ScheduleState:
    """Decide on a run that somebody asked for; the ticks go on as if it weren't, but for `overlap`."""
    start = Start(run, now, state.last.at if state.last else None)
    tracked = state.rule.overlap != "allow"
    return replace(
        state,
        starting=(*state.starting, start),
        going=(*state.going, run)[-MOST_CAUGHT_UP:] if tracked else (),
        last=start,
        late=0.0,
    )


def wake(state: ScheduleState) -> float | None:
    """Return when a schedule must be looked at next; None where never by itself.

    Raises:
        DefinitionError: this process can't read the rule.
    """
    if not state.active:
        return None
    tick = next(state.rule.rhythm.after(state.cursor), None)
    return None if tick is None else tick + state.rule.offset


def _chosen(rule: ScheduleRule, ticks: list[int], now: float) -> list[int]:
    if rule.missed == "all":
        return ticks[-MOST_CAUGHT_UP:]
    on_time = now - rule.offset - ticks[-1] <= GRACE
    return ticks[-1:] if on_time or rule.missed == "once" else []


def _start(state: ScheduleState, ticks: list[int], now: float, going: tuple[str, ...]) -> ScheduleState:
    last = state.last.at if state.last else None
    starts: list[Start] = []
    for tick in ticks:
        starts.append(Start(run_of_tick(state.id, tick), float(tick), last))
        last = float(tick)
    runs = tuple(start.run for start in starts)
    return replace(
        state,
        starting=(*state.starting, *starts),
        cancelling=(*state.cancelling, *going) if state.rule.overlap == "cancel" else state.cancelling,
        going=() if state.rule.overlap == "allow" else runs,
        last=starts[-1],
        late=max(0.0, now - state.rule.offset - ticks[-1]),
        started=state.started + len(starts),
    )
