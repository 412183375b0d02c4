"""Ended children whose parents may still ask for their results: they are closed after their parents."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Final

from tidemill.kernel.protocol.closer import Mark
from tidemill.kernel.protocol.operations import JournalOpen
from tidemill.kernel.services.performer import Performer

_MOST: Final = 200_000
_LOOK_EVERY: Final = 60.0


class Nursery:
    """Keeps the marks of ended children until the journals of their parents have been closed.

    A parent that somebody else closes is noticed by a look now and then; so is what doesn't fit in here, by
    the sweeper.
    """

    def __init__(self, performer: Performer) -> None:
        self._performer = performer
        self._children: dict[str, list[Mark]] = {}
        self._size = 0
        self._look_at = time.monotonic() + _LOOK_EVERY

    def hold(self, mark: Mark) -> None:
        """Keep a child's mark."""
        if self._size < _MOST:
            self._children.setdefault(mark.parent, []).append(mark)
            self._size += 1

    def release(self, parent: str) -> list[Mark]:
        """Return the marks of the children of a run whose journal has been closed, as those of orphans."""
        marks = self._children.pop(parent, [])
        self._size -= len(marks)
        return [replace(mark, parent="") for mark in marks]

    async def orphans(self) -> list[Mark]:
        """Return, now and then, the marks of children whose parents somebody else has closed.

        Raises:
            BrokerError: the broker is away.
        """
        if time.monotonic() < self._look_at:
            return []
        self._look_at = time.monotonic() + _LOOK_EVERY
        found: list[Mark] = []
        for parent in tuple(self._children):
            if not await self._performer.perform(JournalOpen(parent)):
                found += self.release(parent)
        return found
