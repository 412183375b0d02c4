"""The closer's I/O: follows the journal's headers at a distance and closes the journals of ended runs."""

from __future__ import annotations

import asyncio
import time
from typing import Any, ClassVar, Final

import orjson

from consumers.role import Role
from tidemill.kernel.broker import Broker
from tidemill.kernel.performer import END_HEADER
from tidemill.kernel.protocol.closer import Closing, Keeping, Mark, close
from tidemill.kernel.pull import Delivery

_LOOK_AGAIN: Final = 60.0
"""Seconds after which a journal that had to stay is looked at again."""
_RENEW: Final = 10.0
_FLOOR_AGE: Final = 1.0


class Closer(Role):
    """The role that closes journals. It reads in order and stops where the records are too young."""

    name: ClassVar[str] = "closer"
    stream: ClassVar[str] = "JOURNAL"

    def __init__(self, broker: Broker, keeping: Keeping) -> None:
        super().__init__(broker)
        self._keeping = keeping
        self._floor = 0
        self._floor_at = float("-inf")

    async def handle(self, delivery: Delivery) -> None:
        """Close one run's journal, or come back to it later."""
        facts = (delivery.headers or {}).get(END_HEADER)
        if facts is None:
            await delivery.ack()
            return
        run = self.broker.names.tokens(delivery.subject)[1]
        mark = Mark(run, seq=delivery.stream_seq, at=delivery.stored_at, **_mark(facts))
        await self._wait_until_due(mark, delivery)
        procedure = close(mark, self._keeping, routed=await self._routed(mark), now=time.time())
        if await self.performer.run(procedure, delivery) is Closing.LATER:
            await delivery.nak(_LOOK_AGAIN if mark.lasting else _FLOOR_AGE)

    async def _wait_until_due(self, mark: Mark, delivery: Delivery) -> None:
        """Hold the message until its run may be closed: all later ones wait at the broker meanwhile."""
        while (rest := mark.at + self._keeping.journal - time.time()) > 0:
            await asyncio.sleep(min(rest, _RENEW))
            await delivery.progress()

    async def _routed(self, mark: Mark) -> int:
        """Return the router's acknowledgement floor; a run that needs a newer one asks for it."""
        now = time.monotonic()
        if mark.event_seq > self._floor and now - self._floor_at > _FLOOR_AGE:
            self._floor_at = now
            names = self.broker.names
            info = await self.broker.bus.api(f"CONSUMER.INFO.{names.stream('EVENTS')}.router")
            self._floor = int(info["ack_floor"]["stream_seq"])
        return self._floor


def _mark(facts: str) -> dict[str, Any]:
    known: dict[str, Any] = orjson.loads(facts)
    return {"task": ""} | known
