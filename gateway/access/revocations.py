"""Logins that ended before their time, known to all gateways of an installation."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from math import inf
from typing import TYPE_CHECKING, Final

from tidemill.kernel.errors import BrokerError, WrongSequenceError
from tidemill.kernel.subjects import escape

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tidemill.kernel.jetstream.buckets import Bucket
    from tidemill.kernel.jetstream.messages import Subscription

_POLL_SECONDS: Final = 10.0
_RETRY_SECONDS: Final = 1.0
_LONGEST: Final = 31 * 86400.0
"""Seconds after which no login counts any more: see `control.session`."""
_PERSON: Final = "person."
_log = logging.getLogger(__name__)


def _entry(name: str) -> str:
    return _PERSON + escape(name)


class Revocations:
    """The ids of logins that were ended, kept while they would count; `follow` hears of other gateways'."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._ended: dict[str, float] = {}
        self._people: dict[str, float] = {}
        self._told: set[Callable[[], None]] = set()

    def has_ended(self, session: str, name: str, began: float) -> bool:
        """Say whether a login was ended, or all that somebody had until a moment after it began."""
        return session in self._ended or began <= self._people.get(_entry(name), -inf)

    @contextlib.contextmanager
    def telling(self, listener: Callable[[], None]) -> Iterator[None]:
        """Call somebody whenever a login may have ended, inside of the block."""
        self._told.add(listener)
        try:
            yield
        finally:
            self._told.discard(listener)

    def _tell(self) -> None:
        for listener in tuple(self._told):
            listener()

    async def end(self, session: str, keep: float) -> None:
        """End a login; `keep` is for how many seconds it would have counted.

        Raises:
            BrokerError: the other gateways couldn't be told.
        """
        self._hear(session)
        with contextlib.suppress(WrongSequenceError):  # it has ended already
            await self._bucket.create(session, b"", keep=keep)

    async def end_all(self, name: str, now: float) -> None:
        """End all logins that somebody has at this moment.

        Raises:
            BrokerError: it couldn't be kept.
        """
        await self._bucket.put(_entry(name), repr(now).encode())
        self._people[_entry(name)] = now
        self._tell()

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
        for key, value in (await self._bucket.items()).items():
            if key.startswith(_PERSON):
                self._people[key] = float(value)
            else:
                self._hear(key)
        self._tell()
        oldest = time.monotonic() - _LONGEST
        self._ended = {session: at for session, at in self._ended.items() if at > oldest}

    def _hear(self, session: str) -> None:
        if session.startswith(_PERSON):
            self._people[session] = time.time()  # it is being written now; what exactly is read soon
            self._tell()
        elif session not in self._ended:
            self._ended[session] = time.monotonic()
            self._tell()
