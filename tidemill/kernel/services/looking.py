"""Looking through what stands in a stream now: filters, the newest first, and an end to the search."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, NamedTuple, Self, TypeVar

from tidemill.kernel.errors import PayloadError
from tidemill.kernel.services.moments import parse_since
from tidemill.kernel.subjects import pattern_problem, type_matches

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from datetime import datetime

    from tidemill.kernel.jetstream.scan import StoredMessage

LIST_SECONDS: Final = 3.0
"""How long a list looks for what fits its filters."""
AT_ONCE: Final = 64
"""Messages that are held at once; each may be nearly a megabyte."""
_LONGEST: Final = 500
Row = TypeVar("Row")


class Found(NamedTuple, Generic[Row]):
    """What fits, the newest first; `next` is the sequence before which it goes on, None at the end."""

    rows: tuple[Row, ...] = ()
    next: int | None = None


async def look(
    messages: AsyncIterator[StoredMessage],
    wanted: Callable[[StoredMessage], Row | None],
    *,
    since: float,
    limit: int,
    seconds: float,
) -> Found[Row]:
    """Look through messages, the newest first, until enough fit, they are too old, or the time is over.

    Args:
        messages: the newest first.
        wanted: returns what a message is, None where that doesn't fit.
        since: nothing older than this is looked at, in seconds since the epoch.
        limit: stop behind so many.
        seconds: stop behind this time; at least one message is looked at.

    Raises:
        BrokerError: the stream can't be read.
    """
    found: list[Row] = []
    deadline, last = time.monotonic() + seconds, None
    async for message in messages:
        if message.at.timestamp() < since:
            return Found(tuple(found))
        if len(found) >= limit or (last is not None and time.monotonic() > deadline):
            return Found(tuple(found), last)
        last = message.seq
        row = wanted(message)
        if row is not None:
            found.append(row)
    return Found(tuple(found))


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which things are wanted that came of events; what is None doesn't matter.

    Attributes:
        source: the event's, with a tenant where only that one's are wanted.
        type: a pattern of the event's type.
        task: the task's id.
        since: when it came here, in seconds since the epoch; not earlier.
        until: earlier than this.
    """

    NAMES: ClassVar[tuple[str, ...]] = ("source", "type", "task", "since", "until")
    """Filters as they are written."""

    source: str | None = None
    type: str | None = None
    task: str | None = None
    since: float = 0.0
    until: float | None = None

    @classmethod
    def parse(cls, given: Mapping[str, object]) -> Self:
        """Read a query as options and parameters say it; moments are RFC 3339, or durations before now.

        Raises:
            PayloadError: a filter can't be used.
        """
        filters = _filters(given, cls.NAMES)
        pattern = filters.get("type")
        if pattern and (problem := pattern_problem(pattern)):
            raise PayloadError(f"type {pattern!r} can't be used: {problem}", hint="like github.issues.*")
        for name in ("since", "until"):
            if name in filters:
                filters[name] = parse_since(filters[name], name)
        return cls(**filters)

    def came_of(self, event: Mapping[str, Any], at: datetime) -> bool:
        """Say whether what came here at a moment, of an event with these attributes, may be wanted."""
        source = str(event.get("source", ""))
        return (
            (self.until is None or at.timestamp() < self.until)
            and (self.source is None or source == self.source or source.startswith(f"{self.source}/"))
            and (self.type is None or type_matches(self.type, str(event.get("type", ""))))
        )


def _filters(given: Mapping[str, object], names: Sequence[str]) -> dict[str, Any]:
    """Return the filters that are set; empty ones are none.

    Raises:
        PayloadError: one is unknown, no text, or too long.
    """
    found: dict[str, Any] = {}
    for name, text in given.items():
        if name not in names:
            raise PayloadError(f"there is no filter {name!r}", hint=f"there are {', '.join(names)}")
        if not isinstance(text, str) or len(text) > _LONGEST:
            raise PayloadError(f"{name}: it is no text", hint=f"write at most {_LONGEST} characters")
        if text.strip():
            found[name] = text.strip()
    return found
