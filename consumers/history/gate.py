"""What keeps journals open until the history has them: the closer and the sweeper ask here."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from tidemill.kernel.errors import BrokerError
from tidemill.kernel.jetstream.buckets import Bucket
from tidemill.kernel.protocol.closer import Keeping, Mark
from tidemill.kernel.services.histories import HistoryFloor, count_abandoned

_SAY_EVERY: Final = 60.0
_log = logging.getLogger(__name__)


class HistoryGate:
    """Lets an ended run's journal go when every history has its end, or has had time enough for that.

    Where no history is written it lets all go.
    """

    def __init__(
        self, bucket: Bucket, keeping: Keeping, patience: float, clock: Callable[[], float] = time.time
    ) -> None:
        """Prepare.

        Args:
            bucket: the histories' notes.
            keeping: for how long journals stay at any rate.
            patience: seconds for which they stay beyond that.
            clock: what time it is.
        """
        self._bucket = bucket
        self._floor = HistoryFloor(bucket)
        self._longest = keeping.journal + patience
        self._clock = clock
        self._say_at = float("-inf")
        self.abandoned = 0
        self._untold = 0

    async def floor(self) -> int:
        """Return up to which sequence journals have been taken in.

        Raises:
            BrokerError: the broker is away.
        """
        return await self._floor.now()

    async def tell(self) -> None:
        """Add to the count on the broker what was let go unseen since the last time.

        Raises:
            BrokerError: the broker is away; it is added the next time.
        """
        if self._untold:
            number, self._untold = self._untold, 0
            try:
                await count_abandoned(self._bucket, number)
            except BrokerError:
                self._untold += number
                raise

    def lets(self, mark: Mark, floor: int) -> bool:
        """Say whether an ended run's journal may go."""
        if mark.seq <= floor:
            return True
        now = self._clock()
        if now < mark.at + self._longest:
            return False
        self.abandoned += 1
        self._untold += 1
        if now >= self._say_at:
            self._say_at = now + _SAY_EVERY
            _log.warning(
                "the history is too far behind: %d journals were closed that it has not seen; "
                "`tidemill history status` says where it stands",
                self.abandoned,
            )
        return True
