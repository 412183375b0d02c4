"""A worker's desk for one task: tickets come in, attempts are made, places are given back."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from consumers.execution import Execution, Tools
from consumers.lease import LeaseKeeper
from consumers.loader import AnyTask
from consumers.role import bury
from tidemill.kernel.broker import Broker
from tidemill.kernel.errors import BrokerError, PayloadError
from tidemill.kernel.protocol.attempt import Session, owns, work
from tidemill.kernel.protocol.conclusions import Cancelled, Conclusion, Interrupted, Lost, Policy
from tidemill.kernel.protocol.operations import ReadLeader
from tidemill.kernel.protocol.records import Created, decode
from tidemill.kernel.protocol.state import fold
from tidemill.kernel.protocol.tickets import Ticket
from tidemill.kernel.pull import Budget, Delivery
from tidemill.kernel.subjects import unescape

UNREADABLE_PAUSE = 30.0
"""Seconds after which a run whose journal can't be read is looked at again."""
UNREADABLE_LIMIT = 5
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Shared:
    """What all desks of a worker share."""

    broker: Broker
    worker: str
    leases: LeaseKeeper
    budget: Budget
    tools: Tools
    max_crashes: int
    executions: dict[str, Execution] = field(default_factory=dict)
    work: set[asyncio.Task[None]] = field(default_factory=set)
    deliveries: itertools.count[int] = field(default_factory=itertools.count)

    def spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        """Start a piece of work that the worker waits for when it shuts down; its failure is logged."""
        work = asyncio.create_task(coroutine, name=name)
        self.work.add(work)
        work.add_done_callback(self._finished)

    def _finished(self, work: asyncio.Task[None]) -> None:
        self.work.discard(work)
        if not work.cancelled() and (error := work.exception()) is not None:
            _log.error("%s failed", work.get_name(), exc_info=error)


class Held:
    """A delivered ticket in the worker's hands: its answers wait for a thread that still executes."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery
        self.subject = delivery.subject
        self.execution: Execution | None = None

    async def ack(self) -> None:
        """Acknowledge the ticket once nothing executes under it any more."""
        await self._settled()
        await self._delivery.ack()

    async def nak(self, delay: float | None = None) -> None:
        """Give the ticket back once nothing executes under it any more."""
        await self._settled()
        await self._delivery.nak(delay)

    async def _settled(self) -> None:
        if self.execution is not None:
            await self.execution.lingering()


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
            await self._unreadable(delivery, error)
        finally:
            self._shared.leases.drop(delivery.reply)
            self._shared.budget.give_back()

    async def _work(self, delivery: Delivery) -> None:
        ticket = self._ticket(delivery)
        own = asyncio.current_task()
        if own is not None:
            own.set_name(f"task {self._task.id}, run {ticket.run}")
        held = Held(delivery)

        async def execute(session: Session) -> Conclusion:
            held.execution = Execution(self._task, session, self._shared.tools)
            self._shared.executions[ticket.run] = held.execution
            try:
                return await held.execution.conclude()
            finally:
                self._shared.executions.pop(ticket.run, None)

        loop = asyncio.get_running_loop()

        def expired() -> None:
            loop.call_soon_threadsafe(self._expired, ticket.run, held)

        self._shared.leases.hold(delivery.reply, expired)
        procedure = work(ticket, self._policy, self._shared.worker)
        await self._shared.broker.performer.run(procedure, held, execute)

    def _ticket(self, delivery: Delivery) -> Ticket:
        """Read a delivered ticket.

        Raises:
            PayloadError: the message is no ticket.
        """
        shared = self._shared
        try:
            _, task, run, seq = shared.broker.names.tokens(delivery.subject)
            position = int(seq)
        except ValueError as error:
            raise PayloadError(f"{delivery.subject} is no ticket's subject") from error
        record = decode(delivery.body) if delivery.body.startswith(b'{"kind":"created"') else None
        return Ticket(
            run=run,
            task=unescape(task),
            seq=position,
            q=delivery.stream_seq,
            delivered=delivery.attempt,
            delivery=f"{shared.worker}-{next(shared.deliveries)}",
            created=record if isinstance(record, Created) else None,
        )

    def _expired(self, run: str, held: Held) -> None:
        """The lease of a ticket ran out: whether the run is lost stands in its journal."""
        if held.execution is not None:
            _log.warning("the lease of %s ran out while it was executed", run)
            self._shared.spawn(look_at_journal(self._shared, run), f"look at the journal of {run}")

    async def _unreadable(self, delivery: Delivery, error: PayloadError) -> None:
        """A ticket or journal that can't be read: another version may; at last it is a dead letter."""
        _log.error("%s can't be read: %s", delivery.subject, error.sentence)
        if delivery.attempt < UNREADABLE_LIMIT:
            await delivery.nak(UNREADABLE_PAUSE)
        else:
            await bury(self._shared.broker, delivery, self._task.id, error.sentence)


async def look_at_journal(shared: Shared, run: str) -> None:
    """Ask a run's journal whether it is still ours and not cancelled, and stop its handler otherwise."""
    execution = shared.executions.get(run)
    if execution is None:
        return
    try:
        entries = await shared.broker.performer.perform(ReadLeader(run))
    except (BrokerError, PayloadError) as error:
        _log.warning("the journal of %s was not read: %s", run, error.sentence)
        return
    state = fold(entries)
    if not owns(state, execution.session.claim):
        _log.warning("%s belongs to somebody else now: its handler is stopped", run)
        execution.stop(Lost())
    elif state.cancel is not None:
        execution.stop(Cancelled(state.cancel.reason))


def interrupt(shared: Shared) -> None:
    """Ask every handler to stop: the worker shuts down, their runs go back unharmed."""
    for execution in tuple(shared.executions.values()):
        execution.stop(Interrupted())
