"""The state of alerts on the broker, which one process at a time writes.

The document is its own lease: it is written by compare-and-set, over and over, and whoever finds it unchanged
for a while takes it over. The process that it was taken from fails at its next write, before it has told
anything that it decided since its last one.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from typing import TYPE_CHECKING, Final

from consumers.alerts.state import AlertState
from tidemill.kernel.errors import ConflictError, PayloadError, WrongSequenceError
from tidemill.kernel.services.alerts import STATE

if TYPE_CHECKING:
    from tidemill.kernel.jetstream.buckets import Bucket, Value

RENEW: Final = 5.0
"""Seconds after which it is written though nothing has changed."""
STALE: Final = 20.0
"""Seconds after which one that hasn't changed was left behind."""
_LOOK: Final = 1.0
_log = logging.getLogger(__name__)


class Store:
    """Takes the state over, and writes it."""

    def __init__(self, bucket: Bucket, *, stale: float = STALE) -> None:
        self._bucket = bucket
        self._stale = stale
        self._holder = secrets.token_hex(8)
        self._revision = 0
        self._written = b""
        self._written_at = float("-inf")

    @property
    def fresh(self) -> bool:
        """Whether the last write is so recent that nobody can have taken the state over."""
        return time.monotonic() - self._written_at < self._stale / 2

    async def take(self, stopping: asyncio.Event) -> AlertState | None:
        """Wait until nobody else evaluates, and return what is known; None once `stopping` is set.

        Raises:
            BrokerError: the broker is away.
        """
        seen, since = -1, time.monotonic()
        while not stopping.is_set():
            found = await self._bucket.get(STATE)
            state = _read(found)
            if state.released or state.holder in ("", self._holder):
                break
            if found is not None and found.revision != seen:
                seen, since = found.revision, time.monotonic()
            if time.monotonic() - since >= self._stale:
                break
            await asyncio.sleep(min(_LOOK, self._stale / 4))
        else:
            return None
        self._revision = found.revision if found is not None else 0
        self._written_at = float("-inf")
        state.holder, state.released = self._holder, False
        _move_to(state, time.time())
        return state

    async def write(self, state: AlertState, now: float, *, must: bool = False) -> bool:
        """Write the state if it has changed, or now and then; say whether it was.

        Raises:
            ConflictError: another process has taken it over.
            BrokerError: it is unknown whether it was written.
        """
        packed = state.pack()
        renew = time.monotonic() - self._written_at >= min(RENEW, self._stale / 4)
        if packed == self._written and not renew and not must:
            return False
        state.clock = now
        packed = state.pack()
        began = time.monotonic()
        await self._put(packed)
        self._written, self._written_at = packed, began
        return True

    async def _put(self, packed: bytes) -> None:
        try:
            self._revision = await self._bucket.put(STATE, packed, revision=self._revision)
        except WrongSequenceError:
            # An earlier write of ours may have been stored though nobody said so.
            found = await self._bucket.get(STATE)
            if found is not None and _read(found).holder != self._holder:
                raise _taken() from None
            try:
                revision = found.revision if found is not None else 0
                self._revision = await self._bucket.put(STATE, packed, revision=revision)
            except WrongSequenceError:
                raise _taken() from None


def _taken() -> ConflictError:
    return ConflictError("another process evaluates the alerts now", hint="one does at a time")


def _read(found: Value | None) -> AlertState:
    """Return what is stored; what can't be read is told, and begun anew."""
    if found is None:
        return AlertState()
    try:
        return AlertState.unpack(found.value)
    except PayloadError as error:
        _log.error("%s: it is begun anew", error.sentence)
        return AlertState()


def _move_to(state: AlertState, wall: float) -> None:
    """Make the state's time this process's: one whose clock is behind takes all times back with it."""
    if state.clock > wall:
        state.shift(wall - state.clock)
