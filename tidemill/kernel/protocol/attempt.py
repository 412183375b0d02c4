"""The life of one delivered ticket, top to bottom: admit, execute, settle.

A message is acknowledged only behind all of its effects (A1), and only by the owner or by somebody who
has just read that something else carries the run (A2).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from tidemill.kernel.protocol.conclusions import (
    EXPIRED,
    Cancelled,
    Conclusion,
    Failed,
    Interrupted,
    Lost,
    Policy,
    decide,
)
from tidemill.kernel.protocol.effects import end_effects, suspend_effects
from tidemill.kernel.protocol.operations import (
    Ack,
    Append,
    Clock,
    Execute,
    GiveBack,
    Isolate,
    Procedure,
    Read,
    ReadLeader,
)
from tidemill.kernel.protocol.records import Claim, Fault, Record, Suspend
from tidemill.kernel.protocol.state import Phase, State, fold
from tidemill.kernel.protocol.tickets import Admission, Ticket, judge


@dataclass(slots=True)
class Session:
    """An owner's view of its run: the ticket, the claim, and the journal as far as it is known."""

    ticket: Ticket
    claim: Claim
    state: State
    policy: Policy
    records: int = 0

    def next_rid(self) -> str:
        """Return an id for the owner's next record, unique in the journal."""
        self.records += 1
        return f"{self.claim.rid}.{self.records}"


class Commit(Enum):
    """What came of a commit."""

    DONE = auto()
    LOST = auto()
    """Another claim owns the run, or it has ended: stop, and send nothing more."""
    NEWS = auto()
    """Something arrived in between: decide anew."""


def work(ticket: Ticket, policy: Policy, worker: str) -> Procedure[None]:
    """Carry a run as far as one ticket goes."""
    session = yield from admit(ticket, policy, worker)
    if session is not None:
        conclusion = yield from execute(session)
        yield from settle(session, conclusion)


def admit(ticket: Ticket, policy: Policy, worker: str) -> Procedure[Session | None]:
    """Become the owner of the ticket's run, or do what the ticket calls for instead and return None.

    What isn't a claim is decided on the leader's answer alone: a replica's may be stale (A7).
    """
    claim = Claim(
        rid=ticket.delivery,
        q=ticket.q,
        n=ticket.delivered,
        worker=worker,
        timer=ticket.kind == "timer",
        at=ticket.now,
    )
    if ticket.created is not None and ticket.delivered == 1:
        state = State()
        state.apply(ticket.seq, ticket.created, ticket.at)
        if (yield from claimed(ticket, claim, state, policy)):
            return Session(ticket, claim, state, policy)
    else:
        # What the ticket brings or any replica says will do for trying to claim: where it is stale, the
        # append is refused.
        known = ticket.known if ticket.delivered == 1 else ()
        state = fold(known or (yield Read(ticket.run)))
        may_claim = judge(state, ticket) is Admission.CLAIM
        if may_claim and (yield from claimed(ticket, claim, state, policy)):
            return Session(ticket, claim, state, policy)
    state = fold((yield ReadLeader(ticket.run)))
    while not owns(state, claim):
        admission = judge(state, ticket)
        if admission is not Admission.CLAIM:
            yield from decline(ticket, state, admission)
            return None
        if (yield from claimed(ticket, claim, state, policy)):
            break
        state = fold((yield ReadLeader(ticket.run)))
    return Session(ticket, claim, state, policy)


def claimed(ticket: Ticket, claim: Claim, state: State, policy: Policy) -> Procedure[bool]:
    """Try to append the claim behind the state's tail; fold it in when it worked.

    A suspect is claimed only once it is alone: as long as it waits, no death counts against it. What has
    happened meanwhile has moved the tail, so that the claim is refused.
    """
    if policy.suspects(state):
        yield Isolate()
    seq: int | None = yield Append(ticket.run, claim, state.tail)
    if seq is not None:
        state.apply(seq, claim)
    return seq is not None


def owns(state: State, claim: Claim) -> bool:
    """Say whether this claim is the newest one."""
    return state.phase is Phase.OWNED and state.owner is not None and state.owner.rid == claim.rid


def decline(ticket: Ticket, state: State, admission: Admission) -> Procedure[None]:
    """Do what a ticket calls for that entitles to no claim."""
    match admission:
        case Admission.IGNORE:
            return
        case Admission.REDO_SUSPEND:
            yield from suspend_effects(ticket.run, state)
        case Admission.REDO_END:
            yield from end_effects(ticket.run, state)
        case _:
            pass
    yield Ack()


def execute(session: Session) -> Procedure[Conclusion]:
    """Run the user's code, unless the run must not run any more."""
    state, policy = session.state, session.policy
    if state.cancel is not None:
        return Cancelled(state.cancel.reason)
    if state.claims > policy.max_crashes:
        return _crashed(state)
    expires_at = state.created.expires_at if state.created else None
    if expires_at is not None and state.epoch == state.created_seq:
        # A start whose worker died counts from its own time: what was too late then still is.
        began: float = state.started_at or (yield Clock())
        if began > expires_at:
            return Failed(EXPIRED, "expired", final=True)
    deadline = policy.deadline(state)
    if deadline is not None and max((yield Clock()), state.passed) >= deadline:
        sentence = f"it took longer than its max_duration of {policy.max_duration:g} s"
        return Failed(Fault("TimedOut", sentence, attempt=state.attempt), "timed_out", final=True)
    conclusion: Conclusion = yield Execute(session)
    return conclusion


def _crashed(state: State) -> Failed:
    died = state.claims - 1
    sentence = f"{died} workers that owned the run died without progress"
    return Failed(Fault("Crashed", sentence, attempt=state.attempt), "crashed", final=True)


def settle(session: Session, conclusion: Conclusion) -> Procedure[None]:
    """Write down what the execution came to, perform what follows from it, acknowledge the ticket."""
    run = session.ticket.run
    while not isinstance(conclusion, Lost):
        now: float = yield Clock()
        record = decide(session.state, conclusion, session.policy, now=now, rid=session.next_rid())
        outcome = yield from commit(session, record)
        if outcome is Commit.NEWS:
            continue
        if outcome is Commit.LOST:
            return
        if isinstance(conclusion, Interrupted):
            yield GiveBack()
            return
        if isinstance(record, Suspend):
            yield from suspend_effects(run, session.state)
        else:
            yield from end_effects(run, session.state)
        yield Ack()
        return


def commit(session: Session, record: Record) -> Procedure[Commit]:
    """Append an owner's record; on a conflict read what is new, and stop where the run is lost.

    An owner that has read of its loss (behind a lost answer, or by `refresh`) knows a tail at which its
    append would be accepted: it must not even try.
    """
    if not owns(session.state, session.claim):
        return Commit.LOST
    seq: int | None = yield Append(session.ticket.run, record, session.state.tail)
    if seq is not None:
        session.state.apply(seq, record)
        return Commit.DONE
    yield from refresh(session)
    if record.rid in session.state.rids:
        return Commit.DONE
    return Commit.NEWS if owns(session.state, session.claim) else Commit.LOST


def remember(
    session: Session, record: Record, unless: Callable[[State], bool] | None = None
) -> Procedure[Commit]:
    """Append what the owner's code has come to, behind whatever news there is.

    News that make `unless` true are its caller's to decide on: then nothing was appended. The handler's
    code goes on meanwhile, so that several of these may be under way: one at a time.
    """
    while True:
        outcome = yield from commit(session, record)
        if outcome is Commit.DONE and not owns(session.state, session.claim):
            return Commit.LOST
        if outcome is not Commit.NEWS or (unless is not None and unless(session.state)):
            return outcome


def refresh(session: Session) -> Procedure[bool]:
    """Read what is new in the run's journal; False: the run is lost.

    Where there is nothing new the whole is read: the journal may have been closed.
    """
    run, state = session.ticket.run, session.state
    if not state.extend((yield ReadLeader(run, state.tail))):
        session.state = fold((yield ReadLeader(run)))
    return owns(session.state, session.claim)
