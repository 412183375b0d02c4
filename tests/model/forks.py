"""What must hold of a run's fork: it has what the run had finished, and leaves that run's children alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.model.parts import Race
from tidemill.kernel.protocol.records import Created, Taken
from tidemill.kernel.protocol.state import State, fold

if TYPE_CHECKING:
    from tests.model.journal import Log
    from tests.model.scenarios import Scenario
    from tests.model.world import World


def problem_of_fork(scenario: Scenario, before: World, after: World) -> str | None:
    """Say what is wrong with a fork that was only just created, or with a child that has ended."""
    if not scenario.forked:
        return None
    fork = scenario.fork
    if after.logs[fork].tail and not before.logs[fork].tail:
        return _of_creation(after.logs[0], after.logs[fork].state)
    if "cancel" in scenario.signals or any(isinstance(part, Race) for part in scenario.script):
        return None
    ends = (after.logs[run].state.end for run in range(1, fork))
    cancelled = any(end is not None and end.outcome == "cancelled" for end in ends)
    return "a child is cancelled, and its parent isn't" if cancelled else None


def _of_creation(source: Log, fork: State) -> str | None:
    taken = fork.created.taken if fork.created is not None else None
    if taken is None:
        return "a fork doesn't say what it has taken over"
    known = _before(source, taken)
    if set(fork.steps) != set(known.steps) - {taken.key}:
        return f"a fork has the steps {sorted(fork.steps)} of {sorted(known.steps)}"
    missing = known.elapsed - fork.elapsed - {taken.key}
    if missing:
        return f"a fork waits again for {sorted(missing)}"
    boxes = {box: items for box, items in known.boxes.items() if box in fork.boxes or box != taken.key}
    chosen = known.waits.get(taken.key)
    heard = {box: set(items) for box, items in boxes.items() if chosen is None or box != chosen.box}
    if {box: set(items) for box, items in fork.boxes.items()} != heard:
        return f"a fork has heard {sorted(fork.boxes)} of {sorted(heard)}"
    return None


def _before(source: Log, taken: Taken) -> State:
    """Return what the other run knew before the point, though its journal may have been closed since."""
    for log in (source, *source.past):
        if log.entries and isinstance(log.entries[0].record, Created):
            return fold(entry for entry in log.entries if entry.record is not None and entry.seq < taken.at)
    return State()
