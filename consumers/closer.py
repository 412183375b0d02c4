"""The closer's I/O: hears of ended runs and closes their journals when they are due.

A journal goes no sooner than the history has it. The notes that the closer hears are no promise: a run whose
note was lost, or that couldn't be closed when its turn came (a dead letter, an event that isn't routed yet),
is closed by a sweep over all journals.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from typing import ClassVar, Final

from consumers.history.gate import HistoryGate
from consumers.nursery import Nursery
from tidemill.kernel.errors import BrokerError
from tidemill.kernel.jetstream.bus import Message
from tidemill.kernel.jetstream.eraser import Eraser
from tidemill.kernel.marks import read_note
from tidemill.kernel.protocol.closer import Closing, Keeping, Mark, close, erasable
from tidemill.kernel.services.broker import Broker

_BATCH: Final = 1000
_ERASE_EVERY: Final = 0.1
_MOST_WAITING: Final = 100_000
_LONGEST_NAP: Final = 1.0
_log = logging.getLogger(__name__)


class RouterFloor:
    """The router's acknowledgement floor: no event up to it is ever delivered again."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._floor = 0

    async def reaching(self, seq: int) -> int:
        """Return the floor; it is looked up again where the last known one is below `seq`."""
        if seq > self._floor:
            stream = self._broker.names.stream("EVENTS")
            info = await self._broker.bus.api(f"CONSUMER.INFO.{stream}.router")
            self._floor = int(info["ack_floor"]["stream_seq"])
        return self._floor


class Closer:
    """The role that closes journals."""

    name: ClassVar[str] = "closer"

    def __init__(self, broker: Broker, keeping: Keeping, gate: HistoryGate) -> None:
        self._broker = broker
        self._keeping = keeping
        self._floor = RouterFloor(broker)
        self._gate = gate
        self._gated = False
        self._waiting: deque[Mark] = deque(maxlen=_MOST_WAITING)
        self._nursery = Nursery(broker.performer)
        self._eraser = Eraser(broker.bus, broker.journal.stream)
        self._erase_at = 0.0
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Work until `stop`."""
        subject = self._broker.names.subject("ended")
        notes = await self._broker.bus.subscribe(subject, self._heard, queue=self.name)
        try:
            while not self._stopping.is_set():
                closed = await self._close_due()
                await self._erase()
                if not closed:
                    await self._nap()
        finally:
            await notes.stop()

    async def stop(self) -> None:
        """Close no more; what waits is left to the sweeper."""
        self._stopping.set()

    def _heard(self, note: Message) -> None:
        self._waiting.extend(read_note(note.body))

    async def _close_due(self) -> int:
        """Close the next journals that are due; return how many there were."""
        due = time.time() - self._keeping.journal
        batch: list[Mark] = []
        try:
            if self._waiting and self._waiting[0].at <= due:
                batch = self._due(due, await self._gate.floor())
            # Whatever the parents waited for, their children may be newer than what the history has.
            self._waiting.extendleft(await self._nursery.orphans())
            if batch:
                floor = await self._floor.reaching(max(mark.event_seq for mark in batch))
                await asyncio.gather(
                    *(self._close(mark, floor) for mark in batch if self._stays(mark, floor))
                )
            await self._gate.tell()
        except BrokerError as error:
            _log.warning("%d journals are left to the sweeper: %s", len(batch), error.sentence)
        return len(batch)

    def _due(self, due: float, written: int) -> list[Mark]:
        """Take the next marks that are due and that the history has."""
        batch: list[Mark] = []
        self._gated = False
        while self._waiting and self._waiting[0].at <= due and len(batch) < _BATCH:
            if not self._gate.lets(self._waiting[0], written):
                self._gated = True
                break
            batch.append(self._waiting.popleft())
        return batch

    def _stays(self, mark: Mark, floor: int) -> bool:
        """Say whether a journal has to be closed by itself: no parent is waited for, and it isn't erased."""
        if mark.parent:
            self._nursery.hold(mark)
            return False
        return not self._erases(mark, floor)

    async def _close(self, mark: Mark, floor: int) -> None:
        procedure = close(mark, self._keeping, routed=floor, now=time.time())
        if await self._broker.performer.run(procedure) is Closing.DONE:
            self._waiting.extendleft(self._nursery.release(mark.run))

    def _erases(self, mark: Mark, floor: int) -> bool:
        """Leave the journal to the eraser, if nobody can ask for it any more; say so."""
        erased = not mark.blobs and erasable(mark, self._keeping, routed=floor, now=time.time())
        if erased:
            self._eraser.add(mark.records)
            self._waiting.extendleft(self._nursery.release(mark.run))
        return erased

    async def _erase(self) -> None:
        if time.monotonic() < self._erase_at:
            return
        self._erase_at = time.monotonic() + _ERASE_EVERY
        try:
            await self._eraser.remove()
        except BrokerError as error:
            _log.warning("ended journals are left to the sweeper: %s", error.sentence)

    async def _nap(self) -> None:
        rest = self._waiting[0].at + self._keeping.journal - time.time() if self._waiting else _LONGEST_NAP
        if self._gated:
            rest = _LONGEST_NAP
        if self._eraser:
            rest = min(rest, _ERASE_EVERY)
        try:
            await asyncio.wait_for(self._stopping.wait(), min(max(rest, 0.02), _LONGEST_NAP))
        except TimeoutError:
            return
