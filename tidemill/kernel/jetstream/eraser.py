"""Removes messages that nobody needs any more: all at the stream's head at once, the others one by one.

A deletion costs the broker ten times as much as a message's part in a purge of a thousand (49 and 4 us,
nats-server 2.15.1). Messages become removable in about the order in which they were stored, so that most of
them soon stand at the head of their stream without a needed one in between; then one purge up to the first
other message removes them all. What stays behind a needed message is deleted by itself.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from tidemill.kernel.jetstream.records import delete

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidemill.kernel.jetstream.bus import Bus

PATIENCE: Final = 1.0
_AT_ONCE: Final = 64
_SLACK: Final = 10_000


class Eraser:
    """Collects the sequences of removable messages of one stream, and removes them when `remove` is called.

    A group of sequences that is added together is removed in its order. What is collected isn't stored:
    whoever needs it to be removed in the end finds it again by other means.
    """

    def __init__(
        self,
        bus: Bus,
        stream: str,
        *,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare.

        Args:
            bus: the connection.
            stream: whose messages are removed.
            patience: seconds for which a message may wait for those before it.
            clock: monotonic seconds.
        """
        self._bus = bus
        self._stream = stream
        self._patience = patience
        self._clock = clock
        self._waiting: set[int] = set()
        self._order: list[int] = []
        self._groups: deque[tuple[float, tuple[int, ...]]] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, group: tuple[int, ...]) -> None:
        """Take the sequences of messages that may go, in the order in which they must."""
        self._groups.append((self._clock(), group))
        self._waiting.update(group)
        for seq in group:
            heapq.heappush(self._order, seq)

    async def remove(self) -> None:
        """Remove what stands at the stream's head, and what has waited for that long enough.

        Raises:
            BrokerError: the broker refused or is away; what was about to be removed is forgotten.
        """
        if not self._waiting:
            return
        # Asked anew each time: sequences of a stream that was created again begin at 1 again.
        info = await self._bus.api(f"STREAM.INFO.{self._stream}")
        first = int(info["state"]["first_seq"])
        end = self._covered_from(first)
        if end > first:
            await self._bus.api(f"STREAM.PURGE.{self._stream}", {"seq": end})
        await self._delete_overdue()

    def _covered_from(self, first: int) -> int:
        """Return the first sequence from `first` on that isn't known to be removable."""
        end = first
        while self._order and self._order[0] <= end:
            seq = heapq.heappop(self._order)
            self._waiting.discard(seq)
            end = max(end, seq + 1)
        return end

    async def _delete_overdue(self) -> None:
        due = self._clock() - self._patience
        overdue: list[tuple[int, ...]] = []
        while self._groups and (self._groups[0][0] <= due or self._waiting.isdisjoint(self._groups[0][1])):
            _, group = self._groups.popleft()
            rest = tuple(seq for seq in group if seq in self._waiting)
            self._waiting.difference_update(rest)
            if rest:
                overdue.append(rest)
        if len(self._order) > 2 * len(self._waiting) + _SLACK:
            self._order = sorted(self._waiting)
        places = asyncio.Semaphore(_AT_ONCE)
        await asyncio.gather(*(self._delete(group, places) for group in overdue))

    async def _delete(self, group: tuple[int, ...], places: asyncio.Semaphore) -> None:
        async with places:
            for seq in group:
                await delete(self._bus, self._stream, seq)
