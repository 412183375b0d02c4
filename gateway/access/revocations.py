"""Logins that ended before their time, known to all gateways of an installation."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING, Final

from tidemill.kernel.errors import BrokerError, WrongSequenceError

if TYPE_CHECKING:
    from tidemill.kernel.jetstream.buckets import Bucket
    from tidemill.kernel.jetstream.messages import Subscription

_POLL_SECONDS: Final = 10.0
_RETRY_SECONDS: Final = 1.0
_LONGEST: Final = 31 * 86400.0
"""Seconds after which no login counts any more: see `control.session`."""
_log = logging.getLogger(__name__)


class Revocations:
    """The ids of logins that were ended, kept while they would count; `follow` hears of other gateways'."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._ended: dict[str, float] = {}

    def __contains__(self, session: object) -> bool:
        return session in self._ended

    async def end(self, session: str, keep: float) -> None:
        """End a login; `keep` is for how many seconds it would have counted.

        Raises:
            BrokerError: the other gateways couldn't be told.
        """
        self._hear(session)
        with contextlib.suppress(WrongSequenceError):  # it has ended already
            await self._bucket.create(session, b"", keep=keep)

    async def follow(self) -> None:
        """Keep the view up to date, until cancelled."""
        hints: Subscription | None = None
        try:
            while True:
                pause = _POLL_SECONDS
                try:
                    hints = hints or await self._bucket.watch(self._hear)
                    await self._refresh()
                except BrokerError as error:
                    _log.warning("the ended logins were not read: %s", error.sentence)
                    pause = _RETRY_SECONDS
                await asyncio.sleep(pause)
        finally:
            if hints is not None:
                await hints.stop()

    async def _refresh(self) -> None:
        for session in await self._bucket.keys():
            self._hear(session)
        oldest = time.monotonic() - _LONGEST
        self._ended = {session: at for session, at in self._ended.items() if at > oldest}

    def _hear(self, session: str) -> None:
        self._ended.setdefault(session, time.monotonic())
