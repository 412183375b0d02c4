"""A pace: so many requests a second, evenly, in this process."""

from __future__ import annotations

import asyncio


class Pace:
    """Lets `rate` pass a second; None is no limit."""

    def __init__(self, rate: float | None) -> None:
        self._interval = 1 / rate if rate is not None else 0.0
        self._next = 0.0

    async def keep(self) -> None:
        """Wait for one's turn."""
        if not self._interval:
            return
        present = asyncio.get_running_loop().time()
        turn = max(present, self._next)
        self._next = turn + self._interval
        if turn > present:
            await asyncio.sleep(turn - present)
