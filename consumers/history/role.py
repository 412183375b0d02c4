"""The role `history`: reads the streams from where the database stands, and writes what it finds there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import ClassVar, Final, ParamSpec, TypeVar

from consumers.history.lease import Lease
from tidemill.history.database import Database, locate, open_database
from tidemill.history.retention import Retention
from tidemill.history.writer import STREAMS, HistoryWriter
from tidemill.kernel import backoff
from tidemill.kernel.errors import BrokerError, ConflictError, HistoryError
from tidemill.kernel.jetstream import records
from tidemill.kernel.jetstream.records import Record
from tidemill.kernel.services.broker import Broker
from tidemill.kernel.settings.model import Settings

_BATCH: Final = 4096
"""Messages of a stream that one transaction takes in at most."""
_BYTES: Final = 16 << 20
_FEW: Final = 512
_PRUNING: Final = 0.05
_PRUNING_SHARE: Final = 0.5
"""Deleting what is old takes half as long as writing what is new, so that neither waits for the other."""
_PAUSE: Final = 0.1
_QUIET: Final = 0.25
_STANDBY: Final = 5.0
_LOOK_EVERY: Final = 5.0
_log = logging.getLogger(__name__)
Given = ParamSpec("Given")
Found = TypeVar("Found")


class History:
    """Writes one history. What is wrong with its database it sits out: nobody else waits for it."""

    name: ClassVar[str] = "history"

    def __init__(self, broker: Broker, settings: Settings) -> None:
        self._broker = broker
        self._settings = settings.history
        self._url = locate(settings)
        self._stopping = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="history writer")
        self._failures = 0
        self._warned = False

    async def run(self) -> None:
        """Work until `stop`."""
        try:
            while not self._stopping.is_set():
                try:
                    await self._open_and_write()
                except (BrokerError, ConflictError, HistoryError) as error:
                    await self._back_off(error.sentence)
                except Exception as error:  # noqa: BLE001 - a defect here must not take the engine along
                    _log.error("the history failed", exc_info=error)
                    await self._back_off(repr(error))
        finally:
            self._thread.shutdown(wait=False)

    async def stop(self) -> None:
        """Finish the transaction in work, and write no more."""
        self._stopping.set()

    async def _back_off(self, reason: str) -> None:
        self._failures += 1
        pause = backoff.delay(
            self._failures, factor=2, min_delay=0.5, max_delay=30.0, jitter=backoff.spread()
        )
        _log.warning("the history isn't written for %.1f s: %s", pause, reason)
        await self._wait(pause)

    async def _open_and_write(self) -> None:
        database = await self._call(open_database, self._url)
        try:
            if not await self._call(database.claim):
                _log.info("another process writes the history at %s: this one stands by", database.place)
                await self._wait(_STANDBY)
                return
            lease = Lease(self._broker.history, self._settings.name, database)
            if (other := await lease.take(self._stopping)) is not None:
                _log.log(
                    logging.DEBUG if self._warned else logging.WARNING,
                    "history %r is written at %s: %s stands by; name it otherwise in history.name",
                    self._settings.name,
                    other,
                    database.place,
                )
                self._warned = True
                await self._wait(_STANDBY)
                return
            self._warned = False
            await self._write(database, lease)
        finally:
            await self._call(database.close)

    async def _write(self, database: Database, lease: Lease) -> None:
        writer = HistoryWriter(database, self._broker.names, body_limit=self._settings.max_body)
        keeping = Retention(database, runs=self._settings.keep_runs, bodies=self._settings.keep_bodies)
        incarnations = await self._incarnations()
        await self._call(writer.begin, incarnations)
        _log.info("writing the history at %s", database.place)
        loop = asyncio.get_running_loop()
        look_at = loop.time() + _LOOK_EVERY
        reading = self._read_on({stream: place.seq for stream, place in writer.places.items()})
        try:
            while not self._stopping.is_set():
                found = await reading
                count = sum(map(len, found.values()))
                began = loop.time()
                if count:
                    reading = self._read_on(
                        {
                            stream: found[stream][-1].seq if found.get(stream) else place.seq
                            for stream, place in writer.places.items()
                        }
                    )
                    await self._call(writer.write, found)
                    self._failures = 0
                await lease.write(writer)
                if loop.time() >= look_at:
                    look_at = loop.time() + _LOOK_EVERY
                    if await self._moved(writer, incarnations):
                        break
                share = max(_PRUNING, (loop.time() - began) * _PRUNING_SHARE)
                more = await self._call(keeping.prune, share)
                if count < _FEW and not more:
                    await self._wait(_PAUSE if count else _QUIET)
                if not count:
                    reading = self._read_on({stream: place.seq for stream, place in writer.places.items()})
        finally:
            reading.cancel()
            with suppress(asyncio.CancelledError, BrokerError):
                await reading
        await lease.write(writer, released=True)

    async def _moved(self, writer: HistoryWriter, incarnations: Mapping[str, str]) -> bool:
        """Say whether streams or database are others than those that the writer began with."""
        if writer.database.gone or await self._incarnations() != incarnations:
            return True
        return not await self._call(writer.stands)

    def _read_on(self, seqs: Mapping[str, int]) -> asyncio.Task[dict[str, Sequence[Record]]]:
        return asyncio.create_task(self._read(seqs), name="read for the history")

    async def _read(self, seqs: Mapping[str, int]) -> dict[str, Sequence[Record]]:
        """Return what follows in each stream, in its order."""
        found = await asyncio.gather(*(self._read_one(stream, seq) for stream, seq in seqs.items()))
        return dict(zip(seqs, found, strict=True))

    async def _read_one(self, stream: str, seq: int) -> list[Record]:
        names = self._broker.names
        subject = names.subject(stream.lower(), ">")
        found: list[Record] = []
        more, size = True, 0
        while more and len(found) < _BATCH and size < _BYTES:
            start = found[-1].seq + 1 if found else seq + 1
            page, more = await records.page(self._broker.bus, names.stream(stream), subject, start=start)
            found += page
            size += sum(len(record.body) for record in page)
            more = more and bool(page)
        return found

    async def _incarnations(self) -> dict[str, str]:
        """Return when each stream was created: one that was deleted begins with sequence 1 again."""
        api, names = self._broker.bus.api, self._broker.names
        infos = await asyncio.gather(*(api(f"STREAM.INFO.{names.stream(stream)}") for stream in STREAMS))
        return {stream: str(info["created"]) for stream, info in zip(STREAMS, infos, strict=True)}

    async def _call(
        self, function: Callable[Given, Found], *given: Given.args, **named: Given.kwargs
    ) -> Found:
        """Call what blocks, in the writer's thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, lambda: function(*given, **named))

    async def _wait(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)
