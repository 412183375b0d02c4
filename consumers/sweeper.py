"""The sweeper's I/O: looks over the journals' last records and carries on the runs that nothing carries."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from typing import Final

from consumers.closer import RouterFloor
from consumers.history.gate import HistoryGate
from tidemill.kernel.errors import BrokerError, PayloadError
from tidemill.kernel.jetstream.journal import LastEntry
from tidemill.kernel.marks import END_HEADER, expires_at, read_header
from tidemill.kernel.protocol.closer import Closing, Keeping, close
from tidemill.kernel.protocol.sweeper import Sweep, sweep
from tidemill.kernel.services.broker import Broker

_SHARE: Final = 20
"""A sweep may take one part in so many of the time."""
_log = logging.getLogger(__name__)


class Sweeper:
    """Sweeps every `interval` seconds; a run must have stood still for `patience` seconds."""

    def __init__(
        self,
        broker: Broker,
        keeping: Keeping,
        gate: HistoryGate,
        *,
        interval: float = 60.0,
        patience: float = 120.0,
    ) -> None:
        self._broker = broker
        self._keeping = keeping
        self._floor = RouterFloor(broker)
        self._gate = gate
        self._interval = interval
        self._patience = patience
        self._open_parents: set[str] = set()
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Sweep until `stop`."""
        pause = self._interval
        while not await self._stopped_within(pause):
            begun = time.monotonic()
            try:
                await self.sweep()
            except BrokerError as error:
                _log.warning("the sweep stopped half-way: %s", error.sentence)
            pause = max(self._interval, _SHARE * (time.monotonic() - begun))

    async def stop(self) -> None:
        """Sweep no more."""
        self._stopping.set()

    async def sweep(self) -> int:
        """Look at every living run once; return how many were carried on."""
        mended = 0
        self._open_parents.clear()
        async for last in self._broker.journal.runs(headers_only=True):
            if self._stopping.is_set():
                break
            now = time.time()
            late = (moment := expires_at(last.headers)) is not None and now > moment
            if last.tombstone or (now - last.at < self._patience and not late):
                continue
            try:
                mended += await self._mend(last)
            except BrokerError:
                raise
            except Exception as error:  # noqa: BLE001 - one journal must not keep the others from being seen
                _log.error("the journal of %s can't be swept", last.run, exc_info=error)
        return mended

    async def _mend(self, last: LastEntry) -> bool:
        if END_HEADER not in last.headers:
            return await self._look_at(last.run)
        await self._close(last)
        return False

    async def _close(self, last: LastEntry) -> None:
        """Close a journal that had to stay open when the closer came by."""
        mark = read_header(last.run, last.seq, last.at, last.headers[END_HEADER])
        if mark.parent in self._open_parents or not self._gate.lets(mark, await self._gate.floor()):
            return
        floor = await self._floor.reaching(mark.event_seq)
        procedure = close(mark, self._keeping, routed=floor, now=time.time())
        if await self._broker.performer.run(procedure) is Closing.LATER and mark.parent:
            self._open_parents.add(mark.parent)
        await self._gate.tell()

    async def _look_at(self, run: str) -> bool:
        rid = f"sweep-{secrets.token_hex(8)}"
        procedure = sweep(run, patience=self._patience, now=time.time(), rid=rid)
        try:
            done = await self._broker.performer.run(procedure)
        except PayloadError as error:
            _log.error("the journal of %s can't be read: %s", run, error.sentence)
            return False
        if done is Sweep.END:
            _log.info("%s has expired before any worker took it", run)
        elif done is not Sweep.NOTHING:
            _log.warning("%s was carried by nothing: it has a %s again", run, done.name.lower())
        return done is not Sweep.NOTHING

    async def _stopped_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return False
        return True
