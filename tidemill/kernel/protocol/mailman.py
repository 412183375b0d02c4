"""The mailman: brings news from outside (cancel, retry) into a run's journal, until it is through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tidemill.kernel.protocol.attempt import end_effects
from tidemill.kernel.protocol.conclusions import ending
from tidemill.kernel.protocol.operations import (
    Ack,
    Append,
    Bury,
    Exhume,
    Hint,
    Procedure,
    ReadLeader,
    SendTicket,
)
from tidemill.kernel.protocol.records import BURIED, Cancel, Record, Reopened
from tidemill.kernel.protocol.state import Phase, State, fold

Answer = Literal["done", "gone", "refused"]
"""`gone`: there is no such run any more, or it has ended; `refused`: the run's state doesn't allow it."""


@dataclass(frozen=True, slots=True)
class Signal:
    """News for a run; `id` is unique and stable over redeliveries."""

    id: str
    run: str
    kind: Literal["cancel", "retry"]
    reason: str = ""


def deliver(signal: Signal) -> Procedure[Answer]:
    """Append a signal to its run's journal once, do what follows, then acknowledge it."""
    state = fold((yield ReadLeader(signal.run)))
    while signal.id not in state.rids:
        record = respond(state, signal)
        if isinstance(record, str):
            yield Ack()
            return record
        if isinstance(record, Reopened):
            # Its owner may still be about to write the letter: now it is written, and never will be again.
            yield Bury(signal.run, state.end_seq, state)
        seq: int | None = yield Append(signal.run, record, state.tail)
        if seq is not None:
            state.apply(seq, record)
        else:
            state = fold((yield ReadLeader(signal.run)))
    yield from effects(signal, state)
    yield Ack()
    return "done"


def respond(state: State, signal: Signal) -> Record | Answer:
    """Return the record that a signal becomes in this state, or why it becomes none."""
    if state.created is None or state.phase is Phase.CLOSED:
        return "gone"
    if signal.kind == "retry":
        retriable = state.end is not None and state.end.outcome in BURIED
        return Reopened(rid=signal.id, reason=signal.reason) if retriable else "refused"
    if state.phase is Phase.ENDED:
        return "gone"
    if state.phase is Phase.OWNED:
        return Cancel(rid=signal.id, reason=signal.reason)
    return ending(state, signal.id, "cancelled", reason=signal.reason)


def effects(signal: Signal, state: State) -> Procedure[None]:
    """Perform what follows from a signal that stands in the journal, unless the run has gone on since."""
    if state.phase is Phase.OWNED and state.owner and state.cancel and state.cancel.rid == signal.id:
        yield Hint(signal.run, state.owner.worker)
    elif signal.id in state.reopenings:
        yield Exhume(signal.run, state.task, state.reopenings[signal.id])
        if state.phase is Phase.READY and state.epoch_rid == signal.id:
            yield SendTicket(signal.run, state.task, state.epoch, "signal", once=True)
    elif state.end is not None and state.end.rid == signal.id:
        yield from end_effects(signal.run, state)
