"""The depot: what was judged genuine goes onto the broker, one event or a whole batch.

A batch is stored completely, or its sender is told to send it again; what of it stands on the broker then
is found as a duplicate.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from gateway.derived import DERIVED
from gateway.receipt import ACCEPTED, DUPLICATE, QUARANTINED, Taken
from gateway.verdict import Quarantined
from tidemill.kernel.errors import BrokerError
from tidemill.kernel.services.windows import key_within

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.publisher import Publisher
    from gateway.recorder import Recorder
    from gateway.verdict import Accepted, Batch
    from gateway.waiting import Waiting
    from tidemill.kernel.services.windows import Windows

IN_FLIGHT: Final = 64
"""Events of one batch that are published at the same time."""


class Depot:
    """Stores verdicts.

    Args:
        publisher: puts events and entries of the quarantine onto the broker.
        recorder: notes duplicates.
        windows: for sources that recognise deliveries for a time of their own.
    """

    def __init__(self, publisher: Publisher, recorder: Recorder, windows: Windows | None = None) -> None:
        self._publisher = publisher
        self._recorder = recorder
        self._windows = windows

    async def store(
        self,
        verdict: Accepted | Quarantined,
        client: str,
        window: float | None = None,
        waiting: Waiting | None = None,
    ) -> Taken:
        """Store one event.

        Args:
            verdict: the event.
            client: the address that sent it.
            window: seconds for which its source recognises a delivery, where that isn't what the broker does.
            waiting: its sender, where it waits for the answer of a run.

        Raises:
            BrokerError: it wasn't stored, or nobody knows; storing it again is safe.
        """
        verdict = self._publisher.fit(verdict)
        if window is not None and self._windows is not None:
            try:
                verdict = await _within(verdict, self._windows, window)
            except BrokerError as error:
                self._publisher.storing.failed(error)
                raise
        envelope, reason = verdict.envelope, None
        if isinstance(verdict, Quarantined):
            reason = verdict.reason
            stored = await self._publisher.quarantine(envelope, reason)
            status = QUARANTINED
        else:
            if waiting is None:
                stored = await self._publisher.accept(envelope)
            else:
                await waiting.begin(envelope)
                stored = await self._publisher.accept(envelope, awaited=True)
            status = ACCEPTED
        if stored.duplicate:
            self._recorder.duplicate(envelope, client)
            status = DUPLICATE
        return Taken(envelope, status, stored.seq, reason)

    async def store_batch(self, batch: Batch, client: str, window: float | None = None) -> list[Taken]:
        """Store all events of a batch; the rest as for `store`.

        Raises:
            BrokerError: as for `store`; a part of the batch may be stored.
        """
        if batch.items and batch.key:
            await self._publisher.keep_batch(batch.key, batch.raw)
        return await self.store_items(batch.items, client, window)

    async def store_items(
        self, items: Sequence[Accepted | Quarantined], client: str, window: float | None = None
    ) -> list[Taken]:
        """Store several events, whose body needn't be kept.

        Raises:
            BrokerError: as for `store`; a part of them may be stored.
        """
        taken: list[Taken] = []
        for start in range(0, len(items), IN_FLIGHT):
            portion = items[start : start + IN_FLIGHT]
            outcomes = await asyncio.gather(
                *(self.store(item, client, window) for item in portion), return_exceptions=True
            )
            for outcome in outcomes:
                if isinstance(outcome, BaseException):
                    raise outcome
                taken.append(outcome)
        return taken


async def _within(verdict: Accepted | Quarantined, windows: Windows, window: float) -> Accepted | Quarantined:
    """Give an event the message id, and a derived id too, of the present window of its delivery."""
    envelope = verdict.envelope
    word = await windows.word(envelope.deliverykey, window)
    update = {"deliverykey": key_within(envelope.deliverykey, word)}
    if envelope.id.startswith(DERIVED):
        update["id"] = f"{envelope.id}-{word}"
    envelope = envelope.model_copy(update=update)
    if isinstance(verdict, Quarantined):
        return Quarantined(envelope, verdict.reason)
    return verdict._replace(envelope=envelope)
