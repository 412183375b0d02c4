"""Verdicts onto the broker: accepted events into EVENTS, unsound ones into QUARANTINE.

Both are published under the delivery's key as message id, so that the broker finds a delivery that came
before, also when two arrive at the same moment. Large bodies go to the blob store first and travel as a
reference (claim check); the delivery's key owns them, for as long as the stream keeps what refers to them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gateway.verdict import Accepted, Quarantined, Reason
from tidemill.kernel.clock import now
from tidemill.kernel.frames import pack
from tidemill.kernel.jetstream.blobs import INLINE_LIMIT, Blobs

if TYPE_CHECKING:
    from tidemill.kernel.envelope import Envelope
    from tidemill.kernel.jetstream.bus import Bus, Stored

TIMEOUT: Final = 1.2
"""Seconds until a sender is told to come again: with what stands around it, less than two."""
_SPARE_SECONDS: Final = 3600.0


class Publisher:
    """Stores what came in; returns only after the broker has acknowledged it (B1).

    Args:
        bus: the connection.
        blobs: where large bodies go.
        events_age: seconds for which an event is kept.
        quarantine_age: seconds for which an entry of the quarantine is kept; then it may become an event.
    """

    def __init__(self, bus: Bus, blobs: Blobs, *, events_age: float, quarantine_age: float) -> None:
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
        detail = f"{len(envelope.raw)} bytes are too many for data that is wrapped: send it as a JSON body."
        reason = verdict.reason if isinstance(verdict, Quarantined) else Reason("too_large", detail)
        return Quarantined(envelope.model_copy(update={"value": None}), reason)

    async def accept(self, envelope: Envelope) -> Stored:
        """Store an event.

        Raises:
            BrokerError: the broker didn't take it; the outcome is unknown, and repeating it is safe.
        """
        subject = self._bus.names.event(envelope.source, envelope.type)
        if len(envelope.raw) <= INLINE_LIMIT:
            frame = envelope.to_frame()
        else:
            frame = pack(envelope.facts() | await self._lay_off(envelope, self._event_blobs))
        return await self._publish(subject, frame, envelope.deliverykey)

    async def quarantine(self, envelope: Envelope, reason: Reason) -> Stored:
        """Store a delivery that can't be processed, with the reason.

        Raises:
            BrokerError: as for `accept`.
        """
        subject = self._bus.names.quarantine(envelope.source, envelope.deliverykey)
        why = {"code": reason.code, "detail": reason.detail, "path": reason.path, "at": now().isoformat()}
        facts = envelope.facts() | {"quarantine": why}
        if len(envelope.raw) <= INLINE_LIMIT:
            frame = pack(facts, envelope.raw)
        else:
            frame = pack(facts | await self._lay_off(envelope, self._quarantine_blobs))
        return await self._publish(subject, frame, envelope.deliverykey)

    async def _lay_off(self, envelope: Envelope, keep: float) -> dict[str, Any]:
        return {"blob": await self._blobs.put(envelope.deliverykey, envelope.raw, keep=keep)}

    async def _publish(self, subject: str, frame: bytes, key: str) -> Stored:
        return await self._bus.publish(subject, frame, headers={"Nats-Msg-Id": key}, timeout=TIMEOUT)
