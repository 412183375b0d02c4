"""The feed of deliveries: the webhooks that have become events, in their order, from any place on.

What came as a batch is one delivery, handed out when its first event is met; whoever begins in the middle of
one gets it whole. Bodies are fetched when they are handed out, so that a page of the feed is small.
"""

from __future__ import annotations

import base64
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tidemill.kernel.errors import NotFoundError, PayloadError
from tidemill.kernel.jetstream import records
from tidemill.kernel.jetstream.scan import StoredMessage
from tidemill.kernel.services.events import STREAM, StoredEvent, read_event
from tidemill.kernel.subjects import escape, escape_pattern, pattern_problem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tidemill.kernel.jetstream.bus import Bus
    from tidemill.kernel.services.events import Events

PAGE: Final = 8
_BATCHES: Final = 1000
"""Batches that are remembered as handed out."""
_ALL_TENANTS: Final = "*"


@dataclass(frozen=True, slots=True)
class Interest:
    """Which deliveries are wanted.

    Attributes:
        source: the configured name; of one tenant with `/TENANT` behind it, of all with `/*`.
        event_type: a type, or a pattern with wildcards; None for all.
    """

    source: str
    event_type: str | None = None

    def __post_init__(self) -> None:
        """Refuse what can't be.

        Raises:
            PayloadError: the pattern is none, or there is no source.
        """
        if not self.source or not self.name:
            raise PayloadError("a source is missing", hint="say which: source=github")
        if self.event_type is not None and (problem := pattern_problem(self.event_type)):
            raise PayloadError(
                f"type={self.event_type!r} can't be used: {problem}", hint="like github.issues.*"
            )

    @property
    def name(self) -> str:
        """The configured name."""
        return self.source.partition("/")[0]

    def subject(self, bus: Bus) -> str:
        """Return the filter of their events; for all tenants it fits other sources' too."""
        token = "*" if self.source.endswith(f"/{_ALL_TENANTS}") else escape(self.source)
        return bus.names.subject("events", token, escape_pattern(self.event_type or ">"))

    def fits(self, event: StoredEvent) -> bool:
        """Say whether an event is wanted whose subject fits the filter."""
        source = str(event.facts.get("source"))
        return source == self.source or (
            self.source.endswith(f"/{_ALL_TENANTS}") and source.partition("/")[0] == self.name
        )


class Feed:
    """One reader's way through the deliveries.

    Attributes:
        seq: everything up to this sequence was handed out, or isn't wanted.
        missed: sequences that were gone before they could be handed out, at the start.
    """

    def __init__(self, bus: Bus, events: Events, interest: Interest) -> None:
        self._bus = bus
        self._events = events
        self._interest = interest
        self._subject = interest.subject(bus)
        self._stream = bus.names.stream(STREAM)
        self._batches: OrderedDict[str, None] = OrderedDict()
        self.seq = 0
        self.missed = 0

    async def begin(self, after: int | None = None, since: float | None = None) -> None:
        """Go to a place: behind a sequence, to a moment (seconds since the epoch), or to now.

        Raises:
            BrokerError: the stream can't be read.
        """
        state = (await self._bus.api(f"STREAM.INFO.{self._stream}"))["state"]
        self.seq = state["last_seq"]
        if after is not None:
            self.seq = max(min(after, self.seq), state["first_seq"] - 1, 0)
            self.missed = max(0, self.seq - after)
        elif since is not None:
            found, _ = await records.page(self._bus, self._stream, self._subject, since=since, limit=1)
            self.seq = found[0].seq - 1 if found else self.seq

    async def next(self) -> AsyncIterator[dict[str, Any]]:
        """Yield the deliveries that have come since, a bounded number of them; none where there are none.

        Raises:
            BrokerError: the stream can't be read; what was yielded was handed out.
        """
        found, _ = await records.page(self._bus, self._stream, self._subject, start=self.seq + 1, limit=PAGE)
        for record in found:
            try:
                event = read_event(StoredMessage.of(record))
            except PayloadError:  # somebody else's message: it must not stop what comes behind it
                self.seq = record.seq
                continue
            batch = _batch_of(event)
            if self._interest.fits(event) and batch not in self._batches:
                yield await self._document(event, batch)
            if batch is not None:
                self._remember(batch)
            self.seq = record.seq

    def _remember(self, batch: str) -> None:
        self._batches[batch] = None
        self._batches.move_to_end(batch)
        if len(self._batches) > _BATCHES:
            self._batches.popitem(last=False)

    async def _document(self, event: StoredEvent, batch: str | None) -> dict[str, Any]:
        """Return a delivery as it is handed out.

        `headers` are those that it came with, but for credentials; `body` is text, or `body64` base64, and
        missing where it is gone. `item` says that the body is one item of what came as a batch.
        """
        facts = event.facts
        source, _, tenant = str(facts.get("source")).partition("/")
        document = {
            "seq": event.seq,
            "id": event.id,
            "type": facts.get("type"),
            "source": source,
            "tenant": tenant or None,
            "received_at": event.at.isoformat(),
            "replayof": facts.get("replayof"),
            "item": batch is None and "batchid" in facts.get("extensions", {}),
            "headers": facts.get("headers", {}),
        }
        try:
            body = await (self._events.blob(batch) if batch else self._events.body(event))
        except NotFoundError:
            return document
        try:
            return document | {"body": body.decode()}
        except UnicodeDecodeError:
            return document | {"body64": base64.b64encode(body).decode()}


def _batch_of(event: StoredEvent) -> str | None:
    """Return the blob of the batch that an event came in, None where it came alone or was sent again."""
    batch = event.facts.get("extensions", {}).get("batchblob")
    return str(batch) if batch and not event.facts.get("replayof") else None
