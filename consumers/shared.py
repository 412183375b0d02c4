"""What all desks of a worker share, and what is done to all that the worker executes."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from consumers.execution import Execution, Tools
from consumers.held import Held
from consumers.isolation import Isolation
from consumers.lease import LeaseKeeper
from tidemill.kernel.errors import BrokerError, PayloadError
from tidemill.kernel.jetstream.pull import Budget
from tidemill.kernel.protocol.attempt import refresh
from tidemill.kernel.protocol.conclusions import Cancelled, Interrupted, Lost
from tidemill.kernel.services.broker import Broker
from tidemill.kernel.services.performer import Performer
from tidemill.kernel.subjects import Names

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Shared:
    """What all desks of a worker share.

    `arrival` says when what is read now may have come in at the earliest (monotonic seconds); `tickets`
    are all in work, by run, `executions` those whose handlers execute, by the claim's id; `isolation` keeps
    runs apart that may be what their workers died of; `looked_at` are the runs whose journals are being read,
    and whether they are to be read once more.
    """

    broker: Broker
    worker: str
    leases: LeaseKeeper
    budget: Budget
    tools: Tools
    max_crashes: int
    arrival: Callable[[], float] = time.monotonic
    interrupted: bool = False
    tickets: dict[str, list[Held]] = field(default_factory=dict)
    executions: dict[str, Held] = field(default_factory=dict)
    isolation: Isolation = field(default_factory=Isolation)
    looked_at: dict[str, bool] = field(default_factory=dict)
    work: set[asyncio.Task[None]] = field(default_factory=set)
    deliveries: itertools.count[int] = field(default_factory=itertools.count)

    @property
    def names(self) -> Names:
        """The names of the namespace."""
        return self.broker.names

    @property
    def performer(self) -> Performer:
        """Who performs the protocol's operations."""
        return self.broker.performer

    def held_for(self, run: str) -> tuple[Held, ...]:
        """Return the tickets of a run that are in work here; usually one at most."""
        return tuple(self.tickets.get(run, ()))

    def take_in(self, held: Held) -> None:
        """Count a ticket among those in work."""
        self.tickets.setdefault(held.run, []).append(held)

    def let_go(self, held: Held) -> None:
        """Count a ticket no more; its lease goes with it, and its place among the suspects."""
        held.drop()
        held.close()
        self.isolation.leave(held)
        of_run = self.tickets[held.run]
        of_run.remove(held)
        if not of_run:
            del self.tickets[held.run]

    def spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        """Start a piece of work that the worker waits for when it shuts down; its failure is logged."""
        work = asyncio.create_task(coroutine, name=name)
        self.work.add(work)
        work.add_done_callback(self._finished)

    def _finished(self, work: asyncio.Task[None]) -> None:
        self.work.discard(work)
        if not work.cancelled() and (error := work.exception()) is not None:
            _log.error("%s failed", work.get_name(), exc_info=error)


async def look_at_journal(shared: Shared, run: str) -> None:
    """Ask a run's journal whether it is still ours and not cancelled, and stop its handler otherwise.

    Who asks while somebody looks has him look once more: news of a run may come in by the thousand.
    """
    looks_already = run in shared.looked_at
    shared.looked_at[run] = True
    if looks_already:
        return
    try:
        while shared.looked_at[run]:
            shared.looked_at[run] = False
            await _look_once(shared, run)
    finally:
        del shared.looked_at[run]


async def _look_once(shared: Shared, run: str) -> None:
    for held in shared.held_for(run):
        execution = held.execution
        if execution is None or not _executes(execution):
            continue
        try:
            ours = await shared.performer.run(refresh(execution.session))
        except (BrokerError, PayloadError) as error:
            _log.warning("the journal of %s was not read: %s", run, error.sentence)
            return
        cancel = execution.session.state.cancel
        if not _executes(execution):
            continue
        if not ours:
            _log.warning("%s belongs to somebody else now: its handler is stopped", run)
            held.drop()
            execution.stop(Lost())
        elif cancel is not None:
            execution.stop(Cancelled(cancel.reason))
        else:
            execution.heard()


def _executes(execution: Execution) -> bool:
    return execution.going_on


def interrupt(shared: Shared) -> None:
    """Ask every handler to stop: the worker shuts down, their runs go back unharmed."""
    shared.interrupted = True
    shared.isolation.lift()
    for held in tuple(shared.executions.values()):
        if held.execution is not None:
            held.execution.stop(Interrupted())
