"""The stored events: listing and finding them, what was decided about them, and sending one again."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import orjson

from tidemill.kernel.errors import BrokerError, NotFoundError, PayloadError
from tidemill.kernel.frames import pack, unpack
from tidemill.kernel.jetstream.scan import StoredMessage, message_at, newest, oldest
from tidemill.kernel.subjects import delivery_key, escape, escape_pattern

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tidemill.kernel.jetstream.blobs import Blobs
    from tidemill.kernel.jetstream.bus import Bus

STREAM: Final = "EVENTS"
_WRONG_LAST_MESSAGE_ID: Final = 10070
_IMPOSSIBLE_ID: Final = "-"
_MOST_RECORDS: Final = 100


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event at its place in the stream; `raw` is empty where the body lies in a blob."""

    seq: int
    at: datetime
    facts: dict[str, Any]
    raw: bytes

    @property
    def id(self) -> str:
        """The event's id."""
        return str(self.facts.get("id", ""))

    @property
    def key(self) -> str:
        """The delivery's key, the message id under which duplicates are found."""
        return str(self.facts.get("deliverykey", ""))

    @property
    def blob(self) -> str | None:
        """The blob that holds the body, None where `raw` does."""
        blob: str | None = self.facts.get("blob")
        return blob

    def summary(self) -> dict[str, Any]:
        """Return what a list shows."""
        shown = ("id", "source", "type", "subject", "time", "replayof")
        facts = {name: self.facts[name] for name in shown if name in self.facts}
        return facts | {"key": self.key, "seq": self.seq, "received_at": self.at.isoformat()}


def read_event(message: StoredMessage) -> StoredEvent:
    """Read a stored message as an event.

    Raises:
        PayloadError: its bytes are no frame.
    """
    facts, raw = unpack(message.body)
    return StoredEvent(message.seq, message.at, facts, raw)


class Events:
    """The events of one namespace."""

    def __init__(self, bus: Bus, blobs: Blobs) -> None:
        self._bus = bus
        self._blobs = blobs

    async def list(
        self,
        *,
        source: str | None = None,
        event_type: str | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> list[StoredEvent]:
        """Return the newest events.

        Args:
            source: of this source only, with its tenant where it has one.
            event_type: of this type only, or a pattern with wildcards.
            before: older than this sequence, to continue a listing.
            limit: at most so many.

        Raises:
            BrokerError: the stream can't be read.
        """
        wanted = escape_pattern(event_type) if event_type else ">"
        subject = self._bus.names.subject("events", escape(source) if source else "*", wanted)
        found: list[StoredEvent] = []
        async for message in newest(self._bus, STREAM, subject, before=before):
            found.append(read_event(message))
            if len(found) >= limit:
                break
        return found

    async def at(self, seq: int) -> StoredEvent:
        """Return the event with a sequence.

        Raises:
            NotFoundError: it isn't stored any more.
            BrokerError: the stream can't be read.
        """
        message = await message_at(self._bus, STREAM, seq)
        if message is None:
            raise _unknown(f"number {seq}")
        return read_event(message)

    async def find(self, event_id: str, sources: Iterable[str] = ()) -> StoredEvent:
        """Return the newest event with an id or a delivery key.

        `sources` are asked first: there the broker itself finds the id, as long as it would find a
        duplicate of it. What is left is searched for among the newest events.

        Raises:
            NotFoundError: there is none.
            BrokerError: the stream can't be read.
        """
        for key in (event_id, *(delivery_key(source, event_id) for source in sources)):
            seq = await self._seq_of(key)
            message = await message_at(self._bus, STREAM, seq) if seq else None
            if message is not None:
                return read_event(message)
        async for message in newest(self._bus, STREAM, self._bus.names.subject("events", ">")):
            event = read_event(message)
            if event_id in (event.id, event.key):
                return event
        raise _unknown(repr(event_id))

    async def body(self, event: StoredEvent) -> bytes:
        """Return an event's raw body, from its blob where it is large.

        Raises:
            NotFoundError: its blob is gone.
        """
        return await self.blob(event.blob) if event.blob else event.raw

    async def blob(self, name: str) -> bytes:
        """Return the bytes of a blob that an event or an entry of the quarantine names.

        Raises:
            NotFoundError: it is gone.
        """
        return await self._blobs.get(name)

    async def copy_body(self, event: StoredEvent, owner: str) -> str:
        """Copy an event's large body for another owner and return the copy's blob.

        Raises:
            NotFoundError: its blob is gone.
            BrokerError: the copy couldn't be stored.
        """
        return await self._blobs.put(owner, await self.body(event))

    async def verdicts(self, key: str) -> Sequence[dict[str, Any]]:
        """Return what was recorded about a delivery: duplicates of it, and routing verdicts.

        Raises:
            BrokerError: the stream can't be read.
        """
        subject = self._bus.names.subject("records", "*", "*", key)
        return [self._record(one) for one in await oldest(self._bus, "RECORDS", subject, _MOST_RECORDS)]

    async def records(
        self, *, kind: str | None = None, source: str | None = None, limit: int = 50
    ) -> Sequence[dict[str, Any]]:
        """Return the newest records: `refused` and `duplicate` requests, and `verdict`s of the router.

        Raises:
            BrokerError: the stream can't be read.
        """
        wanted = (escape(kind) if kind else "*", escape(source) if source else "*", ">")
        subject = self._bus.names.subject("records", *wanted)
        found: list[dict[str, Any]] = []
        async for message in newest(self._bus, "RECORDS", subject):
            found.append(self._record(message))
            if len(found) >= limit:
                break
        return found

    async def replay(self, event: StoredEvent) -> StoredEvent:
        """Store an event again, under a new id and with `replayof`, and return the new one.

        Raises:
            NotFoundError: its blob is gone.
            BrokerError: it couldn't be stored.
        """
        source, new_id = str(event.facts["source"]), f"replay-{secrets.token_hex(12)}"
        key = delivery_key(source, new_id)
        facts = event.facts | {"id": new_id, "replayof": event.id, "deliverykey": key}
        if event.blob:
            facts["blob"] = await self.copy_body(event, key)
        subject = self._bus.names.event(source, str(event.facts["type"]))
        stored = await self._bus.publish(subject, pack(facts, event.raw), headers={"Nats-Msg-Id": key})
        return await self.at(stored.seq)

    def _record(self, message: StoredMessage) -> dict[str, Any]:
        kind = self._bus.names.tokens(message.subject)[1]
        facts: dict[str, Any] = {"kind": kind, "at": message.at.isoformat()}
        try:
            facts |= orjson.loads(message.body)
        except orjson.JSONDecodeError as error:
            raise PayloadError(f"the record {message.subject} is no JSON: {error}") from error
        return facts

    async def _seq_of(self, key: str) -> int:
        """Ask the broker for the sequence of a message id, 0 where it knows none.

        A publish with that id that can't succeed, since no stored message has an id of one hyphen, is
        answered with the place of the first one where it is a duplicate (nats-server looks for duplicates
        before it looks at `Nats-Expected-Last-Msg-Id`).
        """
        headers = {"Nats-Msg-Id": key, "Nats-Expected-Last-Msg-Id": _IMPOSSIBLE_ID}
        subject = self._bus.names.subject("events", "lookup", "lookup")
        try:
            return (await self._bus.publish(subject, headers=headers)).seq
        except BrokerError as error:
            if error.code != _WRONG_LAST_MESSAGE_ID:
                raise
            return 0


def _unknown(what: str) -> NotFoundError:
    return NotFoundError(
        f"there is no event {what}",
        hint="it may have aged out; `tidemill events list` shows those that are kept",
    )
