"""The log of requests as it stands on the broker: pieces of many entries, one JSON object a line.

What was taken is in DELIVERIES, everything else in REFUSALS. An entry's id names its place: `d` or `r` for
the stream, the piece's sequence and the line in it, `d412-7`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Self

import orjson

from tidemill.kernel.errors import PayloadError
from tidemill.kernel.jetstream.scan import newest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tidemill.kernel.jetstream.bus import Bus
    from tidemill.kernel.jetstream.scan import StoredMessage

DELIVERIES: Final = "DELIVERIES"
REFUSALS: Final = "REFUSALS"
TAKEN: Final = frozenset({"accepted", "duplicate", "quarantined", "mixed", "empty"})
"""The verdicts of requests that brought something."""
PIECES_AT_ONCE: Final = 8
MOST_PIECES: Final = 400
"""Pieces of a stream that one listing looks through."""
_LETTERS: Final = {"d": DELIVERIES, "r": REFUSALS}
_ID: Final = re.compile(r"([dr])([1-9][0-9]{0,17})-([0-9]{1,6})")
_CURSOR: Final = re.compile(r"([0-9]{1,18})-([0-9]{1,6})\.([0-9]{1,18})-([0-9]{1,6})")
_END: Final = (0, 0)
Place = tuple[int, int]
"""A piece's sequence and a line in it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One request in the log."""

    stream: str
    place: Place
    facts: dict[str, Any]

    @property
    def id(self) -> str:
        """What it is called."""
        return f"{self.stream[0].lower()}{self.place[0]}-{self.place[1]}"

    @property
    def at(self) -> float:
        """When the request came, in seconds since the epoch."""
        return float(self.facts["at"])

    @property
    def source(self) -> str | None:
        """The source of its events: the configured name, with the tenant; None where there is none."""
        name, tenant = self.facts.get("source"), self.facts.get("tenant")
        return f"{name}/{tenant}" if name and tenant else name

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events that it became: `id`, `type`, `status`, `seq`, and `reason` of a quarantined one."""
        found: list[dict[str, Any]] = self.facts.get("events", [])
        return found

    def summary(self) -> dict[str, Any]:
        """Return what a list shows."""
        moment = datetime.fromtimestamp(self.at, UTC).isoformat()
        facts = {name: value for name, value in self.facts.items() if name not in ("at", "headers")}
        return {"id": self.id, "at": moment} | facts


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where a listing goes on: the place in either stream before which everything is to come."""

    deliveries: Place
    refusals: Place

    def __str__(self) -> str:
        return f"{self.deliveries[0]}-{self.deliveries[1]}.{self.refusals[0]}-{self.refusals[1]}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str` wrote.

        Raises:
            PayloadError: it isn't that.
        """
        found = _CURSOR.fullmatch(text)
        if found is None:
            raise PayloadError(
                f"before={text!r} can't be used", hint="write what the listing before gave as `next`"
            )
        numbers = [int(part) for part in found.groups()]
        return cls((numbers[0], numbers[1]), (numbers[2], numbers[3]))


def parse_id(text: str) -> tuple[str, Place] | None:
    """Return the stream and the place that an entry's id names, None where it is none."""
    found = _ID.fullmatch(text)
    return (_LETTERS[found[1]], (int(found[2]), int(found[3]))) if found else None


def entries_of(stream: str, piece: StoredMessage) -> list[Entry]:
    """Return the entries of a piece; a line that isn't one is left out."""
    found = []
    for index, line in enumerate(piece.body.split(b"\n")):
        try:
            facts = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if isinstance(facts, dict) and isinstance(facts.get("at"), float | int):
            found.append(Entry(stream, (piece.seq, index), facts))
    return found


class Backwards:
    """Reads one stream's entries, the newest first, piece by piece."""

    def __init__(self, bus: Bus, stream: str, before: Place | None, since: float) -> None:
        self._stream = stream
        self._before = before
        self._since = since
        upper = None if before is None else before[0] + 1
        self._pieces: AsyncIterator[StoredMessage] = newest(
            bus, stream, bus.names.subject(stream.lower(), ">"), before=upper, most_at_once=PIECES_AT_ONCE
        )
        self._left = MOST_PIECES
        self._entries: list[Entry] = []
        self.rest: Place = before or _END
        """Everything from here on was handed out; at the end of the stream nothing is left."""

    async def next(self) -> Entry | None:
        """Return the next older entry, None at the end."""
        while not self._entries:
            if self.exhausted:
                return None
            piece = await anext(self._pieces, None)
            if piece is None or piece.at.timestamp() < self._since:
                self.rest, self._left = _END, -1
                return None
            self._left -= 1
            self.rest = (piece.seq, 0)
            self._entries = [one for one in entries_of(self._stream, piece) if self._wanted(one)]
        found = self._entries.pop()
        self.rest = found.place
        return found

    @property
    def exhausted(self) -> bool:
        """Whether it has looked through as much as one listing may, or there is nothing more."""
        return not self._entries and self._left <= 0

    @property
    def unfinished(self) -> bool:
        """Whether there may be older ones."""
        return self.rest != _END

    def _wanted(self, entry: Entry) -> bool:
        return (self._before is None or entry.place < self._before) and entry.at >= self._since
