"""Deliveries: what every request came to, joined with the events that it brought, and sending those again."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from tidemill.kernel.errors import ConflictError, NotFoundError, PayloadError
from tidemill.kernel.jetstream.scan import message_at
from tidemill.kernel.services.delivery_log import (
    DELIVERIES,
    REFUSALS,
    TAKEN,
    Backwards,
    Cursor,
    Entry,
    entries_of,
    parse_id,
)
from tidemill.kernel.services.events import StoredEvent, read_event
from tidemill.kernel.services.moments import parse_since
from tidemill.kernel.services.quarantine import STREAM as QUARANTINE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tidemill.kernel.jetstream.bus import Bus
    from tidemill.kernel.services.events import Events

VERDICTS: Final = (*sorted(TAKEN), "refused", "handshake", "unavailable", "failed", "disconnected")
"""What a request can come to."""
IN_FLIGHT: Final = 64
_QUARANTINED: Final = "quarantined"
_SEARCHED: Final = 20
"""Listings that a search for an event's id looks through."""


@dataclass(frozen=True, slots=True)
class Query:
    """Which entries are wanted; what is None or 0 doesn't matter.

    Attributes:
        source: the configured name, with a tenant where only that one's are wanted.
        verdict: what the request came to.
        reason: the check that refused it, or why it was quarantined.
        since: seconds since the epoch.
    """

    source: str | None = None
    verdict: str | None = None
    reason: str | None = None
    since: float = 0.0

    @classmethod
    def parse(cls, given: Mapping[str, str]) -> Self:
        """Read a query as options and parameters say it; `since` is RFC 3339, or a duration before now.

        Raises:
            PayloadError: `since` is neither, or the verdict is none.
        """
        verdict = given.get("verdict")
        if verdict is not None and verdict not in VERDICTS:
            raise PayloadError(f"verdict={verdict!r}: there is none", hint=f"there are {', '.join(VERDICTS)}")
        since = parse_since(given["since"]) if "since" in given else 0.0
        return cls(given.get("source"), verdict, given.get("reason"), since)

    def fits(self, entry: Entry) -> bool:
        """Say whether an entry is wanted."""
        return (
            (self.source is None or self.source in (entry.source, entry.facts.get("source")))
            and (self.verdict is None or entry.facts.get("verdict") == self.verdict)
            and (self.reason is None or self.reason in _reasons(entry))
        )

    @property
    def streams(self) -> Sequence[str]:
        """Where they can stand."""
        if self.verdict is None:
            return (DELIVERIES, REFUSALS)
        return (DELIVERIES,) if self.verdict in TAKEN else (REFUSALS,)


@dataclass(frozen=True, slots=True)
class Listing:
    """Some entries, the newest first; with a cursor there may be more."""

    entries: list[Entry]
    cursor: Cursor | None

    def document(self) -> dict[str, Any]:
        """Return it as JSON; `next` is the cursor."""
        following = None if self.cursor is None else str(self.cursor)
        return {"deliveries": [entry.summary() for entry in self.entries], "next": following}


class Deliveries:
    """The deliveries of one namespace.

    Args:
        bus: the connection.
        events: where their events stand.
        show: returns a source's headers as they may be shown: without signatures and secrets.
    """

    def __init__(
        self, bus: Bus, events: Events, show: Callable[[str | None, Mapping[str, str]], dict[str, str]]
    ) -> None:
        self._bus = bus
        self._events = events
        self._show = show

    async def list(self, query: Query, *, before: Cursor | None = None, limit: int = 50) -> Listing:
        """Return the newest entries that are wanted, or those before a cursor.

        One call looks through a bounded part of the log: it may return fewer, or none, and a cursor.

        Raises:
            BrokerError: the log can't be read.
        """
        places = {
            DELIVERIES: before.deliveries if before else None,
            REFUSALS: before.refusals if before else None,
        }
        readers = {name: Backwards(self._bus, name, places[name], query.since) for name in query.streams}
        heads = {name: await reader.next() for name, reader in readers.items()}
        found: list[Entry] = []
        while len(found) < limit:
            newest = max((head for head in heads.values() if head is not None), key=_moment, default=None)
            if newest is None:
                break
            if query.fits(newest):
                found.append(newest)
            heads[newest.stream] = await readers[newest.stream].next()
            if heads[newest.stream] is None and readers[newest.stream].unfinished:
                break
        return Listing(found, _cursor(readers, heads))

    async def find(self, name: str) -> Entry:
        """Return the entry with an id, or the newest that brought an event with that id.

        Raises:
            NotFoundError: there is none.
            BrokerError: the log can't be read.
        """
        place = parse_id(name)
        if place is not None:
            stream, (seq, line) = place
            piece = await message_at(self._bus, stream, seq)
            entries = entries_of(stream, piece) if piece is not None else []
            found = next((entry for entry in entries if entry.place == (seq, line)), None)
        else:
            found = await self._of_event(name)
        if found is None:
            raise NotFoundError(
                f"there is no delivery {name!r}",
                hint="it may have aged out; `tidemill deliveries list` shows those that are kept",
            )
        return found

    async def document(self, entry: Entry) -> dict[str, Any]:
        """Return all that is known of a delivery as JSON.

        Headers and body of a genuine one stand on its first event: both are missing once that has aged out.
        The body is text as `body`, or base64 as `body64`.

        Raises:
            BrokerError: the broker can't be asked.
        """
        document = entry.summary()
        if "headers" in entry.facts:
            return document | {"headers": entry.facts["headers"]}
        event = await self._first(entry)
        if event is not None:
            document["headers"] = self._show(entry.source, event.facts.get("headers", {}))
        body = await self._body_with(event)
        return document if body is None else document | _as_json(body)

    async def body(self, entry: Entry) -> bytes | None:
        """Return the body of a genuine delivery, None where it isn't kept (any more).

        Raises:
            BrokerError: the broker can't be asked.
        """
        return await self._body_with(await self._first(entry))

    async def _body_with(self, event: StoredEvent | None) -> bytes | None:
        if event is None:
            return None
        blob = event.facts.get("extensions", {}).get("batchblob") or event.blob
        if blob is None:
            return event.raw
        try:
            return await self._events.blob(str(blob))
        except NotFoundError:
            return None

    async def replay(self, entry: Entry) -> dict[str, Any]:
        """Store a delivery's events again, under new ids, as `Events.replay` does with one.

        Raises:
            ConflictError: it brought none, or they all stand in quarantine.
            NotFoundError: one of them isn't stored any more.
            BrokerError: not all could be stored.
        """
        if not entry.events:
            raise ConflictError(
                f"the delivery {entry.id} was {entry.facts.get('verdict')}: it brought no event",
                hint="only what was genuine can be sent again",
            )
        taken = [event for event in entry.events if not _waits(event)]
        if not taken:
            raise ConflictError(
                f"what the delivery {entry.id} brought stands in quarantine",
                hint="`tidemill quarantine release` sends it on",
            )
        found = [await self._stored(entry, event) for event in taken]
        if None in found:
            raise NotFoundError(
                f"not all events of the delivery {entry.id} are stored any more",
                hint="`tidemill events list` shows those that are kept",
            )
        events = [event for event in found if event is not None]
        new: list[StoredEvent] = []
        for start in range(0, len(events), IN_FLIGHT):
            portion = events[start : start + IN_FLIGHT]
            new += await asyncio.gather(*(self._events.replay(event) for event in portion))
        pairs = zip(events, new, strict=True)
        return {
            "id": entry.id,
            "replayed": [{"event": old.id, "as": one.id, "seq": one.seq} for old, one in pairs],
            "in_quarantine": len(entry.events) - len(taken),
            "not_in_log": int(entry.facts.get("of", len(entry.events))) - len(entry.events),
        }

    async def _of_event(self, event_id: str) -> Entry | None:
        cursor: Cursor | None = None
        for _ in range(_SEARCHED):
            listing = await self.list(Query(), before=cursor, limit=1000)
            for entry in listing.entries:
                if any(event.get("id") == event_id for event in entry.events):
                    return entry
            cursor = listing.cursor
            if cursor is None:
                break
        return None

    async def _first(self, entry: Entry) -> StoredEvent | None:
        for event in entry.events[:1]:
            return await self._stored(entry, event)
        return None

    async def _stored(self, entry: Entry, event: Mapping[str, Any]) -> StoredEvent | None:
        """Return an event of a delivery: from its place, else wherever its id leads to."""
        stream = QUARANTINE if "reason" in event else "EVENTS"
        message = await message_at(self._bus, stream, int(event["seq"])) if event.get("seq") else None
        if message is not None:
            found = read_event(message)
            if found.id.startswith(str(event["id"])):  # a long one is cut in the log
                return found
        try:
            return await self._events.find(str(event["id"]), [entry.source] if entry.source else ())
        except NotFoundError:
            return None


def _cursor(readers: Mapping[str, Backwards], heads: Mapping[str, Entry | None]) -> Cursor | None:
    """Return where to go on: an entry that was read and not handed out comes again."""
    rests = {name: _after(reader, heads[name]) for name, reader in readers.items()}
    deliveries, refusals = rests.get(DELIVERIES, (0, 0)), rests.get(REFUSALS, (0, 0))
    return Cursor(deliveries, refusals) if (deliveries, refusals) != ((0, 0), (0, 0)) else None


def _after(reader: Backwards, head: Entry | None) -> tuple[int, int]:
    return reader.rest if head is None else (head.place[0], head.place[1] + 1)


def _as_json(body: bytes) -> dict[str, str]:
    try:
        return {"body": body.decode()}
    except UnicodeDecodeError:
        return {"body64": base64.b64encode(body).decode()}


def _moment(entry: Entry) -> float:
    return entry.at


def _waits(event: Mapping[str, Any]) -> bool:
    return bool(event.get("status") == _QUARANTINED)


def _reasons(entry: Entry) -> set[object]:
    return {entry.facts.get("reason"), *(event.get("reason") for event in entry.events)}
