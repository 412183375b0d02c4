"""One of a puller's requests for messages: its inbox, what it asked for, and what of it is still to come."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidemill.kernel.jetstream.budget import Share
    from tidemill.kernel.jetstream.bus import Bus, Message, Subscription

_NANOSECONDS: Final = 1_000_000_000
# A request without an answer for this long after it should have expired: its status was lost.
_LOST_AFTER: Final = 1.0


class PullRequest:
    """A `CONSUMER.MSG.NEXT` request that is made again and again; open while something of it is `left`.

    Its places come from a share before it is opened; each delivery uses one, the end gives back the rest.
    """

    __slots__ = (
        "_bus",
        "_deadline",
        "_inbox",
        "_number",
        "_share",
        "_subject",
        "_subscription",
        "asked",
        "left",
    )

    def __init__(self, bus: Bus, subject: str, share: Share) -> None:
        self._bus = bus
        self._subject = subject
        self._share = share
        self._inbox = ""
        self._subscription: Subscription | None = None
        self._number = 0
        self._deadline = 0.0
        self.asked = 0
        self.left = 0

    @property
    def more_than_half_left(self) -> bool:
        """Whether most of it is still to come."""
        return self.left * 2 > self.asked

    @property
    def untouched(self) -> bool:
        """Whether nothing of it has come."""
        return self.left == self.asked

    def is_answered_by(self, message: Message) -> bool:
        """Say whether a status is for this request as it is open now, not for an earlier one."""
        return message.subject == f"{self._inbox}.{self._number}"

    async def subscribe(self, handler: Callable[[Message], None]) -> None:
        """Subscribe it to an inbox of its own, unless it is.

        Raises:
            BrokerUnavailableError: not connected.
        """
        if self._subscription is None:
            self._inbox = self._bus.new_inbox()
            self._subscription = await self._bus.subscribe(f"{self._inbox}.*", handler)

    async def unsubscribe(self) -> None:
        """Leave the inbox: what the broker still knows of earlier requests finds nobody there any more."""
        if self._subscription is not None:
            await self._subscription.stop()
            self._subscription = None

    async def open(self, places: int, expires: float) -> None:
        """Ask for as many messages as places were taken from the share, for `expires` seconds.

        Raises:
            BrokerUnavailableError: not connected; the places have been given back.
        """
        self._number += 1
        self.asked = self.left = places
        self._deadline = asyncio.get_running_loop().time() + expires + _LOST_AFTER
        ask = b'{"batch":%d,"expires":%d}' % (places, int(expires * _NANOSECONDS))
        try:
            await self._bus.send(self._subject, ask, reply=f"{self._inbox}.{self._number}")
        except BaseException:
            self.end()
            raise

    def use_one(self) -> bool:
        """Count a delivery; False where it has no place, since the request was taken for lost."""
        if self.left == 0:
            return False
        self.left -= 1
        self._share.used()
        return True

    def end(self) -> None:
        """Give back the places of what won't come any more."""
        left, self.left = self.left, 0
        if left:
            self._share.unused(left)

    def end_if_lost(self, now: float) -> bool:
        """End it when its answer is overdue, and say whether it was."""
        if not self.left or self._deadline >= now:
            return False
        self.end()
        return True
