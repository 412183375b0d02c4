"""The depot: what was judged genuine goes onto the broker, one event or a whole batch.

A batch is stored completely, or its sender is told to send it again; what of it stands on the broker then
is found as a duplicate.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from gateway.receipt import ACCEPTED, DUPLICATE, QUARANTINED, Taken
from gateway.verdict import Quarantined

if TYPE_CHECKING:
    from gateway.publisher import Publisher
    from gateway.recorder import Recorder
    from gateway.verdict import Accepted, Batch

IN_FLIGHT: Final = 64
"""Events of one batch that are published at the same time."""


class Depot:
    """Stores verdicts.

    Args:
        publisher: puts events and entries of the quarantine onto the broker.
        recorder: notes duplicates.
    """

    def __init__(self, publisher: Publisher, recorder: Recorder) -> None:
        self._publisher = publisher
        self._recorder = recorder

    async def store(self, verdict: Accepted | Quarantined, client: str) -> Taken:
        """Store one event; `client` is the address that sent it.

        Raises:
            BrokerError: it wasn't stored, or nobody knows; storing it again is safe.
        """
        verdict = self._publisher.fit(verdict)
        envelope = verdict.envelope
        if isinstance(verdict, Quarantined):
            stored = await self._publisher.quarantine(envelope, verdict.reason)
            status = QUARANTINED
        else:
            stored = await self._publisher.accept(envelope)
            status = ACCEPTED
        if stored.duplicate:
            self._recorder.duplicate(envelope, client)
            status = DUPLICATE
        return Taken(envelope, status)

    async def store_batch(self, batch: Batch, client: str) -> list[Taken]:
        """Store all events of a batch.

        Raises:
            BrokerError: as for `store`; a part of the batch may be stored.
        """
        if batch.items:
            await self._publisher.keep_batch(batch.key, batch.raw)
        taken: list[Taken] = []
        for start in range(0, len(batch.items), IN_FLIGHT):
            portion = batch.items[start : start + IN_FLIGHT]
            outcomes = await asyncio.gather(
                *(self.store(item, client) for item in portion), return_exceptions=True
            )
            for outcome in outcomes:
                if isinstance(outcome, BaseException):
                    raise outcome
                taken.append(outcome)
        return taken
