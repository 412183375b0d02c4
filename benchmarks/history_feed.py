"""Made-up messages on a real broker, each published when it would come."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count

from history_made import Made

from tidemill.history.writer import STREAMS
from tidemill.kernel.services.broker import Broker

_TICK = 0.02


@dataclass
class Feed:
    """Publishes messages, and remembers when it had sent how many records of journals.

    `runs` is how many have come, `newest` when the last of them did; `cpu` what that has cost, in seconds.
    """

    broker: Broker
    sent: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STREAMS, 0))
    runs: int = 0
    newest: float = 0.0
    cpu: float = 0.0
    _log: deque[tuple[float, int]] = field(default_factory=deque)

    async def play(self, made: Iterator[list[Made]], begin: float, *, hurry: bool = False) -> None:
        """Publish everything at its moment, from `begin` on; in a hurry as fast as the broker can."""
        waiting: list[tuple[float, int, Made]] = []
        order, now = count(), begin
        following = next(made, None)
        while following or waiting:
            began, busy = time.time(), time.process_time()
            now = now + _TICK if hurry else began
            while following and following[0][2] <= now:
                for message in following:
                    heapq.heappush(waiting, (message[2], next(order), message))
                self.runs, self.newest = self.runs + 1, began
                following = next(made, None)
            due = []
            while waiting and waiting[0][0] <= now:
                due.append(heapq.heappop(waiting)[2])
            await self._publish(due)
            self.cpu += time.process_time() - busy
            if not hurry:
                await asyncio.sleep(max(0.0, began + _TICK - time.time()))

    async def _publish(self, due: list[Made]) -> None:
        """Publish messages; the last one of each stream says when the broker has all of them.

        Raises:
            RuntimeError: the broker has lost some.
        """
        last = {stream: place for place, (stream, *_) in enumerate(due)}
        asked = {}
        for place, (stream, subject, _, body) in enumerate(due):
            if last[stream] == place:
                asked[stream] = asyncio.ensure_future(self.broker.bus.publish(subject, body, timeout=30))
            else:
                await self.broker.bus.send(subject, body)
            self.sent[stream] += 1
        for stream, stored in asked.items():
            if (seq := (await stored).seq) != self.sent[stream]:
                raise RuntimeError(f"{stream} has {seq} messages instead of {self.sent[stream]}")
        self._log.append((time.time(), self.sent["JOURNAL"]))

    def age(self, seen: int) -> float:
        """Return for how long the oldest record has been on the broker that isn't among the first `seen`."""
        while self._log and self._log[0][1] <= seen:
            self._log.popleft()
        return time.time() - self._log[0][0] if self._log else 0.0
