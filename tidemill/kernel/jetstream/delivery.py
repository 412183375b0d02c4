"""One message of a durable pull consumer, and the words with which it is answered.

The words are published to the delivery's reply subject without waiting. The broker honours them by the
message's stream sequence, also when this delivery has expired and the message belongs to somebody else by
now: whoever isn't its owner any more sends nothing (A2 of the run protocol).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tidemill.kernel.jetstream import ackreply

if TYPE_CHECKING:
    from tidemill.kernel.jetstream.bus import Bus

ACK: Final = b"+ACK"
NAK: Final = b"-NAK"
TERM: Final = b"+TERM"
PROGRESS: Final = b"+WPI"
_NANOSECONDS: Final = 1_000_000_000


class Delivery:
    """A message that was handed to this process to be worked on and answered."""

    __slots__ = ("_bus", "_facts", "body", "headers", "reply", "subject")

    def __init__(
        self, bus: Bus, *, subject: str, body: bytes, headers: dict[str, str] | None, reply: str
    ) -> None:
        self._bus = bus
        self._facts: ackreply.AckReply | None = None
        self.subject = subject
        self.body = body
        self.headers = headers
        self.reply = reply

    def __repr__(self) -> str:
        return f"<Delivery {self.subject} {self.reply}>"

    @property
    def facts(self) -> ackreply.AckReply:
        """What the reply subject says, read at the first use."""
        if self._facts is None:
            self._facts = ackreply.parse(self.reply)
        return self._facts

    @property
    def stream_seq(self) -> int:
        """The message's sequence in its stream: the same in every redelivery."""
        return self.facts.stream_seq

    @property
    def attempt(self) -> int:
        """How often the consumer has delivered it, from 1; it starts anew when the consumer is re-created."""
        return self.facts.attempt

    @property
    def consumer_seq(self) -> int:
        """The delivery's own number within the consumer."""
        return self.facts.consumer_seq

    @property
    def stored_at(self) -> float:
        """When the broker stored the message, in seconds since 1970."""
        return self.facts.stored_at

    @property
    def pending(self) -> int:
        """How many messages waited behind this one when it was delivered."""
        return self.facts.pending

    async def ack(self) -> None:
        """Say that it is done; the message leaves a work queue.

        Raises:
            BrokerUnavailableError: not connected; the message will be delivered again.
        """
        await self._bus.send(self.reply, ACK)

    async def nak(self, delay: float | None = None) -> None:
        """Give it back for another delivery, at once or after `delay` seconds.

        Raises:
            BrokerUnavailableError: as for `ack`.
        """
        word = NAK if delay is None else NAK + b' {"delay": %d}' % int(delay * _NANOSECONDS)
        await self._bus.send(self.reply, word)

    async def term(self, reason: str = "") -> None:
        """Say that it shall never be delivered again, though it wasn't done.

        Raises:
            BrokerUnavailableError: as for `ack`.
        """
        await self._bus.send(self.reply, TERM + b" " + reason.encode() if reason else TERM)

    async def progress(self) -> None:
        """Renew the lease: the consumer's wait for an acknowledgement begins anew.

        Raises:
            BrokerUnavailableError: as for `ack`.
        """
        await self._bus.send(self.reply, PROGRESS)
