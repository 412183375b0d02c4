"""Draining: what the spool holds goes to the broker, in order, as soon as it is back.

Each event carries its message id, so that draining one again makes no second event. Single events are sent
one behind the other without waiting; the rest, which takes several steps, one by one.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.spool.parcel import Item, Parcel, decode, rekeyed
from gateway.verdict import Quarantined
from tidemill.kernel import backoff
from tidemill.kernel.errors import BrokerError, PayloadError
from tidemill.kernel.jetstream.blobs import INLINE_LIMIT
from tidemill.kernel.jetstream.messages import TOO_LARGE
from tidemill.kernel.services.windows import key_within

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gateway.publisher import Publisher
    from gateway.recorder import Recorder
    from gateway.spool.record import Record
    from gateway.spool.spool import Spool
    from tidemill.kernel.services.windows import Windows

_log = logging.getLogger(__name__)
IN_FLIGHT: Final = 64


class _Read(NamedTuple):
    """A record with its parcel, None where it can't be read."""

    record: Record
    parcel: Parcel | None

    @property
    def quick(self) -> bool:
        """Whether it is sent by a single message."""
        parcel = self.parcel
        return (
            parcel is not None and parcel.plain and len(parcel.items[0].verdict.envelope.raw) <= INLINE_LIMIT
        )


class Drain:
    """Empties a spool.

    Args:
        spool: what is emptied.
        publisher: puts events and entries of the quarantine onto the broker.
        recorder: notes duplicates.
        windows: for sources that recognise deliveries for a time of their own.
        connected: says whether the broker can be reached.

    Attributes:
        spool: what is emptied.
        drained: parcels that the broker has since the start.
        apart: parcels that can't be drained, and were set aside.
    """

    def __init__(
        self,
        spool: Spool,
        publisher: Publisher,
        recorder: Recorder,
        windows: Windows,
        connected: Callable[[], bool],
    ) -> None:
        self.spool = spool
        self._publisher = publisher
        self._recorder = recorder
        self._windows = windows
        self._connected = connected
        self.drained = 0
        self.apart = 0
        self._said = ""

    async def run(self) -> None:
        """Drain whenever there is something, until cancelled."""
        failures = 0
        while True:
            await self.spool.arrived.wait()
            try:
                if self._connected() and await self._step():
                    failures = 0
                    continue
            except (BrokerError, OSError) as error:
                self._say(str(error))
            failures += 1
            await asyncio.sleep(_pause(failures))

    async def _step(self) -> bool:
        """Drain the first records; say whether all went well."""
        spool = self.spool
        records = await spool.batch(spool.drained, IN_FLIGHT)
        if not records:
            await self._skip()
            return True
        begun = [_read(record) for record in records]
        rest = begun
        while rest:
            quick = _leading(rest)
            if quick:
                await self._send_together(quick)
            else:
                await self._send(rest[0])
            rest = rest[max(1, len(quick)) :]
        if not spool.holds:
            self._say("")
            _log.warning("the spool is empty: %d deliveries were drained", self.drained)
        return True

    async def _skip(self) -> None:
        """Forget what the disk doesn't have any more."""
        lost = self.spool.records
        _log.error("%d records of the spool can't be found on the disk any more", lost)
        await self.spool.lose()

    async def _send_together(self, quick: Sequence[_Read]) -> None:
        """Send single events; what was stored up to the first failure is drained."""
        outcomes = await asyncio.gather(*(self._store(one) for one in quick), return_exceptions=True)
        done = 0
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                break
            done += 1
        if done:
            await self._forget(quick[done - 1], done)
        if done < len(quick):
            await self._send(quick[done])

    async def _send(self, one: _Read) -> None:
        """Send a parcel, or set it aside where nobody will ever take it."""
        try:
            await self._store(one)
        except BrokerError as error:
            if error.code != TOO_LARGE:
                raise
            await self._set_aside(one, error.sentence)
        except PayloadError as error:
            await self._set_aside(one, error.sentence)
        except Exception as error:  # noqa: BLE001 - a defect at one delivery mustn't keep back all others
            _log.exception("a delivery of the spool can't be drained")
            await self._set_aside(one, repr(error))
        await self._forget(one, 1)

    async def _store(self, one: _Read) -> None:
        """Store a parcel's events.

        Raises:
            PayloadError: it can't be read.
            BrokerError: not all are stored, or nobody knows; storing them again is safe.
        """
        parcel = one.parcel
        if parcel is None:
            raise PayloadError("it is no parcel that this version can read")
        if parcel.body is not None:
            await self._publisher.keep_batch(parcel.body.key, parcel.body.raw)
        for item in parcel.items:
            await self._store_item(item, parcel)

    async def _store_item(self, item: Item, parcel: Parcel) -> None:
        verdict = item.verdict
        if item.word is not None:
            key, seconds, own = item.word
            word = await self._windows.settle(key, seconds, own, parcel.at)
            verdict = verdict if word == own else rekeyed(verdict, key_within(key, word))
        verdict = self._publisher.fit(verdict)
        if isinstance(verdict, Quarantined):
            stored = await self._publisher.quarantine(verdict.envelope, verdict.reason)
        else:
            stored = await self._publisher.accept(verdict.envelope)
        if stored.duplicate:
            self._recorder.duplicate(verdict.envelope, parcel.client)

    async def _set_aside(self, one: _Read, why: str) -> None:
        path = await self.spool.set_aside(one.record.seq, one.record.payload)
        self.apart += 1
        _log.error("a delivery of the spool can't be drained and is kept in %s: %s", path, why)

    async def _forget(self, last: _Read, count: int) -> None:
        await self.spool.drain(last.record.seq)
        self.drained += count

    def _say(self, problem: str) -> None:
        """Log what keeps it from draining, once for as long as it is the same."""
        if problem and problem != self._said:
            _log.warning("the spool isn't drained: %s", problem)
        self._said = problem


def _read(record: Record) -> _Read:
    try:
        return _Read(record, decode(record.payload))
    except PayloadError as error:
        _log.error("record %d of the spool: %s", record.seq, error)
        return _Read(record, None)


def _leading(reads: Sequence[_Read]) -> list[_Read]:
    """Return the first ones that are sent by a single message each."""
    found = []
    for one in reads:
        if not one.quick:
            break
        found.append(one)
    return found


def _pause(failures: int) -> float:
    return backoff.delay(failures, factor=2, min_delay=0.1, max_delay=2.0, jitter=backoff.spread())
