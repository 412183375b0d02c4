"""Verdicts onto the broker: accepted events into EVENTS, unsound ones into QUARANTINE.

Both are published under the delivery's key as message id, so that the broker finds a delivery that came
before, also when two arrive at the same moment. Large bodies go to the blob store first and travel as a
reference (claim check); the delivery's key owns them, for as long as the stream keeps what refers to them.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

import orjson

from gateway.reason import Reason
from gateway.storing import Storing
from gateway.verdict import Accepted, Quarantined
from tidemill.kernel.clock import now
from tidemill.kernel.errors import BrokerError, BrokerUnavailableError
from tidemill.kernel.frames import pack
from tidemill.kernel.jetstream.blobs import INLINE_LIMIT, Blobs
from tidemill.kernel.jetstream.topology import TopologyLimits
from tidemill.kernel.reply import HEADER as REPLY_HEADER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tidemill.kernel.envelope import Envelope
    from tidemill.kernel.jetstream.bus import Bus, Stored
    from tidemill.kernel.services.broker import Broker
    from tidemill.kernel.settings.model import Settings

TIMEOUT: Final = 1.2
"""Seconds until a sender is told to come again: with what stands around it, less than two."""
SLOWEST: Final = 1024 * 1024
"""Bytes of a large body that the broker must take in a second, as long as it answers at all."""
_SPARE_SECONDS: Final = 3600.0
_MESSAGE_ID: Final = "Nats-Msg-Id"


class Publisher:
    """Stores what came in; returns only after the broker has acknowledged it (B1).

    `storing` tells whether that works.

    Args:
        bus: the connection.
        blobs: where large bodies go.
        events_age: seconds for which an event is kept.
        quarantine_age: seconds for which an entry of the quarantine is kept; then it may become an event.
    """

    def __init__(self, bus: Bus, blobs: Blobs, *, events_age: float, quarantine_age: float) -> None:
        self.storing = Storing()
        self._bus = bus
        self._blobs = blobs
        self._event_blobs = events_age + _SPARE_SECONDS
        self._quarantine_blobs = quarantine_age + events_age + _SPARE_SECONDS

    def fit(self, verdict: Accepted | Quarantined) -> Accepted | Quarantined:
        """Turn an event whose data can't travel beside its body into an entry of the quarantine.

        Data that isn't simply the body's JSON stands in the facts, which must fit into one message.
        """
        envelope = verdict.envelope
        if envelope.value is None or len(envelope.raw) <= self._bus.max_payload // 2:
            return verdict
        if len(orjson.dumps(envelope.value)) <= self._bus.max_payload // 2:
            return verdict
        detail = f"{len(envelope.raw)} bytes are too many for data that is wrapped: send it as a JSON body."
        reason = verdict.reason if isinstance(verdict, Quarantined) else Reason("too_large", detail)
        return Quarantined(envelope.model_copy(update={"value": None}), reason)

    async def accept(self, envelope: Envelope, *, awaited: bool = False) -> Stored:
        """Store an event; `awaited` says that its sender may wait for what a run answers.

        Raises:
            BrokerError: the broker didn't take it; the outcome is unknown, and repeating it is safe.
        """
        headers = {_MESSAGE_ID: envelope.deliverykey} | ({REPLY_HEADER: "1"} if awaited else {})
        subject = self._bus.names.event(envelope.source, envelope.type)
        if len(envelope.raw) <= INLINE_LIMIT:
            return await self._publish(subject, envelope.to_frame(), headers)
        return await self._publish_large(subject, envelope, envelope.facts(), headers, self._event_blobs)

    async def quarantine(self, envelope: Envelope, reason: Reason) -> Stored:
        """Store a delivery that can't be processed, with the reason.

        Raises:
            BrokerError: as for `accept`.
        """
        subject = self._bus.names.quarantine(envelope.source, envelope.deliverykey)
        headers = {_MESSAGE_ID: envelope.deliverykey}
        why = {"code": reason.code, "detail": reason.detail, "path": reason.path, "at": now().isoformat()}
        facts = envelope.facts() | {"quarantine": why}
        if len(envelope.raw) <= INLINE_LIMIT:
            return await self._publish(subject, pack(facts, envelope.raw), headers)
        return await self._publish_large(subject, envelope, facts, headers, self._quarantine_blobs)

    async def keep_batch(self, key: str, raw: bytes) -> None:
        """Store the body that several events came in, for as long as they are kept.

        Raises:
            BrokerError: as for `accept`.
        """
        async with self._deadline("a batch", len(raw)):
            await self._blobs.put(key, raw, keep=self._quarantine_blobs, timeout=TIMEOUT)

    async def _publish_large(
        self, subject: str, envelope: Envelope, facts: dict[str, Any], headers: dict[str, str], keep: float
    ) -> Stored:
        """Store the body as a blob first."""
        key, raw = envelope.deliverykey, envelope.raw
        async with self._deadline(subject, len(raw)):
            name = await self._blobs.put(key, raw, keep=keep, timeout=TIMEOUT)
            return await self._publish(subject, pack(facts | {"blob": name}), headers)

    @asynccontextmanager
    async def _deadline(self, what: str, size: int) -> AsyncIterator[None]:
        """Hold one deadline for all that a large body takes, and note what fails.

        A broker that doesn't answer is found out at the first request, whatever the body's size.
        """
        try:
            async with asyncio.timeout(TIMEOUT + size / SLOWEST):
                yield
        except TimeoutError as error:
            late = BrokerUnavailableError(
                f"{what}: {size} bytes weren't stored in time, the outcome is unknown",
                hint="the broker, or the way to it, is slow: repeat it with the same message id",
            )
            self.storing.failed(late)
            raise late from error
        except BrokerError as error:
            self.storing.failed(error)
            raise

    async def _publish(self, subject: str, frame: bytes, headers: dict[str, str]) -> Stored:
        try:
            stored = await self._bus.publish(subject, frame, headers=headers, timeout=TIMEOUT)
        except BrokerError as error:
            self.storing.failed(error)
            raise
        self.storing.succeeded()
        return stored


def publisher_of(settings: Settings, broker: Broker) -> Publisher:
    """Return the publisher that the settings and their topology ask for."""
    quarantine_age = TopologyLimits().quarantine_max_age
    return Publisher(
        broker.bus, broker.blobs, events_age=settings.events.max_age, quarantine_age=quarantine_age
    )
