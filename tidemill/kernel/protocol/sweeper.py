"""The sweeper: finds runs that nothing carries any more, and gives them a ticket or a timer again.

By A1 there are none, as long as the broker keeps what it acknowledged. A power cut without fsync, a stream
restored from a backup, or a caller that died between two publishes can leave some. Runs that wait for
something legitimately, and parked ones, are never touched.
"""

from __future__ import annotations

from enum import Enum, auto

from tidemill.kernel.protocol.creation import send_first
from tidemill.kernel.protocol.operations import (
    Append,
    Exhume,
    Procedure,
    ReadLeader,
    Schedule,
    SendTicket,
    TicketOutstanding,
    TimerPending,
)
from tidemill.kernel.protocol.records import Orphaned
from tidemill.kernel.protocol.state import Phase, State, fold


class Sweep(Enum):
    """What the sweeper did about a run."""

    NOTHING = auto()
    TICKET = auto()
    TIMER = auto()


def sweep(run: str, *, patience: float, now: float, rid: str) -> Procedure[Sweep]:
    """Carry on a run whose journal hasn't changed for `patience` seconds and that nothing carries."""
    state = fold((yield ReadLeader(run)))
    if not stale(state, patience=patience, now=now):
        return Sweep.NOTHING
    # The timer first: when it fires between the two questions, its ticket answers the second one.
    if (yield TimerPending(run, state.task, state.epoch)) or (yield TicketOutstanding(run, state.task)):
        return Sweep.NOTHING
    if state.phase is Phase.OWNED:
        seq: int | None = yield Append(run, Orphaned(rid=rid), state.tail)
        if seq is None:
            return Sweep.NOTHING
    if state.phase is Phase.SUSPENDED and not state.satisfied and state.wait and state.wait.until is not None:
        yield Schedule(run, state.task, state.epoch, state.wait.until)
        return Sweep.TIMER
    if state.phase is Phase.READY and state.starts == 0 and state.epoch == state.created_seq:
        created_later = state.created is not None and state.created.start_at is not None
        if created_later:
            yield from send_first(run, state)
            return Sweep.TIMER
    if state.end_seq:
        # It was reopened, and who did that may have died before this.
        yield Exhume(run, state.task, state.end_seq)
    yield SendTicket(run, state.task, state.epoch, "signal")
    return Sweep.TICKET


def stale(state: State, *, patience: float, now: float) -> bool:
    """Say whether a run is in a phase in which something should carry it, and has been for long."""
    living = state.phase in (Phase.READY, Phase.OWNED, Phase.SUSPENDED)
    for_news = state.phase is Phase.SUSPENDED and not state.satisfied and state.timer == 0
    return living and not for_news and now - state.changed_at >= patience
