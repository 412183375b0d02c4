"""Broken rules about waits, news and children, to be planted one at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.model.broker import Broker, Outcome
from tests.model.journal import NOW
from tests.model.parts import CHILD_TASK, Execution, Join, child_record, run_of
from tests.model.world import Actor, World
from tidemill.kernel.protocol import attempt, creation, mailman, tickets
from tidemill.kernel.protocol.attempt import Commit, Session, owns
from tidemill.kernel.protocol.conclusions import Conclusion
from tidemill.kernel.protocol.operations import (
    Ack,
    Append,
    Execute,
    JournalOpen,
    Procedure,
    ReadLeader,
    Schedule,
    SendTicket,
    Tell,
)
from tidemill.kernel.protocol.records import Created, Item, News, Record, Spawned
from tidemill.kernel.protocol.state import Phase, State, fold
from tidemill.kernel.protocol.tickets import Admission, Ticket

right_judge, right_respond, right_create_child = tickets.judge, mailman.respond, creation.create_child
right_end_effects, right_bring = attempt.end_effects, mailman.bring


class EveryNewsWakes(Broker):
    """A wake-up carries no Msg-Id: whoever has news for a satisfied run wakes it once more."""

    def ticket_id(self, send: SendTicket) -> tuple[str, int, Any] | None:
        return None if send.kind == "signal" else super().ticket_id(send)


class ChildrenClosedEarly(Broker):
    """F14: a child's journal is closed whatever its parent may still ask for."""

    def perform(self, world: World, actor: Actor) -> Any:
        if isinstance(actor.step.operation, JournalOpen):
            yield world, False
        else:
            yield from super().perform(world, actor)


class ToldOnce(Broker):
    """A child's end is told by a plain message, which is lost where its parent isn't executing."""

    def _tell(self, world: World, actor: Actor, tell: Tell) -> Outcome:
        awake = self.log(world, tell.run).state.phase is Phase.OWNED
        return super()._tell(world, actor, tell) if awake else (world, None)


def commit_anywhere(session: Session, record: Record) -> Procedure[Commit]:
    """F2: who has read of its loss appends behind what it has read."""
    seq: int | None = yield Append(session.ticket.run, record, session.state.tail)
    if seq is not None:
        session.state.apply(seq, record)
        return Commit.DONE
    session.state = fold((yield ReadLeader(session.ticket.run)))
    if record.rid in session.state.rids:
        return Commit.DONE
    return Commit.NEWS if owns(session.state, session.claim) else Commit.LOST


def remember_carelessly(session: Session, record: Record, _unless: Any = None) -> Procedure[Commit]:
    """F2: whose record stands goes on, whoever owns the run by now."""
    while True:
        outcome = yield from commit_anywhere(session, record)
        if outcome is not Commit.NEWS:
            return outcome


def suspend_effects_unread(run: str, state: State) -> Procedure[None]:
    """F9: news that came before the suspension wake nobody."""
    if state.wait is not None and state.wait.until is not None:
        yield Schedule(run, state.task, state.epoch, state.wait.until)


def judge_ends_finally(state: State, ticket: Ticket) -> Admission:
    """F8: the ticket of a run that has ended is done, whoever died before the end was told."""
    admission = right_judge(state, ticket)
    return Admission.ACKNOWLEDGE if admission is Admission.REDO_END else admission


def bring_hastily(run: str, items: Sequence[Item]) -> Procedure[None]:
    """F3: news are acknowledged before their run is woken."""
    state = fold((yield ReadLeader(run)))
    while fresh := tuple(item for item in items if item.id not in state.rids):
        if state.created is None or state.end is not None:
            break
        news = News(rid=f"news-{fresh[0].id}", items=fresh)
        seq: int | None = yield Append(run, news, state.tail)
        if seq is not None:
            state.apply(seq, news)
        else:
            state = fold((yield ReadLeader(run)))
    yield Ack()
    if state.phase is Phase.SUSPENDED and state.satisfied:
        yield SendTicket(run, state.task, state.epoch, "signal", once=True, cancels_timer=True)


def bring_late(run: str, items: Sequence[Item]) -> Procedure[None]:
    """News that come before somebody waits for them are dropped."""
    state = fold((yield ReadLeader(run)))
    if state.phase is Phase.SUSPENDED:
        yield from right_bring(run, items)
    else:
        yield Ack()


def respond_to_the_living(state: State, signal: mailman.Signal) -> Record | mailman.Answer:
    """The cancellation of a child that isn't there yet is done."""
    return "gone" if state.phase is Phase.ABSENT else right_respond(state, signal)


def create_child_only(run: str, created: Created) -> Procedure[Item | None]:
    """A parent that was reopened doesn't look whether its children have ended."""
    yield from right_create_child(run, created)
    return None


def spawn_unannounced(self: Join, execution: Execution) -> Procedure[None]:
    """Children are created before the journal says so."""
    for index in range(self.count):
        created = child_record(execution.run, self.key, index)
        yield from right_create_child(run_of(execution.run, self.key, index), created)
    if self.key not in execution.state.spawned:
        yield from execution.remember(Spawned(rid="", key=self.key, task=CHILD_TASK, count=self.count))


def end_effects_without_children(run: str, state: State) -> Procedure[None]:
    """A cancellation ends at the run itself."""
    spawned, state.spawned = state.spawned, {}
    yield from right_end_effects(run, state)
    state.spawned = spawned


def execute_by_the_clock(session: Session) -> Procedure[Conclusion]:
    """The whole time of a run is over when its worker's clock says so."""
    conclusion: Conclusion = yield Execute(session)
    return conclusion


own_clock = property(lambda _execution: NOW)
"""What time it is, by the clock of a worker that lags behind the broker's."""
