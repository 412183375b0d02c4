"""Tickets: permission to continue a run from one record, and what a delivered ticket entitles to."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from tidemill.kernel.protocol.operations import TicketKind
from tidemill.kernel.protocol.records import Created, Entry
from tidemill.kernel.protocol.state import Phase, State


@dataclass(slots=True, unsafe_hash=True)
class Ticket:
    """One delivery of a ticket.

    `q` is the ticket's own stream sequence, stable over redeliveries; `delivered` the broker's count of
    this delivery; `delivery` an id that no other delivery has; `created` and `known` are the journal as far
    as the ticket brings it along; `at` is when the ticket was stored and `now` the worker's time.
    """

    run: str
    task: str
    seq: int
    q: int
    delivered: int
    delivery: str
    kind: TicketKind = "start"
    created: Created | None = None
    known: tuple[Entry, ...] = ()
    at: float = 0.0
    now: float = 0.0


class Admission(Enum):
    """What a delivered ticket entitles to, given the run's journal."""

    CLAIM = auto()
    """Try to become the owner."""
    ACKNOWLEDGE = auto()
    """Another ticket, or the end, carries the run: this one is done."""
    IGNORE = auto()
    """A late copy of the owner's own delivery: whatever is sent for it would act on the owner's ticket."""
    REDO_SUSPEND = auto()
    """The run is suspended, but not for this ticket: repeat the effects of its suspension.

    The ticket may be its owner's, who died before them (F8), or that of an old timer which a slow actor
    has set in the place of the present one.
    """
    REDO_END = auto()
    """The run has ended, its effects may be missing: repeat them."""


def judge(state: State, ticket: Ticket) -> Admission:
    """Decide what a ticket entitles to; whatever isn't a claim holds only for the leader's state (A7)."""
    match state.phase:
        case Phase.ABSENT | Phase.CLOSED:
            return Admission.ACKNOWLEDGE
        case Phase.ENDED:
            # Without its beginning it is a journal that a dying closer has half deleted.
            return Admission.REDO_END if state.created is not None else Admission.ACKNOWLEDGE
        case Phase.READY:
            return Admission.CLAIM if ticket.seq == state.epoch else Admission.ACKNOWLEDGE
        case Phase.SUSPENDED:
            return Admission.CLAIM if ticket.seq == state.epoch else Admission.REDO_SUSPEND
        case Phase.OWNED:
            return _judge_owned(state, ticket)


def _judge_owned(state: State, ticket: Ticket) -> Admission:
    if state.owner is None or state.owner.q != ticket.q:
        return Admission.ACKNOWLEDGE
    return Admission.CLAIM if ticket.delivered > state.owner.n else Admission.IGNORE
