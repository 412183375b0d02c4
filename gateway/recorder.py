"""Records of deliveries that came before, and of drift, in RECORDS.

They are kept for operators, as well as possible: a bounded queue and one task that empties it, so that
nothing here delays or fails an answer. Under load they are sampled; a record then says how many before it
weren't kept.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson

from tidemill.kernel.clock import now
from tidemill.kernel.errors import BrokerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.metrics import Metrics
    from tidemill.kernel.envelope import Envelope
    from tidemill.kernel.jetstream.bus import Bus

_log = logging.getLogger(__name__)

QUEUE_LENGTH: Final = 2000
PUBLISH_TIMEOUT: Final = 2.0
PAUSE: Final = 0.5
DUPLICATE: Final = "duplicate"
DRIFT: Final = "drift"


@dataclass(slots=True)
class TokenBucket:
    """Lets `burst` pass at once and `rate` a second in the long run."""

    rate: float
    burst: float
    clock: Callable[[], float] = time.monotonic
    _level: float = field(init=False)
    _since: float = field(init=False)

    def __post_init__(self) -> None:
        self._level, self._since = self.burst, self.clock()

    def take(self) -> bool:
        """Say whether one more may pass."""
        moment = self.clock()
        self._level = min(self.burst, self._level + (moment - self._since) * self.rate)
        self._since = moment
        if self._level < 1:
            return False
        self._level -= 1
        return True


class Recorder:
    """Keeps records on the broker, without a promise."""

    def __init__(self, bus: Bus, metrics: Metrics) -> None:
        self._bus = bus
        self._metrics = metrics
        self._queue: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue(QUEUE_LENGTH)
        self._buckets = {
            DUPLICATE: TokenBucket(rate=100, burst=1000),
            DRIFT: TokenBucket(rate=10, burst=500),
        }
        self._missed = dict.fromkeys(self._buckets, 0)

    def duplicate(self, envelope: Envelope, client: str) -> None:
        """Keep a delivery that had come before, unless there are too many."""
        if self._pass(DUPLICATE):
            facts = {"id": envelope.id, "source": envelope.source, "type": envelope.type, "client": client}
            self._offer(DUPLICATE, envelope.source, envelope.deliverykey, facts)

    def drift(self, source: str, facts: dict[str, Any]) -> None:
        """Keep a report of how a source's events differ from what was known of them."""
        if self._pass(DRIFT):
            self._offer(DRIFT, source, secrets.token_hex(10), facts)

    async def run(self) -> None:
        """Send what is kept to the broker, until cancelled."""
        while True:
            subject, body = await self._queue.get()
            try:
                await self._bus.publish(subject, body, timeout=PUBLISH_TIMEOUT)
            except BrokerError as error:
                kind = self._bus.names.tokens(subject)[1]
                self._metrics.records_dropped[kind,] += 1
                _log.debug("a record was not kept: %s", error.sentence)
                await asyncio.sleep(PAUSE)

    def _pass(self, kind: str) -> bool:
        if self._buckets[kind].take():
            return True
        self._miss(kind)
        return False

    def _miss(self, kind: str) -> None:
        self._missed[kind] += 1
        self._metrics.records_dropped[kind,] += 1

    def _offer(self, kind: str, source: str, key: str, facts: dict[str, Any]) -> None:
        document = {"at": now().isoformat(), **facts, "missed": self._missed[kind]}
        try:
            self._queue.put_nowait((self._bus.names.record(kind, source, key), orjson.dumps(document)))
        except asyncio.QueueFull:
            self._miss(kind)
        else:
            self._missed[kind] = 0
