"""Leases: a ticket stays with its worker as long as somebody renews it.

Renewal runs in a thread with an event loop and a connection of its own, so that a handler that blocks the
worker's loop keeps its run (B4). It ends for good where a renewal came too late: a late `+WPI` would keep the
lease of whoever owns the ticket by then (late answers are honoured by stream sequence, not by delivery).
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from tidemill.kernel.errors import BrokerError
from tidemill.kernel.jetstream.bus import Bus

PROGRESS: Final = b"+WPI"
_RENEWALS_PER_LEASE: Final = 4
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Lease:
    """A held ticket: where to renew it, when that last worked (monotonic seconds), whom to tell if lost."""

    reply: str
    renewed: float
    on_expired: Callable[[], None]


class LeaseKeeper:
    """Renews every held ticket until it is dropped."""

    def __init__(self, connect: Callable[[], Awaitable[Bus]], *, lease: float) -> None:
        self._connect = connect
        self.lease = lease
        self._away = False
        self._held: dict[str, Lease] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._main, name="tidemill-leases", daemon=True)
        self.failure: BaseException | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop renewing; blocks until the thread has gone."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    @property
    def alive(self) -> bool:
        """Whether the thread runs: without it long runs lose their tickets."""
        return self._thread.is_alive()

    def hold(self, reply: str, on_expired: Callable[[], None], since: float) -> None:
        """Renew the ticket with this reply subject, which was delivered at `since` (monotonic seconds).

        Its loss calls `on_expired`, once, from the thread.
        """
        self._held[reply] = Lease(reply, since, on_expired)

    def drop(self, reply: str) -> None:
        """Stop renewing a ticket."""
        self._held.pop(reply, None)

    def _main(self) -> None:
        try:
            asyncio.run(self._renew_for_ever())
        except BaseException as error:  # a dead keeper is a dead worker: whoever watches `alive` reads why
            self.failure = error
            _log.exception("the lease thread has died")
            raise

    async def _renew_for_ever(self) -> None:
        bus = await self._connect()
        try:
            while not await asyncio.to_thread(self._stopping.wait, self.lease / _RENEWALS_PER_LEASE / 2):
                await self._renew_due(bus)
        finally:
            await bus.close()

    async def _renew_due(self, bus: Bus) -> None:
        for lease in self._held.copy().values():  # in one go: the worker's thread changes it meanwhile
            age = time.monotonic() - lease.renewed
            if lease.reply not in self._held:
                continue
            if age > self.lease:
                self.drop(lease.reply)
                lease.on_expired()
            elif age > self.lease / _RENEWALS_PER_LEASE:
                await self._renew(bus, lease)

    async def _renew(self, bus: Bus, lease: Lease) -> None:
        sent = time.monotonic()
        try:
            await bus.send(lease.reply, PROGRESS)
        except BrokerError as error:
            if not self._away:
                _log.warning("%d leases aren't renewed: %s", len(self._held), error.sentence)
            self._away = True
        else:
            self._away, lease.renewed = False, sent
