"""The sweeper: finds runs that nothing carries any more, and gives them a ticket or a timer again.

By A1 there are none, as long as the broker keeps what it acknowledged. A power cut without fsync, a stream
restored from a backup, or a caller that died between two publishes can leave some. Runs that wait for
something legitimately, and parked ones, are never touched.

It also ends runs whose time to live has passed before anybody began them: where no worker takes their tickets
nobody else would say so.
"""

from __future__ import annotations

from enum import Enum, auto

from tidemill.kernel.protocol.conclusions import EXPIRED, ending
from tidemill.kernel.protocol.creation import send_first
from tidemill.kernel.protocol.effects import end_effects
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
    END = auto()


def sweep(run: str, *, patience: float, now: float, rid: str) -> Procedure[Sweep]:
    """Carry on a run whose journal hasn't changed for `patience` seconds and that nothing carries.

    One that should have begun by now, and hasn't, is ended instead.
    """
    state = fold((yield ReadLeader(run)))
    if overdue(state, now=now):
        return (yield from _expire(run, state, rid))
    if not stale(state, patience=patience, now=now):
        return Sweep.NOTHING
    return (yield from _carry_on(run, state, rid))


def _carry_on(run: str, state: State, rid: str) -> Procedure[Sweep]:
    """Give a run a ticket or a timer unless it has one."""
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


def _expire(run: str, state: State, rid: str) -> Procedure[Sweep]:
    """End a run that has never begun; its ticket stands for the effects should this sweeper die (A1).

    Who has claimed the run meanwhile, or cancelled it, has moved the tail: then that counts.
    """
    if not (yield TicketOutstanding(run, state.task)):
        yield from send_first(run, state)
    record = ending(state, rid, "expired", fault=EXPIRED)
    seq: int | None = yield Append(run, record, state.tail)
    if seq is None:
        return Sweep.NOTHING
    state.apply(seq, record)
    yield from end_effects(run, state)
    return Sweep.END


def overdue(state: State, *, now: float) -> bool:
    """Say whether a run hasn't begun, and by its time to live must not any more."""
    created, waits = state.created, state.phase is Phase.READY and state.starts == 0
    if not waits or created is None or created.expires_at is None:
        return False
    return state.epoch == state.created_seq and now > created.expires_at


def stale(state: State, *, patience: float, now: float) -> bool:
    """Say whether a run is in a phase in which something should carry it, and has been for long."""
    living = state.phase in (Phase.READY, Phase.OWNED, Phase.SUSPENDED)
    for_news = state.phase is Phase.SUSPENDED and not state.satisfied and state.timer == 0
    return living and not for_news and now - state.changed_at >= patience
