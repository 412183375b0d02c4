"""What the broker and user code make of each operation: a world and an actor in, world and result out.

The rules are those measured on nats-server (docs/protocol.md): acknowledgements are keyed by the message,
not by the delivery; a timer's ticket is never deduplicated; an acknowledged ticket's Msg-Id may be forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tests.model.journal import Log
from tests.model.parts import Listen, Perform
from tests.model.scenarios import HOOKS, RUN, Scenario
from tests.model.world import Actor, Fault, Message, Timer, World
from tidemill.kernel.protocol.closer import Closing
from tidemill.kernel.protocol.forking import find_point
from tidemill.kernel.protocol.inheritance import Point
from tidemill.kernel.protocol.operations import (
    Ack,
    Append,
    Bury,
    CancelRuns,
    CancelTimer,
    Close,
    DeadLettered,
    Execute,
    Exhume,
    GiveBack,
    Isolate,
    JournalOpen,
    Read,
    ReadLeader,
    Schedule,
    SendTicket,
    Tell,
    TicketOutstanding,
    TimerPending,
)
from tidemill.kernel.protocol.records import End
from tidemill.kernel.protocol.state import Phase

Outcome = tuple[World, Any]
"""The world behind an operation, and the operation's result."""

USER_CODE = (Execute, Perform)
"""The operations by which user code is executed."""


class Numbers(dict[str, int]):
    """The numbers of runs; one that isn't known by its id is that of hooks."""

    def __missing__(self, run: str) -> int:
        """Return the number of the hooks' run."""
        if run == HOOKS:
            raise KeyError(run)
        return self[HOOKS]


class Broker:
    """Performs operations; planted flaws override single rules."""

    stale_reads: tuple[type[Any], ...] = (Read,)
    """The operations that a replica may answer."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.numbers = Numbers((run, number) for number, run in enumerate(scenario.runs))
        self._rules: dict[type[Any], Callable[[World, Actor, Any], Outcome]] = {
            Read: self._read,
            ReadLeader: self._read,
            Append: self._append,
            SendTicket: self._send_ticket,
            Schedule: self._schedule,
            CancelTimer: self._cancel_timer,
            Bury: self._bury,
            Exhume: self._exhume,
            Ack: self._acknowledge,
            GiveBack: self._give_back,
            Tell: self._tell,
            CancelRuns: self._cancel_runs,
            TicketOutstanding: self._ticket_outstanding,
            TimerPending: self._timer_pending,
            DeadLettered: self._dead_lettered,
            JournalOpen: lambda world, _actor, asked: (world, self.log(world, asked.run).open),
            Close: self._close,
            Isolate: lambda world, _actor, _asked: (world, None),
        }

    def perform(self, world: World, actor: Actor) -> Iterable[Outcome]:
        """Return all that can come of the actor's operation when nothing goes wrong."""
        operation = actor.step.operation
        rule = self._rules.get(type(operation))
        if rule is not None:
            return (rule(world, actor, operation),)
        if isinstance(operation, Perform):
            told = ("done", "cancelled") if world.logs[actor.run].state.cancel is not None else ("done",)
            return [(world, result) for result in told]
        if isinstance(operation, Listen):
            heard = (False, True) if world.logs[actor.run].tail != operation.tail else (False,)
            return [(world, result) for result in heard]
        return self._execute(world, actor)

    def mistreat(self, world: World, actor: Actor) -> Iterator[Outcome]:
        """Yield all that can come of the actor's operation when one thing goes wrong."""
        operation, may = actor.step.operation, world.budget
        if isinstance(operation, self.stale_reads) and may[Fault.STALE]:
            for log in self.log(world, operation.run).past:
                yield world.spend(Fault.STALE), log
        elif isinstance(operation, Append) and may[Fault.UNANSWERED]:
            if self.log(world, operation.run).expected == operation.expect:
                yield self._append(world.spend(Fault.UNANSWERED), actor, operation)[0], None
        elif isinstance(operation, SendTicket) and may[Fault.DUPLICATE]:
            once = self._send_ticket(world.spend(Fault.DUPLICATE), actor, operation)[0]
            fast = operation.created is not None
            run = self.numbers[operation.run]
            known = tail_of(operation)
            yield self.store_ticket(once, run, operation.seq, operation.kind, fast=fast, known=known), None
        elif isinstance(operation, USER_CODE) and may[Fault.SHUTDOWN]:
            yield world.spend(Fault.SHUTDOWN), "interrupted"

    def deliverable(self, world: World, message: Message) -> bool:
        """Say whether a message may be delivered: nobody leases it, and its consumer has a free slot."""
        if message.out:
            return False
        if message.stream == "signals" and message.kind != "orphan" and world.logs[message.run].tail == 0:
            return False
        if message.stream == "forks" and not forkable(world.logs[message.run], message.kind):
            return False
        if message.stream == "ends" and message.kind == self.closing_facts(world, message.run):
            return False
        free = self.scenario.workers if message.stream == "tickets" else 1
        for actor in world.actors:
            free -= actor.stream == message.stream and world.leases(actor)
        return free > 0

    def deliver(self, world: World, message: Message) -> tuple[World, Message]:
        """Lease a message to somebody; return it as it is delivered."""
        kind = self.closing_facts(world, message.run) if message.stream == "ends" else message.kind
        leased = message._replace(out=True, delivered=message.delivered + 1, kind=kind)
        return world.with_message(message, leased), leased

    def fire(self, world: World, timer: Timer) -> World:
        """Publish the ticket of a pending timer."""
        world = world.with_timer(timer.run, timer.seq, None)
        return self.store_ticket(world, timer.run, timer.seq, "timer", fast=timer.fast, known=timer.known)

    def store_ticket(self, world: World, run: int, seq: int, kind: str, **brought: Any) -> World:
        """Store a ticket under the next sequence of its stream."""
        return world.store("tickets", run, seq=seq, kind=kind, **brought)

    def log(self, world: World, run: str) -> Log:
        """Return a run's journal."""
        return world.logs[self.numbers[run]]

    def release(self, world: World, actor: Actor) -> World:
        """Let the lease of an actor that is gone run out, unless somebody still renews it."""
        for other in actor.others:
            if other in world.messages:
                world = world.with_message(other, other._replace(out=False))
        message = world.message_of(actor)
        if message is None or any(world.message_of(other) is message for other in world.actors):
            return world
        if message.kind == "once" or actor.step.value is Closing.DONE:
            return world.with_message(message, None)
        kind = "" if message.stream == "ends" and actor.step.operation else message.kind
        return world.with_message(message, message._replace(out=False, kind=kind))

    def closing_facts(self, world: World, run: int) -> tuple[bool, ...]:
        """Return what a closer is put off by: it asks again when any of it has changed."""
        events = tickets = False
        for message in world.messages:
            events = events or message.stream == "events"
            tickets = tickets or (message.stream == "tickets" and message.run == run)
        letters = any(letter[0] == run for letter in world.letters)
        return (events, tickets, letters, world.logs[0].open)

    def _read(self, world: World, _actor: Actor, read: Read | ReadLeader) -> Outcome:
        return world, self.log(world, read.run)

    def _append(self, world: World, _actor: Actor, append: Append) -> Outcome:
        run, log = self.numbers[append.run], self.log(world, append.run)
        if log.expected != append.expect:
            return world, None
        log = log.append(append.record)
        world = world.with_log(run, log)
        if isinstance(append.record, End) and self.scenario.closing:
            world = world.with_message(None, Message("ends", run, log.tail, log.tail))
        return world, log.tail

    def _send_ticket(self, world: World, _actor: Actor, send: SendTicket) -> Outcome:
        key, run = self.ticket_id(send), self.numbers[send.run]
        if key in world.ids:
            # The broker drops a duplicate whole: the timer that it was to cancel stays.
            return world, None
        if send.cancels_timer:
            world = world.with_timer(run, send.seq, None)
        if key is not None:
            world = world._replace(ids=world.ids | {key})
        fast, known = send.created is not None, tail_of(send)
        return self.store_ticket(world, run, send.seq, send.kind, fast=fast, known=known), None

    def ticket_id(self, send: SendTicket) -> tuple[str, int, Any] | None:
        """Return the Msg-Id of a ticket."""
        return ("ticket", self.numbers[send.run], send.seq) if send.once else None

    def _schedule(self, world: World, _actor: Actor, schedule: Schedule) -> Outcome:
        run = self.numbers[schedule.run]
        timer = Timer(run, schedule.seq, schedule.created is not None, tail_of(schedule))
        return world.with_timer(run, schedule.seq, timer), None

    def _cancel_timer(self, world: World, _actor: Actor, cancel: CancelTimer) -> Outcome:
        return world.with_timer(self.numbers[cancel.run], cancel.seq, None), None

    def _timer_pending(self, world: World, _actor: Actor, asked: TimerPending) -> Outcome:
        run = self.numbers[asked.run]
        return world, any((timer.run, timer.seq) == (run, asked.seq) for timer in world.timers)

    def _ticket_outstanding(self, world: World, _actor: Actor, asked: TicketOutstanding) -> Outcome:
        return world, bool(world.stored("tickets", self.numbers[asked.run]))

    def _tell(self, world: World, _actor: Actor, tell: Tell) -> Outcome:
        return self.send(world, self.numbers[tell.run], tell.item, tell.item.id), None

    def _cancel_runs(self, world: World, _actor: Actor, cancel: CancelRuns) -> Outcome:
        for run in cancel.runs:
            world = self.send(world, self.numbers[run], "orphan", "orphan")
        return world, None

    def send(self, world: World, run: int, kind: Any, key: str) -> World:
        """Store a signal, once for each id."""
        known = ("signal", run, key)
        if known in world.ids:
            return world
        return world._replace(ids=world.ids | {known}).store("signals", run, kind=kind)

    def _bury(self, world: World, _actor: Actor, bury: Bury) -> Outcome:
        run = self.numbers[bury.run]
        key = ("letter", run, bury.seq)
        if key in world.ids:
            return world, None
        letters = tuple(sorted({*world.letters, (run, bury.seq)}))
        return world._replace(letters=letters, ids=world.ids | {key}), None

    def _exhume(self, world: World, _actor: Actor, exhume: Exhume) -> Outcome:
        gone = (self.numbers[exhume.run], exhume.seq)
        return world._replace(letters=tuple(letter for letter in world.letters if letter != gone)), None

    def _dead_lettered(self, world: World, _actor: Actor, asked: DeadLettered) -> Outcome:
        return world, any(letter[0] == self.numbers[asked.run] for letter in world.letters)

    def _acknowledge(self, world: World, actor: Actor, _operation: Ack) -> Outcome:
        return world.without(actor), None

    def _give_back(self, world: World, actor: Actor, _operation: GiveBack) -> Outcome:
        message = world.message_of(actor)
        return world.with_message(message, message._replace(out=False) if message else None), None

    def _close(self, world: World, _actor: Actor, close: Close) -> Outcome:
        run, log = self.numbers[close.run], self.log(world, close.run)
        if self.closes(world, close):
            return world.with_log(run, log.close()), True
        if log.state.phase is Phase.CLOSED:
            return world.with_log(run, log.clear()), True
        return world, False

    def closes(self, world: World, close: Close) -> bool:
        """Say whether a journal's tail is the one that its closer knows."""
        log = self.log(world, close.run)
        return bool(log.entries) and log.expected == close.expect

    def half_closed(self, log: Log) -> list[Log]:
        """Return what a closer can leave that dies among its deletions: the end is the last of them."""
        return [log.close(log.entries), log.close(log.entries[-1:])]

    def _execute(self, world: World, actor: Actor) -> Iterator[Outcome]:
        script = self.scenario.outcomes
        outcome = script[min(actor.step.failures, len(script) - 1)]
        if outcome != "endless":
            yield world, outcome
        if world.logs[actor.run].state.cancel is not None:
            yield world, "cancelled"


def forkable(log: Log, at: str) -> bool:
    """Say whether a run can be forked at a point, or never more: who asks has seen it there."""
    return bool(log.tail) and (not log.open or isinstance(find_point(RUN, log.entries, at or None), Point))


def tail_of(operation: SendTicket | Schedule) -> int:
    """Return the tail of the journal that a ticket brings along, 0 where it brings none."""
    return operation.known[-1].seq if operation.known else 0
