"""The mailman: brings news from outside into a run's journal, until it is through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from tidemill.kernel.protocol.conclusions import ending
from tidemill.kernel.protocol.effects import end_effects
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
from tidemill.kernel.protocol.records import BURIED, Cancel, Item, News, Record, Reopened
from tidemill.kernel.protocol.state import Phase, State, fold

Answer = Literal["done", "gone", "refused"]
"""`gone`: there is no such run any more, or it has ended; `refused`: the run's state doesn't allow it."""


@dataclass(frozen=True, slots=True)
class Signal:
    """News for a run; `id` is unique and stable over redeliveries.

    `parent` is the run whose owner asks for the end of its child.
    """

    id: str
    run: str
    kind: Literal["cancel", "retry"]
    reason: str = ""
    parent: str = ""


def deliver(signal: Signal) -> Procedure[Answer]:
    """Append a signal to its run's journal once, do what follows, then acknowledge it."""
    state = fold((yield ReadLeader(signal.run)))
    while signal.id not in state.rids:
        record = respond(state, signal)
        if isinstance(record, str):
            yield Ack()
            return record
        if isinstance(record, Reopened) and state.end is not None:
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
    if state.phase is Phase.ABSENT and signal.kind == "cancel" and signal.parent:
        # A slow owner of the parent may be about to create it: this end keeps it from ever coming to life.
        return ending(state, signal.id, "cancelled", reason=signal.reason)
    if state.created is None or state.phase is Phase.CLOSED:
        return "gone"
    if signal.kind == "retry":
        retriable = state.parked or (state.end is not None and state.end.outcome in BURIED)
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
        if state.reopenings[signal.id]:
            yield Exhume(signal.run, state.task, state.reopenings[signal.id])
        if state.phase is Phase.READY and state.epoch_rid == signal.id:
            yield SendTicket(signal.run, state.task, state.epoch, "signal", once=True)
    elif state.end is not None and state.end.rid == signal.id:
        yield from end_effects(signal.run, state)


def bring(run: str, items: Sequence[Item], state: State | None = None) -> Procedure[tuple[Answer, State]]:
    """Append items to a run's journal as one record, wake the run if they are what it waits for, acknowledge.

    `state` may be an older one, which saves a read where it is still the newest; it is never the reason for
    refusing news (A7). The run is woken once per suspension, however often news satisfy it.
    """
    if state is None or not _listens(state):
        state = fold((yield ReadLeader(run)))
    while fresh := tuple(item for item in items if item.id not in state.rids):
        if not _listens(state):
            break
        news = News(rid=f"news-{fresh[0].id}", items=fresh)
        seq: int | None = yield Append(run, news, state.tail)
        if seq is not None:
            state.apply(seq, news)
        elif not state.extend((yield ReadLeader(run, state.tail))):
            state = fold((yield ReadLeader(run)))
    if state.phase is Phase.OWNED and state.owner is not None:
        yield Hint(run, state.owner.worker)
    elif state.phase is Phase.SUSPENDED and state.satisfied:
        known = tuple(state.entries)
        yield SendTicket(run, state.task, state.epoch, "signal", once=True, cancels_timer=True, known=known)
    yield Ack()
    return ("gone" if fresh else "done"), state


def _listens(state: State) -> bool:
    """Say whether news still matter to a run."""
    return state.created is not None and state.phase not in (Phase.ENDED, Phase.CLOSED)
