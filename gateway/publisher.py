"""Verdicts onto the broker: accepted events into EVENTS, unsound ones into QUARANTINE.

Both are published under the delivery's key as message id, so that the broker finds a delivery that came
before, also when two arrive at the same moment. Large bodies go to the blob store first and travel as a
reference (claim check); the delivery's key owns them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tidemill.kernel.clock import now
from tidemill.kernel.frames import pack

if TYPE_CHECKING:
    from tidemill.kernel.blobs import Blobs

    from gateway.verdict import Reason
    from tidemill.kernel.bus import Bus, Stored
    from tidemill.kernel.envelope import Envelope

INLINE_LIMIT: Final = 128 * 1024
TIMEOUT: Final = 1.5


class Publisher:
    """Stores what came in; returns only after the broker has acknowledged it (B1)."""

    def __init__(self, bus: Bus, blobs: Blobs) -> None:
        self._bus = bus
        self._blobs = blobs

    async def accept(self, envelope: Envelope) -> Stored:
        """Store an event.

        Raises:
            BrokerError: the broker didn't take it; the outcome is unknown, and repeating it is safe.
        """
        subject = self._bus.names.event(envelope.source, envelope.type)
        if len(envelope.raw) <= INLINE_LIMIT:
            frame = envelope.to_frame()
        else:
            frame = pack(envelope.facts() | await self._lay_off(envelope))
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
            frame = pack(facts | await self._lay_off(envelope))
        return await self._publish(subject, frame, envelope.deliverykey)

    async def _lay_off(self, envelope: Envelope) -> dict[str, Any]:
        return {"blob": await self._blobs.put(envelope.deliverykey, envelope.raw)}

    async def _publish(self, subject: str, frame: bytes, key: str) -> Stored:
        return await self._bus.publish(subject, frame, headers={"Nats-Msg-Id": key}, timeout=TIMEOUT)
