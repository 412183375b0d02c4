"""Following the events of one pattern through their stream, from a moment or from the last one that was seen.

The position moves only behind what was read, so that a replica that is behind costs time and no event. A wait
that looks further back than that takes the position back with it: events may be looked at again.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from tidemill.kernel.jetstream import records
from tidemill.kernel.matching import token_at
from tidemill.kernel.subjects import escape_pattern

if TYPE_CHECKING:
    from tidemill.kernel.jetstream.bus import Bus
    from tidemill.kernel.jetstream.records import Record
    from tidemill.kernel.matching import EventWait, Occurrence

_SLACK: Final = 0.001
"""Seconds by which a moment is rounded down, since stored times are cut to microseconds."""


class Follower:
    """The events of a pattern, and the waits that look at them.

    Attributes:
        waits: the waits, by their keys in the directory.
    """

    def __init__(self, bus: Bus, pattern: str) -> None:
        self.waits: dict[str, EventWait] = {}
        self._others: dict[str, EventWait] = {}
        self._anchored: dict[str, dict[tuple[str, object], dict[str, EventWait]]] = {}
        self._bus = bus
        self._stream = bus.names.stream("EVENTS")
        self._filter = bus.names.subject("events", "*", escape_pattern(pattern))
        self._next = 0
        self._since = math.inf
        self._seen_at = -math.inf

    def enter(self, key: str, wait: EventWait) -> None:
        """Take a wait in, and look again at what was stored since it counts."""
        self.waits[key] = wait
        self._shelf(wait)[key] = wait
        if not self._next:
            self._since = min(self._since, wait.since)
        elif wait.since <= self._seen_at:
            self._next, self._since = 0, wait.since

    def leave(self, key: str) -> None:
        """Let a wait go."""
        wait = self.waits.pop(key)
        shelf = self._shelf(wait)
        del shelf[key]
        if not shelf and wait.anchor is not None:
            path, token = wait.anchor
            del self._anchored[path][token]
            if not self._anchored[path]:
                del self._anchored[path]

    def candidates(self, event: Occurrence) -> list[tuple[str, EventWait]]:
        """Return the waits that an event may be for: those that want a value it has, and those without."""
        found = list(self._others.items())
        for path, shelves in self._anchored.items():
            try:
                token = token_at(event, path)
            except ValueError:
                break  # no JSON has no values
            if token is not None:
                found += shelves.get(token, {}).items()
        return found

    def _shelf(self, wait: EventWait) -> dict[str, EventWait]:
        """Return where a wait is found among others: by a value that it wants, so that few are looked at."""
        if wait.anchor is None:
            return self._others
        path, token = wait.anchor
        return self._anchored.setdefault(path, {}).setdefault(token, {})

    async def page(self) -> tuple[list[Record], bool]:
        """Return the next events, and whether there are more.

        Raises:
            BrokerError: they can't be read.
        """
        since = max(0.0, self._since - _SLACK) if not self._next else None
        return await records.page(self._bus, self._stream, self._filter, start=self._next, since=since)

    def passed(self, record: Record) -> None:
        """Go on behind an event."""
        self._next, self._seen_at = record.seq + 1, record.at
