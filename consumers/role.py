"""What every engine role is: a durable consumer whose messages are worked on, so many at a time."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections import Counter
from typing import ClassVar, Final

from tidemill.kernel.errors import BrokerError, PayloadError
from tidemill.kernel.jetstream.pull import Budget, Delivery, Puller
from tidemill.kernel.letters import undecodable
from tidemill.kernel.services.broker import Broker

POISON_LIMIT: Final = 3
"""How often a message may fail in one process before it becomes a dead letter."""
_STOP_SECONDS: Final = 3.0
_log = logging.getLogger(__name__)


class Role(ABC):
    """A durable consumer of one stream; several processes may run the same role side by side."""

    name: ClassVar[str]
    stream: ClassVar[str]
    places: ClassVar[int] = 256

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.performer = broker.performer
        self._budget = Budget(self.places)
        self._work: set[asyncio.Task[None]] = set()
        self._failures: Counter[int] = Counter()
        self._puller = Puller(
            broker.bus,
            broker.names.stream(self.stream),
            self.name,
            self._budget,
            self._accept,
        )

    @abstractmethod
    async def handle(self, delivery: Delivery) -> None:
        """Work on one message; it must be acknowledged behind all of its effects (A1)."""

    async def run(self) -> None:
        """Work until `stop`."""
        await self._puller.run()

    async def stop(self) -> None:
        """Take no more messages, and finish those that are in work."""
        await self._puller.stop()
        if self._work:
            await asyncio.wait(self._work, timeout=_STOP_SECONDS)
        for work in tuple(self._work):  # its message comes again, wherever it stood
            work.cancel()

    def _accept(self, delivery: Delivery) -> None:
        work = asyncio.create_task(self._guarded(delivery), name=f"{self.name} {delivery.stream_seq}")
        self._work.add(work)
        work.add_done_callback(self._finished)

    def _finished(self, work: asyncio.Task[None]) -> None:
        self._work.discard(work)
        self._budget.give_back()
        if not work.cancelled() and (error := work.exception()) is not None:
            _log.error("%s failed", work.get_name(), exc_info=error)

    async def _guarded(self, delivery: Delivery) -> None:
        try:
            await self.handle(delivery)
        except BrokerError as error:
            # Nothing was acknowledged: the message comes again when its lease has run out.
            _log.warning("%s: message %d waits: %s", self.name, delivery.stream_seq, error.sentence)
        except Exception as error:  # noqa: BLE001 - a poisoned message must not stop the role
            await self._poisoned(delivery, error)
        else:
            self._failures.pop(delivery.stream_seq, None)

    async def _poisoned(self, delivery: Delivery, error: Exception) -> None:
        """Give a message that makes this role fail up, at once when nobody can ever read it."""
        self._failures[delivery.stream_seq] += 1
        failures = self._failures[delivery.stream_seq]
        try:
            if isinstance(error, PayloadError) or failures >= POISON_LIMIT:
                _log.error("%s gives %s up", self.name, delivery.subject, exc_info=error)
                await bury(self.broker, delivery, self.name, f"{type(error).__name__}: {error}")
                del self._failures[delivery.stream_seq]
            else:
                _log.warning("%s: %s failed, it is tried again", self.name, delivery.subject, exc_info=error)
                await delivery.nak(float(failures))
        except BrokerError as refused:
            _log.warning("%s: message %d waits: %s", self.name, delivery.stream_seq, refused.sentence)


async def bury(broker: Broker, delivery: Delivery, role: str, reason: str) -> None:
    """Make a message that can't be worked on a dead letter, then acknowledge it."""
    subject = broker.names.dead(role, f"message-{delivery.stream_seq}")
    headers = {"Nats-Msg-Id": f"{delivery.subject}:{delivery.stream_seq}"}
    await broker.bus.publish(subject, undecodable(delivery.subject, delivery.body, reason), headers=headers)
    await delivery.ack()
