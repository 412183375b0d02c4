"""A delivered ticket in the worker's hands: its lease, its execution, and the answers that it waits for."""

from __future__ import annotations

import time
from collections.abc import Callable

from consumers.execution import Execution
from consumers.lease import LeaseKeeper
from tidemill.kernel.jetstream.delivery import Delivery


class Held:
    """Holds a ticket's lease until it is answered; answers wait for a thread that still executes.

    `expired` says that the lease has run out: somebody else may have been given the ticket.
    """

    def __init__(self, delivery: Delivery, run: str, leases: LeaseKeeper) -> None:
        self._delivery = delivery
        self._leases = leases
        self._on_expired: Callable[[], None] | None = None
        self.run = run
        self.execution: Execution | None = None
        self.expired = False

    @property
    def subject(self) -> str:
        """The ticket's subject."""
        return self._delivery.subject

    @property
    def lost(self) -> bool:
        """Whether somebody else is known to own the run."""
        return self.execution is not None and self.execution.lost

    def hold(self, on_expired: Callable[[], None], since: float | None = None) -> None:
        """Keep the lease of a ticket that was delivered at `since` (monotonic seconds, by default now)."""
        self._on_expired = on_expired
        self._leases.hold(self._delivery.reply, self._expire, time.monotonic() if since is None else since)

    def drop(self) -> None:
        """Let go of the lease."""
        self._leases.drop(self._delivery.reply)

    def close(self) -> None:
        """Forget whom to tell, when the ticket is let go: he knows the ticket, and neither could be freed."""
        self._on_expired = None

    def adopts(self, delivery: Delivery) -> bool:
        """Take the ticket's next delivery over, which came to this very worker, and say whether it did.

        The lease had run out, while the broker was away or the loop was blocked, but nobody else had the
        ticket in between: its execution goes on under the new lease, and no second one begins.
        """
        same = delivery.stream_seq == self._delivery.stream_seq
        given_up = self.lost or (self.expired and self.execution is None)
        if not same or delivery.attempt != self._delivery.attempt + 1 or given_up or not self._on_expired:
            return False
        self.drop()
        self._delivery, self.expired = delivery, False
        self.hold(self._on_expired)
        return True

    async def ack(self) -> None:
        """Acknowledge the ticket once nothing executes under it any more."""
        await self.settled()
        self.drop()
        await self._delivery.ack()

    async def nak(self, delay: float | None = None) -> None:
        """Give the ticket back once nothing executes under it any more.

        An expired one needs no giving back: it may be in somebody's hands, from which this would take it.
        """
        await self.settled()
        self.drop()
        if not self.expired:
            await self._delivery.nak(delay)

    async def settled(self) -> None:
        """Wait until nothing executes under the ticket."""
        if self.execution is not None:
            await self.execution.lingering()

    def _expire(self) -> None:
        self.expired = True
        if self._on_expired is not None:
            self._on_expired()
