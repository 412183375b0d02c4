"""A circuit breaker: after failures in a row a destination is only tried now and then.

It knows what this process has seen. Whoever comes while it is open waits in memory, with its ticket; of a
destination there are never more than its `concurrency` says, and all others stay in the queue.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


class Breaker:
    """Closed: all may pass. Open: nobody, for `pause` seconds. Then one may try; what comes of it decides."""

    def __init__(self, failures: int, pause: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = failures
        self._pause = pause
        self._clock = clock
        self._failures = 0
        self._open_until: float | None = None
        self._trying = False
        self._changed = asyncio.Event()

    @property
    def is_open(self) -> bool:
        """Whether nobody may pass but the one who tries."""
        return self._open_until is not None

    async def enter(self) -> bool:
        """Wait until one may pass; say whether it is a try. `leave` it with what has come of it."""
        while (left := self._left()) is None or left > 0:
            changed = self._changed
            try:
                async with asyncio.timeout(left):
                    await changed.wait()
            except TimeoutError:
                continue
        self._trying = self.is_open
        return self._trying

    def leave(self, *, tried: bool, worked: bool | None) -> None:
        """Say what has come of a passage; None where it wasn't made."""
        if tried:
            self._trying = False
        if worked:
            self._failures = 0
            self._open_until = None
        elif worked is False:
            self._failures += 1
            if tried or (not self.is_open and self._failures >= self._limit):
                self._open_until = self._clock() + self._pause
        if tried or worked:
            self._changed.set()
            self._changed = asyncio.Event()

    def _left(self) -> float | None:
        """Return the seconds until one may pass, None while somebody tries."""
        if self._open_until is None:
            return 0.0
        return None if self._trying else max(0.0, self._open_until - self._clock())
