"""The broker's clock, by which schedules are judged: the machines of the engines may disagree."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Final

from tidemill.kernel.jetstream.inspection import stream_info

if TYPE_CHECKING:
    from tidemill.kernel.jetstream.bus import Bus

FRESH: Final = 5.0
"""Seconds for which an answer of the broker is carried on by this machine's monotonic clock."""


class BrokerClock:
    """Tells the broker's time in seconds since the epoch; it is asked every few seconds at most."""

    def __init__(self, bus: Bus, stream: str) -> None:
        self._bus = bus
        self._stream = stream
        self._told = 0.0
        self._asked = float("-inf")

    async def now(self) -> float:
        """Return the broker's time.

        Raises:
            BrokerError: it doesn't answer.
        """
        passed = time.monotonic() - self._asked
        if passed < FRESH:
            return self._told + passed
        asked = time.monotonic()
        info = await stream_info(self._bus, self._stream)
        self._told = datetime.fromisoformat(info["ts"]).timestamp()
        self._asked = asked
        return self._told
