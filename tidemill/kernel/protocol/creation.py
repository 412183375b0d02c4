"""A run comes into being: first its `created` record, then its ticket, then its cause is acknowledged."""

from __future__ import annotations

from tidemill.kernel.protocol.obituary import obituary
from tidemill.kernel.protocol.operations import Append, Procedure, ReadLeader, Schedule, SendTicket
from tidemill.kernel.protocol.records import Created, Item
from tidemill.kernel.protocol.state import Phase, State, fold


def create(run: str, created: Created) -> Procedure[State]:
    """Create a run unless it exists, and make sure that something carries it.

    Returns the run's state as it stands; its `created.rid` tells whether this call created it.
    """
    while True:
        seq: int | None = yield Append(run, created, 0)
        state = State()
        if seq is not None:
            state.apply(seq, created)
        else:
            state = fold((yield ReadLeader(run)))
        if state.phase is not Phase.ABSENT:
            break
    if state.phase is Phase.READY and state.starts == 0 and state.epoch == state.created_seq:
        yield from send_first(run, state)
    return state


def create_child(run: str, created: Created) -> Procedure[Item | None]:
    """Create a run's child; return the news of its end where it has ended already.

    That is what a parent goes by that was reopened: a child whose end came while its parent had ended has
    told nobody.
    """
    state = yield from create(run, created)
    if state.end is None or state.created is None or created.parent is None:
        return None
    return obituary(run, created.parent, state.end)


def send_first(run: str, state: State) -> Procedure[None]:
    """Publish a run's first ticket, or the timer that will; a repetition is deduplicated or replaces it."""
    created = state.created
    if created is None:
        raise AssertionError("a run without a created record has no first ticket")
    if created.start_at is not None:
        yield Schedule(run, created.task, state.epoch, created.start_at, created)
    else:
        yield SendTicket(run, created.task, state.epoch, "start", created, once=True)
