"""The thin layer that performs looks at schedules on JetStream, one method for each operation."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

import orjson

from tidemill.kernel.clock import rfc3339_at
from tidemill.kernel.errors import NotFoundError, PayloadError, WrongSequenceError
from tidemill.kernel.protocol.creation import create
from tidemill.kernel.protocol.records import Created, End, decode
from tidemill.kernel.schedules import look as op
from tidemill.kernel.schedules.state import ScheduleState
from tidemill.kernel.signals import write_signal
from tidemill.kernel.subjects import escape

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tidemill.kernel.schedules.state import Start
    from tidemill.kernel.services.broker import Broker
    from tidemill.kernel.services.registry import Definitions

T = TypeVar("T")
TAG: Final = "schedule:"
"""What the tag begins with that every run of a schedule has; its id follows."""


class SchedulePerformer:
    """Performs looks on one connection."""

    def __init__(self, broker: Broker, definitions: Definitions) -> None:
        self._broker = broker
        self._definitions = definitions
        self._handlers: dict[type, Callable[[Any], Awaitable[Any]]] = {
            op.Load: self._load,
            op.Store: self._store,
            op.Going: self._going,
            op.StartRun: self._start_run,
            op.CancelRuns: self._cancel_runs,
            op.WakeAt: self._wake_at,
        }

    async def run(self, procedure: op.Procedure[T]) -> T:
        """Drive a look to its end and return its result.

        Raises:
            BrokerError: an operation failed; looking again is safe.
            DefinitionError: what is stored can't be read, or the rule.
        """
        result: Any = None
        try:
            while True:
                operation = procedure.send(result)
                result = await self._handlers[type(operation)](operation)
        except StopIteration as stop:
            value: T = stop.value
            return value

    async def plan(self, schedule: str) -> None:
        """Ask for a look at a schedule, durably: whoever has the role of the scheduler does it.

        Raises:
            BrokerError: it wasn't stored.
        """
        await self._broker.bus.publish(self._broker.names.look(schedule))

    async def _load(self, operation: op.Load) -> op.Stored | None:
        found = await self._broker.schedules.get(escape(operation.schedule))
        return None if found is None else (ScheduleState.from_json(found.value), found.revision)

    async def store(self, state: ScheduleState, revision: int) -> int | None:
        """Write a schedule's memory if `revision` (0: none) is the present one; return the new one.

        Raises:
            BrokerError: it is unknown whether it was written.
        """
        try:
            return await self._broker.schedules.put(escape(state.id), state.to_json(), revision=revision)
        except WrongSequenceError:
            return None

    async def _store(self, operation: op.Store) -> int | None:
        return await self.store(operation.state, operation.revision)

    async def _going(self, operation: op.Going) -> tuple[str, ...]:
        return tuple([run for run in operation.runs if await self._goes_on(run)])

    async def _goes_on(self, run: str) -> bool:
        tail = await self._broker.journal.tail_leader(run)
        if tail is None or not tail.body:
            return False
        try:
            return not isinstance(decode(tail.body), End)
        except PayloadError:  # a newer version's record: ends are known to all
            return True

    async def _start_run(self, operation: op.StartRun) -> None:
        state, start = operation.state, operation.start
        created = Created(
            rid=f"tick-{start.run}",
            task=state.task,
            hooks=self._has_hooks(state.task),
            # With a key the id stays taken for as long as an idempotency key: a late look starts nothing.
            key=f"{state.id} {_instant(state, start.at)}",
            tags=(f"{TAG}{state.id}",),
            raw=_payload(state, start),
        )
        await self._broker.performer.run(create(start.run, created))

    def _has_hooks(self, task: str) -> bool:
        try:
            return self._definitions.find(task).hooks
        except NotFoundError:
            return False

    async def _cancel_runs(self, operation: op.CancelRuns) -> None:
        body = write_signal("cancel", f"the next tick of {operation.schedule} has come", "")
        for run in operation.runs:
            await self._broker.bus.publish(self._broker.names.signal(run), body)

    async def _wake_at(self, operation: op.WakeAt) -> None:
        names = self._broker.names
        headers = {
            "Nats-Schedule": f"@at {rfc3339_at(operation.at)}",
            "Nats-Schedule-Target": names.look(operation.schedule),
        }
        await self._broker.bus.publish(names.wake(operation.schedule, operation.at), headers=headers)


def _payload(state: ScheduleState, start: Start) -> bytes:
    if not state.rule.tick:
        return b"null"
    last = _instant(state, start.last) if start.last is not None else None
    return orjson.dumps({"scheduled_at": _instant(state, start.at), "last_at": last, "schedule": state.id})


def _instant(state: ScheduleState, moment: float) -> str:
    """Return a moment as the schedule's zone shows it, with its distance from UTC."""
    return datetime.fromtimestamp(moment, state.rule.rhythm.zone).isoformat()
