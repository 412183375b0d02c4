"""The depot: what was judged genuine goes onto the broker, one event or a whole batch.

A batch is stored completely, or its sender is told to send it again; what of it stands on the broker then
is found as a duplicate.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from gateway.derived import DERIVED
from gateway.receipt import ACCEPTED, DUPLICATE, QUARANTINED, Taken
from gateway.spool.parcel import Body, rekeyed
from gateway.verdict import Quarantined
from tidemill.kernel.errors import BrokerError, BrokerUnavailableError
from tidemill.kernel.services.windows import key_within

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.publisher import Publisher
    from gateway.recorder import Recorder
    from gateway.spool.spool import Spool
    from gateway.verdict import Accepted, Batch
    from gateway.waiting import Waiting
    from tidemill.kernel.services.windows import Windows

_log = logging.getLogger(__name__)
IN_FLIGHT: Final = 64
"""Events of one batch that are published at the same time."""


class Depot:
    """Stores verdicts.

    Args:
        publisher: puts events and entries of the quarantine onto the broker.
        recorder: notes duplicates.
        windows: for sources that recognise deliveries for a time of their own.
        spool: takes what the broker doesn't while it is away, and everything else until that is drained.
    """

    def __init__(
        self,
        publisher: Publisher,
        recorder: Recorder,
        windows: Windows | None = None,
        spool: Spool | None = None,
    ) -> None:
        self._publisher = publisher
        self._recorder = recorder
        self._windows = windows
        self._spool = spool

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
        if self._spool is None:
            if window is not None:
                verdict = await self._worded(verdict, window)
            return await self._publish(verdict, client, waiting)
        if not self._spool.holds:
            try:
                verdict, window = await self._worded(verdict, window), None
                return await self._publish(verdict, client, waiting)
            except BrokerUnavailableError as error:
                _note(self._spool, error)
        if waiting is not None:
            await waiting.close()  # no run answers while its event is here
        (taken,) = await self._spool.take((verdict,), client, window)
        return taken

    async def store_batch(self, batch: Batch, client: str, window: float | None = None) -> list[Taken]:
        """Store all events of a batch; the rest as for `store`.

        Raises:
            BrokerError: as for `store`; a part of the batch may be stored.
        """
        body = Body(batch.key, batch.raw) if batch.items and batch.key else None
        return await self._store_all(batch.items, client, window, body)

    async def store_items(
        self, items: Sequence[Accepted | Quarantined], client: str, window: float | None = None
    ) -> list[Taken]:
        """Store several events, whose body needn't be kept.

        Raises:
            BrokerError: as for `store`; a part of them may be stored.
        """
        return await self._store_all(items, client, window, None)

    async def _store_all(
        self, items: Sequence[Accepted | Quarantined], client: str, window: float | None, body: Body | None
    ) -> list[Taken]:
        spool = self._spool
        if spool is None:
            return await self._publish_all(items, client, window, body)
        if not spool.holds:
            try:
                return await self._publish_all(items, client, window, body)
            except BrokerUnavailableError as error:
                _note(spool, error)
        return await spool.take(items, client, window, body)

    async def _publish_all(
        self, items: Sequence[Accepted | Quarantined], client: str, window: float | None, body: Body | None
    ) -> list[Taken]:
        if body is not None:
            await self._publisher.keep_batch(body.key, body.raw)
        taken: list[Taken] = []
        for start in range(0, len(items), IN_FLIGHT):
            portion = items[start : start + IN_FLIGHT]
            outcomes = await asyncio.gather(
                *(self._publish_item(item, client, window) for item in portion), return_exceptions=True
            )
            for outcome in outcomes:
                if isinstance(outcome, BaseException):
                    raise outcome
                taken.append(outcome)
        return taken

    async def _publish_item(
        self, verdict: Accepted | Quarantined, client: str, window: float | None
    ) -> Taken:
        return await self._publish(await self._worded(verdict, window), client)

    async def _worded(self, verdict: Accepted | Quarantined, window: float | None) -> Accepted | Quarantined:
        """Give an event the message id of its delivery's present window, where its source has one."""
        if window is None or self._windows is None:
            return verdict
        try:
            return await _within(verdict, self._windows, window)
        except BrokerError as error:
            self._publisher.storing.failed(error)
            raise

    async def _publish(
        self, verdict: Accepted | Quarantined, client: str, waiting: Waiting | None = None
    ) -> Taken:
        verdict = self._publisher.fit(verdict)
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


def _note(spool: Spool, error: BrokerUnavailableError) -> None:
    """Log the first of those that fail together."""
    if not spool.holds:
        _log.warning("the broker doesn't take events, they go to the spool: %s", error.sentence)


async def _within(verdict: Accepted | Quarantined, windows: Windows, window: float) -> Accepted | Quarantined:
    """Give an event the message id, and a derived id too, of the present window of its delivery."""
    envelope = verdict.envelope
    word = await windows.word(envelope.deliverykey, window)
    shown = word if envelope.id.startswith(DERIVED) else None
    return rekeyed(verdict, key_within(envelope.deliverykey, word), shown)
