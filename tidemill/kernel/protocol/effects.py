"""What follows from a suspension and from an end: done behind its record and before the ticket goes.

Every effect may be repeated by whoever finds that its owner may have died before it.
"""

from __future__ import annotations

from tidemill.kernel.protocol.creation import create
from tidemill.kernel.protocol.hooks import hooks_record
from tidemill.kernel.protocol.obituary import obituary
from tidemill.kernel.protocol.operations import (
    Bury,
    CancelRuns,
    CancelTimer,
    Procedure,
    Schedule,
    SendTicket,
    Tell,
)
from tidemill.kernel.protocol.records import BURIED
from tidemill.kernel.protocol.state import State
from tidemill.kernel.subjects import child_index, run_of_child, run_of_hooks


def suspend_effects(run: str, state: State) -> Procedure[None]:
    """Have a suspended run woken: at once where all is there, else by its timer, else by the mailman.

    News that arrived before the suspension have woken nobody. Repeating it sets the same timer again, or
    publishes a ticket that is told from the mailman's by nothing and stored once.
    """
    known = tuple(state.entries)
    if state.satisfied:
        # Should a timer stand all the same, the mailman's ticket, then a duplicate, wouldn't remove it.
        timed = state.timer != 0
        yield SendTicket(run, state.task, state.epoch, "signal", once=True, cancels_timer=timed, known=known)
    elif state.wait is not None and state.wait.until is not None:
        yield Schedule(run, state.task, state.epoch, state.wait.until, known=known)


def end_effects(run: str, state: State) -> Procedure[None]:
    """Tell everybody who must know of the end; repeating it tells nobody twice."""
    end, created = state.end, state.created
    if end is not None and end.outcome in BURIED:
        yield Bury(run, state.end_seq, state)
    if state.timer:
        yield CancelTimer(run, state.task, state.timer)
    if end is not None and created is not None and created.parent is not None and created.parent.box:
        yield Tell(created.parent.run, obituary(run, created.parent, end))
    if end is not None and end.outcome == "cancelled" and (children := unfinished_children(run, state)):
        yield CancelRuns(children, f"its parent {run} was cancelled", run)
    if end is not None and created is not None and created.hooks:
        yield from create(run_of_hooks(run, state.end_seq), hooks_record(run, state))


def unfinished_children(run: str, state: State) -> tuple[str, ...]:
    """Return the children that the run hasn't heard the end of, and that end with it."""
    return tuple(
        run_of_child(run, child_index(spawned.key, index))
        for spawned in state.spawned.values()
        if not spawned.detached and not spawned.run
        for index in range(spawned.count)
        if str(index) not in state.boxes.get(spawned.key, {})
    )
