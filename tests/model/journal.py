"""The model's journal: all journals that ever come up form one tree, so that equal ones are one object."""

from __future__ import annotations

from typing import Any

from tidemill.kernel.protocol.records import Entry, Record, decode, encode
from tidemill.kernel.protocol.state import Phase, State, fold

NOW = 100.0
"""The model's clock stands still: timers fire when the explorer says so."""


LIVING = (Phase.READY, Phase.OWNED, Phase.SUSPENDED)


class Log:
    """The journal subject of the model's one run, with its whole past.

    `tail` counts all records ever stored, as a stream's sequence does; `entries` are what a reader sees: a
    tombstone hides everything before it, and an expired one leaves nothing. `needy` says that something must
    carry the run on.
    """

    __slots__ = ("_appended", "_children", "entries", "needy", "parent", "state", "tail")

    def __init__(self, parent: Log | None = None, tail: int = 0, entries: tuple[Entry, ...] = ()) -> None:
        self.parent = parent
        self.tail = tail
        self.entries = entries
        self.state: State = fold(entries)
        self.needy = _needs_carrying(self.state)
        self._children: dict[Any, Log] = {}
        self._appended: dict[int, tuple[Record, Log]] = {}

    def append(self, record: Record) -> Log:
        """Return the journal with one more record, as it reads after having been bytes."""
        # A place in a procedure asks with the same object each time: that is encoded once.
        known = self._appended.get(id(record))
        if known is not None:
            return known[1]
        body = encode(record)
        child = self._children.get(body)
        if child is None:
            entry = Entry(self.tail + 1, decode(body), NOW)
            child = self._children[body] = Log(self, self.tail + 1, (*self.entries, entry))
        self._appended[id(record)] = (record, child)
        return child

    def close(self, rest: tuple[Entry, ...] = ()) -> Log:
        """Return the journal with a tombstone in its place; `rest` is what wasn't deleted in front of it."""
        key = ("closed", *(entry.seq for entry in rest))
        if key not in self._children:
            self._children[key] = Log(self, self.tail + 1, (*rest, Entry(self.tail + 1, None, NOW)))
        return self._children[key]

    def clear(self) -> Log:
        """Return a closed journal without what was left in front of its tombstone."""
        assert self.parent is not None
        return self.parent.close()

    def expire(self) -> Log:
        """Return the journal whose tombstone has reached its time to live: only what it hid is left."""
        if "expired" not in self._children:
            self._children["expired"] = Log(self, self.tail, self.entries[:-1])
        return self._children["expired"]

    @property
    def open(self) -> bool:
        """Whether there is a journal, and no tombstone in its place."""
        return bool(self.entries) and self.state.phase is not Phase.CLOSED

    @property
    def expected(self) -> int:
        """The sequence that an append must name: the subject's last one, 0 where there is no message."""
        return self.entries[-1].seq if self.entries else 0

    @property
    def past(self) -> list[Log]:
        """All earlier states of the journal, newest first: what a stale replica may show."""
        return [self.parent, *self.parent.past] if self.parent else []

    def ever(self, rid: str) -> bool:
        """Say whether a record of this id was ever stored, tombstones notwithstanding."""
        return rid in self.state.rids or any(rid in log.state.rids for log in self.past)


def _needs_carrying(state: State) -> bool:
    """Say whether a run lives, and doesn't wait for news alone that aren't there yet."""
    waits = state.phase is Phase.SUSPENDED and not state.satisfied and state.timer == 0
    return state.phase in LIVING and not waits
