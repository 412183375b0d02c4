"""A worker's desk for one task: tickets come in, attempts are made, places are given back."""

from __future__ import annotations

import asyncio
import logging
import time

from consumers.execution import Execution
from consumers.held import Held
from consumers.loader import AnyTask
from consumers.role import bury
from consumers.shared import Shared, look_at_journal
from tidemill.kernel.errors import BrokerError, PayloadError
from tidemill.kernel.jetstream.pull import Delivery
from tidemill.kernel.protocol import ticket_body
from tidemill.kernel.protocol.attempt import Session, work
from tidemill.kernel.protocol.conclusions import Conclusion, Interrupted, Lost, Policy
from tidemill.kernel.protocol.tickets import Ticket
from tidemill.kernel.subjects import unescape

UNREADABLE_LIMIT = 5
"""Deliveries after which a ticket that can't be worked on becomes a dead letter."""
_log = logging.getLogger(__name__)


class Desk:
    """Takes the tickets of one task (under its id or an alias)."""

    def __init__(self, task: AnyTask, shared: Shared) -> None:
        self._task = task
        self._shared = shared
        retry = task.definition.retry
        self._policy = Policy(
            retry.max_attempts,
            retry.factor,
            retry.min_delay,
            retry.max_delay,
            jitter=retry.jitter,
            max_crashes=shared.max_crashes,
            max_duration=task.definition.max_duration,
        )

    def accept(self, delivery: Delivery) -> None:
        """Take one ticket in; the puller calls this."""
        self._shared.spawn(self._guarded(delivery), f"task {self._task.id}")

    async def _guarded(self, delivery: Delivery) -> None:
        try:
            await self._work(delivery)
        except BrokerError as error:
            # Nothing was acknowledged: the ticket comes again when its lease has run out.
            _log.warning("%s waits: %s", delivery.subject, error.sentence)
        except PayloadError as error:
            _log.error("%s can't be read: %s", delivery.subject, error.sentence)
            await self._give_up(delivery, error.sentence)
        except Exception as error:  # noqa: BLE001 - it must not come again and again for ever
            _log.error("%s can't be worked on", delivery.subject, exc_info=error)
            await self._give_up(delivery, f"{type(error).__name__}: {error}")
        finally:
            self._shared.budget.give_back()

    async def _work(self, delivery: Delivery) -> None:
        ticket = self._ticket(delivery)
        shared = self._shared
        since = shared.arrival()
        if time.monotonic() - since > shared.leases.lease:
            return  # it lay in the socket of a worker that was blocked or frozen: it comes again
        for other in shared.held_for(ticket.run):
            if other.adopts(delivery):
                return
        held = Held(delivery, ticket.run, shared.leases)
        own = asyncio.current_task()
        if own is None:
            raise AssertionError("a ticket is worked on in a task")
        own.set_name(f"task {self._task.id}, run {ticket.run}")
        loop = asyncio.get_running_loop()

        def expired() -> None:
            loop.call_soon_threadsafe(self._expired, held, own)

        held.hold(expired, since)
        shared.take_in(held)
        try:
            await self._carry(ticket, held)
        finally:
            shared.let_go(held)

    async def _carry(self, ticket: Ticket, held: Held) -> None:
        """Do what the ticket calls for; the place is held until nothing executes under it."""

        async def execute(session: Session) -> Conclusion:
            return await self._execute(session, held)

        async def isolate() -> None:
            _log.warning(
                "%s may be what its workers died of: no other such run is executed beside it", held.run
            )
            await self._shared.isolation.enter(held)

        procedure = work(ticket, self._policy, self._shared.worker)
        await self._shared.performer.run(procedure, held, execute, isolate)
        await held.settled()

    async def _execute(self, session: Session, held: Held) -> Conclusion:
        """Execute the handler as the run's owner; whoever owned it before in this worker has lost it."""
        for other in self._shared.held_for(held.run):
            if other is not held and other.execution is not None:
                other.execution.stop(Lost())
        if self._shared.interrupted:
            return Interrupted()
        held.execution = Execution(self._task, session, self._shared.tools)
        self._shared.executions[session.claim.rid] = held
        try:
            return await held.execution.conclude()
        finally:
            del self._shared.executions[session.claim.rid]

    def _ticket(self, delivery: Delivery) -> Ticket:
        """Read a delivered ticket.

        Raises:
            PayloadError: the message is no ticket.
        """
        shared = self._shared
        try:
            _, task, run, seq = shared.names.tokens(delivery.subject)
            position = int(seq)
        except ValueError as error:
            raise PayloadError(f"{delivery.subject} is no ticket's subject") from error
        kind, record, known = ticket_body.read(delivery.body)
        return Ticket(
            run=run,
            task=unescape(task),
            seq=position,
            q=delivery.stream_seq,
            delivered=delivery.attempt,
            delivery=f"{shared.worker}-{next(shared.deliveries)}",
            kind=kind,
            created=record,
            known=known,
            at=delivery.stored_at,
            now=time.time(),
        )

    def _expired(self, held: Held, own: asyncio.Task[None]) -> None:
        """The lease of a ticket ran out: whether the run is lost stands in its journal."""
        if held not in self._shared.held_for(held.run) or not held.expired:
            return
        if held.execution is None:
            _log.warning("the lease of %s ran out before it was executed: it comes again", held.run)
            own.cancel()
        elif held.execution.going_on:
            _log.warning("the lease of %s ran out while it was executed", held.run)
            self._shared.spawn(look_at_journal(self._shared, held.run), f"look at the journal of {held.run}")

    async def _give_up(self, delivery: Delivery, reason: str) -> None:
        """Make a dead letter of a ticket that can't be worked on; before its last delivery say nothing.

        Another version may be able to, and may be at work on it: an answer would act on its delivery (A2).
        """
        if delivery.attempt < UNREADABLE_LIMIT:
            return
        try:
            await bury(self._shared.broker, delivery, self._task.id, reason)
        except BrokerError as error:
            _log.warning("%s isn't a dead letter yet: %s", delivery.subject, error.sentence)
