"""The router: reads every event, asks the definitions which tasks want it, and starts their runs.

It needs no user code, so it works while no worker runs.
"""

from __future__ import annotations

from typing import Any, ClassVar

from consumers.role import Role
from tidemill.kernel.definition import TaskDefinition
from tidemill.kernel.errors import PayloadError
from tidemill.kernel.frames import unpack
from tidemill.kernel.jetstream.pull import Delivery
from tidemill.kernel.protocol import routing
from tidemill.kernel.reply import HEADER as REPLY_HEADER
from tidemill.kernel.services.broker import Broker
from tidemill.kernel.services.interest import Interest
from tidemill.kernel.services.registry import Definitions
from tidemill.kernel.subjects import delivery_key, run_of_event


class Router(Role):
    """The role that turns events into runs."""

    name: ClassVar[str] = "router"
    stream: ClassVar[str] = "EVENTS"

    def __init__(self, broker: Broker, definitions: Definitions) -> None:
        super().__init__(broker)
        self._definitions = definitions
        self._interest = Interest()

    async def handle(self, delivery: Delivery) -> None:
        """Create the runs that one event starts, keep the verdicts, acknowledge it."""
        facts, raw = unpack(delivery.body)
        if not all(isinstance(facts.get(name), str) for name in ("id", "source", "type")):
            raise PayloadError(f"{delivery.subject} holds no event: id, source or type is missing")
        await self._definitions.settle()
        interested = self._interested(facts["type"])
        if not interested:
            # Nothing negative is decided on an old view: a task may have been defined a moment ago.
            await self._definitions.refresh(newer_than=delivery.stored_at)
            interested = self._interested(facts["type"])
        blob = facts.pop("blob", None)
        if blob is not None and interested:
            raw = await self.broker.blobs.get(blob)
        verdicts = self._interest.verdicts(interested, facts, raw)
        arrival = await self._arrival(delivery, facts, raw, verdicts, large=blob is not None)
        await self.performer.run(routing.route(arrival, verdicts), delivery)

    def _interested(self, event_type: str) -> list[TaskDefinition]:
        return [definition for definition in self._definitions.active() if definition.wants(event_type)]

    async def _arrival(
        self,
        delivery: Delivery,
        facts: dict[str, Any],
        raw: bytes,
        verdicts: list[routing.Verdict],
        *,
        large: bool,
    ) -> routing.Arrival:
        key = facts.get("deliverykey") or delivery_key(facts["source"], facts["id"])
        awaited = delivery.headers is not None and REPLY_HEADER in delivery.headers
        if not large:
            return routing.Arrival(facts, key, delivery.stream_seq, raw=raw, awaited=awaited)
        # EVENTS ages out while a run sleeps: a large body is copied to every run that needs it.
        blobs = {
            verdict.task: await self.broker.blobs.put(run_of_event(key, verdict.task), raw)
            for verdict in verdicts
            if isinstance(verdict, routing.Wanted)
        }
        return routing.Arrival(facts, key, delivery.stream_seq, blobs=blobs, awaited=awaited)
