"""Broken rules, to be planted one at a time: each is a flaw of a simpler design, or of an earlier version."""

from __future__ import annotations

from typing import Any

from tests.model.broker import Broker, Outcome
from tests.model.journal import Log
from tests.model.world import Actor, Message, World
from tidemill.kernel.protocol import attempt, closer, mailman, sweeper, tickets
from tidemill.kernel.protocol.attempt import Commit, Session
from tidemill.kernel.protocol.conclusions import Conclusion, Policy, ending
from tidemill.kernel.protocol.operations import (
    Ack,
    Append,
    Bury,
    CancelTimer,
    Execute,
    Exhume,
    Procedure,
    Read,
    ReadLeader,
    Schedule,
    SendTicket,
)
from tidemill.kernel.protocol.records import Claim, Record
from tidemill.kernel.protocol.state import Phase, State, fold
from tidemill.kernel.protocol.tickets import Admission, Ticket

right_judge, right_close, right_settle = tickets.judge, closer.close, attempt.settle
right_deliver, right_respond, right_execute = mailman.deliver, mailman.respond, attempt.execute


class OneTicketPerRun(Broker):
    """F4: a ticket is refused while another one of the run is stored."""

    def store_ticket(self, world: World, run: int, seq: int, kind: str, **brought: Any) -> World:
        stored = world.stored("tickets", run)
        return world if stored else super().store_ticket(world, run, seq, kind, **brought)


class MessageIdOfTheRun(Broker):
    """F4: a ticket's Msg-Id names the run and not the record that it continues."""

    def ticket_id(self, send: SendTicket) -> tuple[str, int, Any] | None:
        return ("ticket", self.numbers[send.run], 0) if send.once else None


class TicketsReplaced(Broker):
    """F10: a ticket takes the place of another one that may be in flight."""

    def store_ticket(self, world: World, run: int, seq: int, kind: str, **brought: Any) -> World:
        for ticket in world.stored("tickets", run):
            world = world.with_message(ticket, None)
        return super().store_ticket(world, run, seq, kind, **brought)


class OneTimerPerRun(Broker):
    """A run's timer isn't told by its record: setting one replaces another, and cancelling removes any."""

    def _schedule(self, world: World, actor: Actor, schedule: Schedule) -> Outcome:
        return super()._schedule(world._replace(timers=()), actor, schedule)

    def _cancel_timer(self, world: World, _actor: Actor, _cancel: CancelTimer) -> Outcome:
        return world._replace(timers=()), None


class ScheduleWithMessageId(Broker):
    """F11: a schedule carries a Msg-Id, so that the next one within the window is dropped."""

    def _schedule(self, world: World, actor: Actor, schedule: Schedule) -> Outcome:
        known = ("timer", self.numbers[schedule.run], 0)
        if known in world.ids:
            return world, None
        return super()._schedule(world._replace(ids=world.ids | {known}), actor, schedule)


class AcknowledgedAtDelivery(Broker):
    """F3: who brings a signal isn't redelivered when he dies on the way."""

    def deliver(self, world: World, message: Message) -> tuple[World, Message]:
        world, leased = super().deliver(world, message)
        return (world.with_message(leased, None) if message.stream == "signals" else world), leased


class LeaderLagsToo(Broker):
    """F5: what should come from the leader is answered by a replica."""

    stale_reads = (Read, ReadLeader)


class SignalsNeedASlot(Broker):
    """F15: signals come through the task's consumer, and so wait for a slot."""

    def deliverable(self, world: World, message: Message) -> bool:
        busy = sum(actor.stream == "tickets" for actor in world.actors)
        free = message.stream != "signals" or busy < self.scenario.workers
        return free and super().deliverable(world, message)


class DeliveredOnceOnly(Broker):
    """F16: max_deliver is reached, and the ticket stays stored and undelivered."""

    def deliverable(self, world: World, message: Message) -> bool:
        spent = message.stream == "tickets" and message.delivered > 0
        return not spent and super().deliverable(world, message)


class EndDeletedFirst(Broker):
    """A closer deletes a journal's records in any order and dies on the way."""

    def half_closed(self, log: Log) -> list[Log]:
        return [log.close(log.entries[:1])]


class NoLetterBeforeReopening(Broker):
    """The mailman reopens a run without taking the id of its dead letter."""

    def _bury(self, world: World, actor: Actor, bury: Bury) -> Outcome:
        return (world, None) if actor.stream == "signals" else super()._bury(world, actor, bury)


class AllLettersExhumed(Broker):
    """Whoever takes a dead letter back takes all of the run's, later ones too."""

    def _exhume(self, world: World, _actor: Actor, _exhume: Exhume) -> Outcome:
        return world._replace(letters=()), None


def judge_absent_runs(state: State, ticket: Ticket) -> Admission:
    """F1: an empty journal is a new run."""
    return Admission.CLAIM if state.phase is Phase.ABSENT else right_judge(state, ticket)


def judge_by_count(state: State, ticket: Ticket) -> Admission:
    """F6: a first delivery proves that nobody owns the run."""
    first = state.phase is Phase.OWNED and ticket.delivered == 1
    return Admission.CLAIM if first else right_judge(state, ticket)


def judge_takes_over(state: State, ticket: Ticket) -> Admission:
    """F7: whoever has a ticket may take the run over."""
    return Admission.CLAIM if state.phase is Phase.OWNED else right_judge(state, ticket)


def judge_never_redoes(state: State, ticket: Ticket) -> Admission:
    """F8: a ticket of an earlier record is stale, whoever suspended by it."""
    admission = right_judge(state, ticket)
    return Admission.ACKNOWLEDGE if admission is Admission.REDO_SUSPEND else admission


def judge_redoes_own(state: State, ticket: Ticket) -> Admission:
    """Only the suspender's own ticket sets the timer again, an old timer's doesn't."""
    own = state.wait is not None and state.wait.q == ticket.q
    return right_judge(state, ticket) if own else judge_never_redoes(state, ticket)


def close_unrouted(
    mark: closer.Mark, keeping: closer.Keeping, *, routed: int, now: float
) -> Procedure[closer.Closing]:
    """F1: the closer doesn't ask whether the event may be delivered again."""
    return right_close(mark, keeping, routed=max(routed, mark.event_seq), now=now)


def close_never(
    _mark: closer.Mark, _keeping: closer.Keeping, *, routed: int, now: float
) -> Procedure[closer.Closing]:
    """F17: ended journals stay open."""
    yield from ()
    return closer.Closing.LATER if routed <= now else closer.Closing.DONE


def respond_creates(state: State, signal: mailman.Signal) -> Record | mailman.Answer:
    """F1: a signal to a run that is gone makes a journal of it."""
    if state.phase is Phase.ABSENT:
        return ending(state, signal.id, "cancelled")
    return right_respond(state, signal)


def deliver_and_leave(signal: mailman.Signal) -> Procedure[mailman.Answer]:
    """F17: signals to ended runs are left in their stream."""
    procedure = right_deliver(signal)
    result: Any = None
    try:
        while True:
            operation = procedure.send(result)
            if isinstance(operation, Ack):
                return "gone"
            result = yield operation
    except StopIteration as stop:
        answer: mailman.Answer = stop.value
        return answer


def settle_and_acknowledge(session: Session, conclusion: Conclusion) -> Procedure[None]:
    """F2: who has lost the run acknowledges its ticket."""
    yield from right_settle(session, conclusion)
    yield Ack()


def commit_blindly(session: Session, record: Record) -> Procedure[Commit]:
    """F9: a refused record is appended again without a look at the news."""
    while True:
        seq: int | None = yield Append(session.ticket.run, record, session.state.tail)
        if seq is not None:
            session.state.apply(seq, record)
            return Commit.DONE
        session.state = fold((yield ReadLeader(session.ticket.run)))
        if not right_owns(session.state, session.claim):
            return Commit.LOST


right_owns, right_claimed, right_end_effects = attempt.owns, attempt.claimed, attempt.end_effects


def owns_nothing(_state: State, _claim: Claim) -> bool:
    """F12: a writer doesn't recognise its own record behind a lost acknowledgement."""
    return False


def claimed_in_company(ticket: Ticket, claim: Claim, state: State, _policy: Policy) -> Procedure[bool]:
    """The run whose next owner may be the last to die is claimed beside others."""
    return right_claimed(ticket, claim, state, Policy(max_crashes=0))


def claimed_silently(_ticket: Ticket, claim: Claim, state: State, _policy: Policy) -> Procedure[bool]:
    """F13: an attempt begins without a record."""
    yield from ()
    state.apply(state.tail, claim)
    return True


def execute_if_begun(session: Session) -> Procedure[Conclusion]:
    """A run whose first worker died is executed, however late."""
    if session.state.starts > 1:
        conclusion: Conclusion = yield Execute(session)
    else:
        conclusion = yield from right_execute(session)
    return conclusion


def end_effects_with_timer(run: str, state: State) -> Procedure[None]:
    """An end that may be reopened cancels the run's timer."""
    yield from right_end_effects(run, state)
    yield CancelTimer(run, state.task, state.epoch)


def effects_if_ready(signal: mailman.Signal, state: State) -> Procedure[None]:
    """The dead letter is taken back only while the run hasn't gone on."""
    if state.phase is Phase.READY and state.epoch_rid == signal.id:
        yield Exhume(signal.run, state.task, state.end_seq)
        yield SendTicket(signal.run, state.task, state.epoch, "signal", once=True)


def expire_without_a_ticket(run: str, state: State, rid: str) -> Procedure[sweeper.Sweep]:
    """The sweeper ends a run that nothing carries, and so nothing repeats the effects should it die."""
    record = ending(state, rid, "expired", fault=sweeper.EXPIRED)
    if (yield Append(run, record, state.tail)) is None:
        return sweeper.Sweep.NOTHING
    state.apply(state.tail + 1, record)
    yield from sweeper.end_effects(run, state)
    return sweeper.Sweep.END


def overdue_although_begun(state: State, *, now: float) -> bool:
    """Whether a run has begun doesn't count."""
    created = state.created
    living = state.phase in (Phase.READY, Phase.OWNED, Phase.SUSPENDED)
    return living and created is not None and created.expires_at is not None and now > created.expires_at
