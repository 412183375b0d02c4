"""Quarantine: genuine deliveries that can't be processed, and (event, task) pairs that can't be judged.

An entry is released by sending it on: a delivery into EVENTS under the same message id, so that releasing
it twice makes one event; a pair by starting its task's one run on that event.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import orjson

from tidemill.kernel.clock import now, rfc3339
from tidemill.kernel.envelope import EDITED_AT, EDITED_BY
from tidemill.kernel.errors import ConflictError, NotFoundError
from tidemill.kernel.frames import pack
from tidemill.kernel.jetstream.records import delete
from tidemill.kernel.jetstream.scan import StoredMessage, message_at, newest, oldest
from tidemill.kernel.protocol.creation import create
from tidemill.kernel.protocol.routing import Arrival, start_record
from tidemill.kernel.services.looking import AT_ONCE, LIST_SECONDS, Found, Row, look
from tidemill.kernel.services.quarantine_query import QuarantineQuery
from tidemill.kernel.subjects import run_of_event

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidemill.kernel.jetstream.bus import Bus
    from tidemill.kernel.services.events import Events
    from tidemill.kernel.services.performer import Performer

STREAM: Final = "QUARANTINE"
_REASON: Final = "quarantine"
UNREADABLE: Final = "unreadable"
"""The reason of an entry that somebody else has written, or that is damaged."""
_GONE: Final = (
    "it may have been released, discarded or aged out; `tidemill quarantine list` shows what is there"
)


@dataclass(frozen=True, slots=True)
class Quarantined:
    """An entry: a delivery (`facts` are its event's, `raw` its body) or a pair (`facts` are the pair's)."""

    key: str
    seq: int
    at: datetime
    facts: dict[str, Any]
    raw: bytes

    @property
    def pair(self) -> bool:
        """Whether it is an event that is stored and a task whose `where` couldn't judge it."""
        return "pair" in self.facts

    @property
    def event(self) -> dict[str, Any]:
        """What is known of the event."""
        event: dict[str, Any] = self.facts["event"] if self.pair else self.facts
        return event

    @property
    def reason(self) -> dict[str, Any]:
        """Why it stands here."""
        reason: dict[str, Any] = self.facts["pair"] if self.pair else self.facts[_REASON]
        return reason

    def summary(self) -> dict[str, Any]:
        """Return what a list shows."""
        event = {name: self.event.get(name) for name in ("id", "source", "type")}
        kind = "pair" if self.pair else "delivery"
        return event | {
            "key": self.key, "kind": kind, "seq": self.seq, "at": self.at.isoformat(), "reason": self.reason
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Edit:
    """Other data for a delivery that is released; its raw body stays what it was.

    Attributes:
        value: the data, anything that JSON has but null.
        by: who has edited them.
        dataschema: identifier of the schema that they fit, None without one.
        marks: more extension attributes.
    """

    value: Any
    by: str
    dataschema: str | None = None
    marks: dict[str, str] = field(default_factory=dict)

    def applied(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Return an event's attributes with the edit among them."""
        told = {EDITED_BY: self.by, EDITED_AT: rfc3339(now())} | self.marks
        extensions = (facts.get("extensions") or {}) | told
        schema = {"dataschema": self.dataschema} if self.dataschema else {}
        return facts | {"value": self.value, "extensions": extensions} | schema


class Quarantine:
    """The quarantine of one namespace."""

    def __init__(self, bus: Bus, events: Events, performer: Performer) -> None:
        self._bus = bus
        self._events = events
        self._performer = performer

    async def list(
        self,
        query: QuarantineQuery | None = None,
        *,
        before: int | None = None,
        limit: int = 50,
        seconds: float = LIST_SECONDS,
    ) -> Found[Quarantined]:
        """Return the newest entries that are wanted, newest first.

        Args:
            query: which.
            before: return older ones than this sequence only, to continue a listing.
            limit: return at most so many.
            seconds: look for so long; there may be more behind what was found then.

        Raises:
            BrokerError: the stream can't be read.
        """
        return await self._look(query or QuarantineQuery(), lambda one: one, before, limit, seconds)

    async def select(self, query: QuarantineQuery, *, limit: int, seconds: float) -> Found[str]:
        """Return the sequences of the entries that are wanted, the newest first.

        Raises:
            BrokerError: the stream can't be read.
        """
        return await self._look(query, lambda one: str(one.seq), None, limit, seconds)

    async def _look(
        self,
        query: QuarantineQuery,
        kept: Callable[[Quarantined], Row],
        before: int | None,
        limit: int,
        seconds: float,
    ) -> Found[Row]:
        """Look for entries that are wanted, and return what is kept of them: many may be large."""
        messages = newest(
            self._bus, STREAM, self._all(), before=before, scan_limit=None, most_at_once=AT_ONCE
        )

        def fitting(message: StoredMessage) -> Row | None:
            entry = self._read(message)
            return kept(entry) if query.fits(entry.event, entry.reason, entry.at) else None

        return await look(messages, fitting, since=query.since, limit=limit, seconds=seconds)

    async def at(self, seq: int) -> Quarantined:
        """Return the entry with a sequence.

        Raises:
            NotFoundError: it isn't there, or not any more.
            BrokerError: the stream can't be read.
        """
        message = await message_at(self._bus, STREAM, seq)
        if message is None:
            raise NotFoundError(f"entry {seq} isn't in quarantine any more", hint=_GONE)
        return self._read(message)

    async def find(self, key: str) -> Quarantined:
        """Return the entry with a key, or the newest of an event's id.

        Raises:
            NotFoundError: there is none.
            BrokerError: the stream can't be read.
        """
        if not _unsafe(key):
            for message in await oldest(self._bus, STREAM, self._with_key(key), 1):
                return self._read(message)
        async for message in newest(self._bus, STREAM, self._all()):
            entry = self._read(message)
            if entry.event.get("id") == key:
                return entry
        raise NotFoundError(
            f"nothing is in quarantine as {key!r}",
            hint=_GONE,
        )

    async def body(self, entry: Quarantined) -> bytes:
        """Return a delivery's raw body, from its blob where it is large; a pair has none of its own.

        Raises:
            NotFoundError: its blob is gone.
        """
        blob = entry.facts.get("blob")
        return await self._events.blob(blob) if blob else entry.raw

    async def release(self, entry: Quarantined, edit: Edit | None = None) -> dict[str, Any]:
        """Send an entry on, as it is or edited, then take it out of quarantine; say what became of it.

        Raises:
            ConflictError: the entry is a pair, which has no data of its own to edit; it had been released
                before, and not with this edit; or it can't be read.
            NotFoundError: a pair's event isn't stored any more.
            BrokerError: it couldn't be stored; it stays in quarantine.
        """
        if entry.reason.get("code") == UNREADABLE:
            raise ConflictError(
                f"{entry.key} can't be read: {entry.reason['detail']}",
                hint="all that can be done is to discard it",
            )
        if edit is not None:
            check_editable(entry)
        outcome = await (self._start(entry) if entry.pair else self._store(entry, edit))
        await self._remove(entry.seq)
        if edit is not None and outcome["duplicate"]:
            await self._check_edited(entry, edit, outcome["seq"])
        return outcome

    async def discard(self, entry: Quarantined) -> dict[str, Any]:
        """Take an entry out of quarantine for good, and say what it was: nothing is ever made of it.

        Raises:
            BrokerError: it couldn't be taken out; it stays.
        """
        await self._remove(entry.seq)
        told = {name: entry.event.get(name) for name in ("source", "type")}
        return {"event": entry.event.get("id"), "discarded": entry.key} | told

    async def _check_edited(self, entry: Quarantined, edit: Edit, seq: int) -> None:
        """Make sure that the event that is stored is the edited one: releasing twice makes one event."""
        event = await self._events.at(seq)
        by = (event.facts.get("extensions") or {}).get(EDITED_BY)
        if by != edit.by or event.facts.get("value") != edit.value:
            raise ConflictError(
                f"{entry.key} had been released before, and without this edit",
                hint=f"look at the event {event.id}: it stays as it is",
            )

    async def _store(self, entry: Quarantined, edit: Edit | None) -> dict[str, Any]:
        facts = {name: value for name, value in entry.facts.items() if name != _REASON}
        facts = edit.applied(facts) if edit is not None else facts
        subject = self._bus.names.event(str(facts["source"]), str(facts["type"]))
        headers = {"Nats-Msg-Id": entry.key}
        stored = await self._bus.publish(subject, pack(facts, entry.raw), headers=headers)
        return {"event": facts["id"], "seq": stored.seq, "duplicate": stored.duplicate}

    async def _start(self, entry: Quarantined) -> dict[str, Any]:
        event, task = await self._events.at(int(entry.event["seq"])), str(entry.reason["task"])
        run = run_of_event(event.key, task)
        blobs = {task: await self._events.copy_body(event, run)} if event.blob else {}
        facts = {name: value for name, value in event.facts.items() if name != "blob"}
        arrival = Arrival(facts, event.key, event.seq, event.raw, blobs)
        record = start_record(arrival, task, hooks=bool(entry.reason.get("hooks")))
        state = await self._performer.run(create(run, record))
        return {"event": event.id, "run": run, "task": task, "status": str(state.phase.name).lower()}

    async def _remove(self, seq: int) -> None:
        """Take an entry out; somebody else may have done so meanwhile, which makes no second event."""
        await delete(self._bus, self._bus.names.stream(STREAM), seq)

    def _all(self) -> str:
        return self._bus.names.subject("quarantine", ">")

    def _with_key(self, key: str) -> str:
        return self._bus.names.subject("quarantine", "*", key)

    def _read(self, message: StoredMessage) -> Quarantined:
        key = ".".join(self._bus.names.tokens(message.subject)[2:])
        facts, raw = _opened(message.body)
        return Quarantined(key, message.seq, message.at, facts, raw)


def _opened(body: bytes) -> tuple[dict[str, Any], bytes]:
    """Return what is known of an entry and its raw body; what can't be read says so in its reason."""
    line, _, raw = body.partition(b"\n")
    try:
        facts = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return {_REASON: {"code": UNREADABLE, "detail": str(error)}}, body
    if not isinstance(facts, dict) or not (_REASON in facts or "pair" in facts):
        return {_REASON: {"code": UNREADABLE, "detail": "it says nothing of what is wrong"}}, body
    return facts, raw


def check_editable(entry: Quarantined) -> None:
    """Make sure that an entry has data of its own.

    Raises:
        ConflictError: it is a pair.
    """
    if entry.pair:
        raise ConflictError(
            f"{entry.key} is an event that is stored, and can't be edited",
            hint="mend the task's condition and release it as it is",
        )


def _unsafe(key: str) -> bool:
    return not key or any(character in "*> \t\r\n" for character in key) or not all(key.split("."))
