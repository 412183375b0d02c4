"""What runs say, on its way to the broker: gathered for a moment, then a message for each run.

Nothing here holds a handler up. With the broker away lines wait, as many as have room; the oldest go first,
and their number is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from typing import TYPE_CHECKING, Final

from consumers.capture import overhearing
from tidemill.durable.scribe import Redactor, Scribe
from tidemill.kernel.errors import BrokerError
from tidemill.kernel.services.run_logs import Batch, store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tidemill.kernel.jetstream.bus import Bus
    from tidemill.kernel.settings.run_logs import RunLogsSettings

EVERY_SECONDS: Final = 0.2
_RETRY_SECONDS: Final = 1.0
_LAST_SECONDS: Final = 2.0
_MOST_BYTES: Final = 8 * 1024 * 1024
_AT_ONCE: Final = 64
_log = logging.getLogger(__name__)


class RunLogs:
    """Hands out scribes, and stores what they have taken down."""

    def __init__(self, bus: Bus, settings: RunLogsSettings) -> None:
        self._bus = bus
        self._settings = settings
        self._redact = Redactor(settings.redact)
        self._woken: deque[Scribe] = deque()
        self._waiting: deque[Batch] = deque()
        self._bytes = 0

    def scribe(self, run: str, attempt: int, repeating: Callable[[], bool] | None = None) -> Scribe | None:
        """Return who takes down what an execution says; None where nothing is kept."""
        if not self._settings.enabled:
            return None
        limit = self._settings.max_run
        return Scribe(run, attempt, limit, self._redact, self._woken.append, repeating=repeating)

    @contextlib.asynccontextmanager
    async def storing(self) -> AsyncIterator[None]:
        """Hear and store what runs say inside of the block; what is left is stored at its end."""
        if not self._settings.enabled:
            yield
            return
        over = asyncio.Event()
        with overhearing(self._settings.level, prints=self._settings.prints):
            task = asyncio.create_task(self._run(over), name="store what runs log")
            try:
                yield
            finally:
                over.set()
                await asyncio.wait({task}, timeout=_LAST_SECONDS)
                task.cancel()

    async def _run(self, over: asyncio.Event) -> None:
        while not over.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), EVERY_SECONDS)
            try:
                stored = await self.flush()
            except Exception:  # noqa: BLE001 - no line is worth a worker
                _log.exception("what runs have logged can't be stored")
                stored = False
            if not stored and not over.is_set():
                await asyncio.sleep(_RETRY_SECONDS)

    async def flush(self) -> bool:
        """Store all that was said; say whether it worked."""
        self._gather()
        while self._waiting:
            batches = [self._waiting.popleft() for _ in range(min(_AT_ONCE, len(self._waiting)))]
            self._bytes -= sum(batch.size for batch in batches)
            stored = await asyncio.gather(*(self._store(batch) for batch in batches))
            failed = [batch for batch, done in zip(batches, stored, strict=True) if not done]
            if failed:
                self._put_back(failed)
                return False
        return True

    async def _store(self, batch: Batch) -> bool:
        try:
            await store(self._bus, batch)
        except BrokerError as error:
            _log.debug("the log of %s waits: %s", batch.run, error.sentence)
            return False
        return True

    def _gather(self) -> None:
        while self._woken:
            scribe = self._woken.popleft()
            lines, missed = scribe.take()
            for batch in Batch.split(scribe.run, scribe.attempt, lines, missed):
                self._waiting.append(batch)
                self._bytes += batch.size
        self._make_room()

    def _put_back(self, batches: list[Batch]) -> None:
        self._waiting.extendleft(reversed(batches))
        self._bytes += sum(batch.size for batch in batches)
        self._make_room()

    def _make_room(self) -> None:
        lost = 0
        while self._bytes > _MOST_BYTES:
            batch = self._waiting.popleft()
            self._bytes -= batch.size
            lost += len(batch.lines) + batch.missed
        if lost:
            _log.warning("%d lines that runs have logged are lost: the broker doesn't take them", lost)
