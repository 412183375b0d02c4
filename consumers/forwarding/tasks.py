"""The tasks that forward events: one per destination, tasks like any other but for their code."""

from __future__ import annotations

from typing import Any

from consumers.forwarding.destination import Destination
from tidemill.binding import TRIGGERED_SOURCE, TRIGGERED_TYPE, BoundCall
from tidemill.event import Event
from tidemill.kernel.envelope import Envelope
from tidemill.kernel.services.destinations import PREFIX
from tidemill.options import Options
from tidemill.retry import Retry
from tidemill.run_context import Attempt
from tidemill.task import FnTask


class ForwardTask(FnTask[Any, Any, Any, Any]):
    """Posts the events that a destination wants to its address."""

    def __init__(self, destination: Destination) -> None:
        async def forward(event: Event[Any]) -> dict[str, Any]:
            envelope = Envelope(id=event.id, source=event.source, type=event.type, raw=event.raw)
            return await destination.deliver(envelope, event.id, 1)

        settings = destination.settings
        retry = Retry(
            max_attempts=settings.retry.max_attempts,
            factor=settings.retry.factor,
            min_delay=settings.retry.min_delay,
            max_delay=settings.retry.max_delay,
        )
        super().__init__(
            forward,
            Options(
                PREFIX + destination.name,
                on=settings.on,
                where=settings.where,
                retry=retry,
                concurrency=settings.concurrency,
            ),
        )
        self._destination = destination

    def bind(
        self,
        facts: dict[str, Any] | None,
        raw: bytes | None,
        payload: object,  # noqa: ARG002 - what a worker has stands in `raw`
        attempt: Attempt,
    ) -> BoundCall:
        """Return the delivery of a run's event, all of whose attributes go along."""
        if facts is None:
            facts = {"id": attempt.run_id, "source": TRIGGERED_SOURCE, "type": TRIGGERED_TYPE}
        envelope = Envelope.from_facts(facts, raw or b"")
        arguments = (envelope, attempt.run_id, attempt.number)
        return BoundCall(True, self._destination.deliver, arguments, {}, self._result, None)  # noqa: FBT003 - as its fields stand
