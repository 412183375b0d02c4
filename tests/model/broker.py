"""What the broker and user code make of each operation: a world and an actor in, world and result out.

The rules are those measured on nats-server (docs/protocol.md): acknowledgements are keyed by the message,
not by the delivery; a timer's ticket is never deduplicated; an acknowledged ticket's Msg-Id may be forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from tests.model.journal import Log
from tests.model.scenarios import Scenario
from tests.model.world import Actor, Fault, Message, Timer, World
from tidemill.kernel.protocol.closer import Closing
from tidemill.kernel.protocol.operations import (
    Ack,
    Append,
    Bury,
    CancelTimer,
    Close,
    DeadLettered,
    Execute,
    Exhume,
    GiveBack,
    Isolate,
    Read,
    ReadLeader,
    Schedule,
    SendTicket,
    TicketOutstanding,
    TimerPending,
)
from tidemill.kernel.protocol.records import End
from tidemill.kernel.protocol.state import Phase

Outcome = tuple[World, Any]
"""The world behind an operation, and the operation's result."""


class Broker:
    """Performs operations; planted flaws override single rules."""

    stale_reads: tuple[type[Any], ...] = (Read,)
    """The operations that a replica may answer."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
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
            TicketOutstanding: lambda world, _actor, _asked: (world, bool(world.stored("tickets"))),
            TimerPending: self._timer_pending,
            DeadLettered: lambda world, _actor, _asked: (world, bool(world.letters)),
            Close: self._close,
            Isolate: lambda world, _actor, _asked: (world, None),
        }

    def perform(self, world: World, actor: Actor) -> Iterator[Outcome]:
        """Yield all that can come of the actor's operation when nothing goes wrong."""
        operation = actor.step.operation
        if isinstance(operation, Execute):
            yield from self._execute(world, actor)
        else:
            yield self._rules[type(operation)](world, actor, operation)

    def mistreat(self, world: World, actor: Actor) -> Iterator[Outcome]:
        """Yield all that can come of the actor's operation when one thing goes wrong."""
        operation, may = actor.step.operation, world.budget
        if isinstance(operation, self.stale_reads) and may[Fault.STALE]:
            for log in world.log.past:
                yield world.spend(Fault.STALE), log
        elif isinstance(operation, Append) and may[Fault.UNANSWERED]:
            if world.log.expected == operation.expect:
                yield self._append(world.spend(Fault.UNANSWERED), actor, operation)[0], None
        elif isinstance(operation, SendTicket) and may[Fault.DUPLICATE]:
            once = self._send_ticket(world.spend(Fault.DUPLICATE), actor, operation)[0]
            fast = operation.created is not None
            yield self.store_ticket(once, operation.seq, operation.kind, fast=fast), None
        elif isinstance(operation, Execute) and may[Fault.SHUTDOWN]:
            yield world.spend(Fault.SHUTDOWN), "interrupted"

    def deliverable(self, world: World, message: Message) -> bool:
        """Say whether a message may be delivered: nobody leases it, and its consumer has a free slot."""
        if message.out or (message.stream == "signals" and world.log.tail == 0):
            return False
        if message.stream == "ends" and message.kind == self.closing_facts(world):
            return False
        busy = sum(actor.stream == message.stream and world.leases(actor) for actor in world.actors)
        return busy < (self.scenario.workers if message.stream == "tickets" else 1)

    def deliver(self, world: World, message: Message) -> tuple[World, Message]:
        """Lease a message to somebody; return it as it is delivered."""
        kind = self.closing_facts(world) if message.stream == "ends" else message.kind
        leased = message._replace(out=True, delivered=message.delivered + 1, kind=kind)
        return world.with_message(message, leased), leased

    def fire(self, world: World, timer: Timer) -> World:
        """Publish the ticket of a pending timer."""
        return self.store_ticket(world.with_timer(timer.seq, None), timer.seq, "timer", fast=timer.fast)

    def store_ticket(self, world: World, seq: int, kind: str, *, fast: bool) -> World:
        """Store a ticket under the next sequence of its stream."""
        ticket = Message("tickets", world.next_q, seq, kind, fast)
        return world.with_message(None, ticket)._replace(next_q=world.next_q + 1)

    def release(self, world: World, actor: Actor) -> World:
        """Let the lease of an actor that is gone run out, unless somebody still renews it."""
        message = world.message_of(actor)
        renewed = any((other.stream, other.q) == (actor.stream, actor.q) for other in world.actors)
        if message is None or renewed:
            return world
        if message.kind == "once" or actor.step.value is Closing.DONE:
            return world.with_message(message, None)
        kind = "" if message.stream == "ends" and actor.step.operation else message.kind
        return world.with_message(message, message._replace(out=False, kind=kind))

    def closing_facts(self, world: World) -> tuple[bool, ...]:
        """Return what a closer is put off by: it asks again when any of it has changed."""
        return (bool(world.stored("events")), bool(world.stored("tickets")), bool(world.letters))

    def _read(self, world: World, _actor: Actor, _operation: Read | ReadLeader) -> Outcome:
        return world, world.log

    def _append(self, world: World, _actor: Actor, append: Append) -> Outcome:
        if world.log.expected != append.expect:
            return world, None
        world = world._replace(log=world.log.append(append.record))
        if isinstance(append.record, End) and self.scenario.closing:
            world = world.with_message(None, Message("ends", world.log.tail, world.log.tail))
        return world, world.log.tail

    def _send_ticket(self, world: World, _actor: Actor, send: SendTicket) -> Outcome:
        key = self.ticket_id(send)
        if key in world.ids:
            # The broker drops a duplicate whole: the timer that it was to cancel stays.
            return world, None
        if send.cancels_timer:
            world = world.with_timer(send.seq, None)
        if key is not None:
            world = world._replace(ids=world.ids | {key})
        return self.store_ticket(world, send.seq, send.kind, fast=send.created is not None), None

    def ticket_id(self, send: SendTicket) -> tuple[str, int] | None:
        """Return the Msg-Id of a ticket."""
        return ("ticket", send.seq) if send.once else None

    def _schedule(self, world: World, _actor: Actor, schedule: Schedule) -> Outcome:
        return world.with_timer(schedule.seq, Timer(schedule.seq, schedule.created is not None)), None

    def _cancel_timer(self, world: World, _actor: Actor, cancel: CancelTimer) -> Outcome:
        return world.with_timer(cancel.seq, None), None

    def _timer_pending(self, world: World, _actor: Actor, asked: TimerPending) -> Outcome:
        return world, any(timer.seq == asked.seq for timer in world.timers)

    def _bury(self, world: World, _actor: Actor, bury: Bury) -> Outcome:
        key = ("letter", bury.seq)
        if key in world.ids:
            return world, None
        letters = tuple(sorted({*world.letters, bury.seq}))
        return world._replace(letters=letters, ids=world.ids | {key}), None

    def _exhume(self, world: World, _actor: Actor, exhume: Exhume) -> Outcome:
        return world._replace(letters=tuple(seq for seq in world.letters if seq != exhume.seq)), None

    def _acknowledge(self, world: World, actor: Actor, _operation: Ack) -> Outcome:
        return world.with_message(world.message_of(actor), None), None

    def _give_back(self, world: World, actor: Actor, _operation: GiveBack) -> Outcome:
        message = world.message_of(actor)
        return world.with_message(message, message._replace(out=False) if message else None), None

    def _close(self, world: World, _actor: Actor, close: Close) -> Outcome:
        if self.closes(world, close):
            return world._replace(log=world.log.close()), True
        if world.log.state.phase is Phase.CLOSED:
            return world._replace(log=world.log.clear()), True
        return world, False

    def closes(self, world: World, close: Close) -> bool:
        """Say whether a journal's tail is the one that its closer knows."""
        return bool(world.log.entries) and world.log.expected == close.expect

    def half_closed(self, log: Log) -> list[Log]:
        """Return what a closer can leave that dies among its deletions: the end is the last of them."""
        return [log.close(log.entries), log.close(log.entries[-1:])]

    def _execute(self, world: World, actor: Actor) -> Iterator[Outcome]:
        script = self.scenario.outcomes
        outcome = script[min(actor.step.failures, len(script) - 1)]
        if outcome != "endless":
            yield world, outcome
        if world.log.state.cancel is not None:
            yield world, "cancelled"
