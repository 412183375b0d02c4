"""What follows from a suspension and from an end: done behind its record and before the ticket goes.

Every effect may be repeated by whoever finds that its owner may have died before it.
"""

from __future__ import annotations

from typing import Final

import orjson

from tidemill.kernel.protocol.operations import (
    Bury,
    CancelRuns,
    CancelTimer,
    Procedure,
    Schedule,
    SendTicket,
    Tell,
)
from tidemill.kernel.protocol.records import BURIED, End, Fault, Item, Parent
from tidemill.kernel.protocol.state import State
from tidemill.kernel.subjects import child_index, run_of_child

TOLD_LIMIT: Final = 8 * 1024
"""The largest result, in bytes of JSON, that a child's parent is sent; larger ones it reads itself."""


def suspend_effects(run: str, state: State) -> Procedure[None]:
    """Have a suspended run woken: at once where all is there, else by its timer, else by the mailman.

    News that arrived before the suspension have woken nobody. Repeating it sets the same timer again, or
    publishes a ticket that is told from the mailman's by nothing and stored once.
    """
    if state.satisfied:
        # Should a timer stand all the same, the mailman's ticket, then a duplicate, wouldn't remove it.
        timed = state.timer != 0
        yield SendTicket(run, state.task, state.epoch, "signal", once=True, cancels_timer=timed)
    elif state.wait is not None and state.wait.until is not None:
        yield Schedule(run, state.task, state.epoch, state.wait.until)


def end_effects(run: str, state: State) -> Procedure[None]:
    """Tell everybody who must know of the end; repeating it tells nobody twice."""
    end, created = state.end, state.created
    if end is not None and end.outcome in BURIED:
        yield Bury(run, state.end_seq, state)
    if state.timer:
        yield CancelTimer(run, state.task, state.timer)
    if end is not None and created is not None and created.parent is not None:
        yield Tell(created.parent.run, obituary(run, created.parent, end))
    if end is not None and end.outcome == "cancelled" and (children := unfinished_children(run, state)):
        yield CancelRuns(children, f"its parent {run} was cancelled", run)


def obituary(run: str, parent: Parent, end: End) -> Item:
    """Return what a parent hears of its child's end; it hears the first one only.

    A child that was reopened after its parent had heard of its failure goes on for itself.
    """
    small = end.blob is None and len(orjson.dumps(end.result)) <= TOLD_LIMIT
    return Item(
        id=f"end-{run}",
        box=parent.box,
        who=str(parent.index),
        ok=end.outcome == "completed",
        data=end.result if small else None,
        run=run if end.outcome != "completed" or not small else None,
        fault=_told(end),
    )


def _told(end: End) -> Fault | None:
    """Return why a child didn't complete, without its traceback."""
    if end.outcome == "completed":
        return None
    fault = end.fault
    return Fault(fault.type if fault else end.outcome, fault.message if fault else end.reason)


def unfinished_children(run: str, state: State) -> tuple[str, ...]:
    """Return the children that the run hasn't heard the end of, and that end with it."""
    return tuple(
        run_of_child(run, child_index(spawned.key, index))
        for spawned in state.spawned.values()
        if not spawned.detached
        for index in range(spawned.count)
        if str(index) not in state.boxes.get(spawned.key, {})
    )
