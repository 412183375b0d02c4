"""What a journal holds: one record per transition of a run, written once and never changed.

Every record carries a `rid` that is unique in its journal, so that a writer whose acknowledgement got
lost recognises its own record (flaw F12 of simpler designs). Times are seconds since the epoch.
What every run needs isn't frozen, since that would treble the cost of making one; none is ever changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Final, Literal

from tidemill.kernel.errors import PayloadError
from tidemill.kernel.frames import pack, unpack

Outcome = Literal["completed", "failed", "cancelled", "expired", "timed_out", "crashed"]
Reason = Literal["retry", "news", "parked"]
"""Why a run is suspended: a failed attempt is tried again; it waits for time or news; a person must look."""
StepOutcome = Literal["done", "failed", "timed_out", "again"]
BURIED: Final[frozenset[str]] = frozenset({"failed", "expired", "timed_out", "crashed"})
"""Outcomes that leave a dead letter."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why one attempt didn't complete: exception type, message, formatted traceback, and when."""

    type: str
    message: str
    traceback: str = ""
    attempt: int = 0
    at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A piece of news from outside: a signal, a decision, an event, the end of a child.

    `box` is the mailbox that it is for, `who` tells items of a box apart (a box holds the first of each),
    `ok` whether it speaks for what is waited for. `run` is the child that it speaks of; a result that is
    too large to travel is read from that child's journal.
    """

    id: str
    box: str
    who: str
    ok: bool = True
    data: Any = None
    blob: str | None = None
    run: str | None = None
    fault: Fault | None = None
    at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """One thing that a suspended run waits for: until a moment, for items in a mailbox, or for either.

    `key` names the wait in the run's code, `kind` is what users call it. With `spare` the box must hold
    `need` items that are ok, and decides too when more than `spare` of them aren't; without it all count.
    """

    key: str
    kind: str
    until: float | None = None
    box: str = ""
    need: int = 1
    spare: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parent:
    """Who started a child and hears of its end: in mailbox `box`, as number `index`; no `box`, no news.

    `depth` counts the generations above the child.
    """

    run: str
    box: str
    index: int = 0
    depth: int = 1


@dataclass(slots=True, unsafe_hash=True, kw_only=True)
class Claim:
    """A worker owns the run: ticket `q` (its stream sequence) was delivered to it for the `n`-th time.

    `timer` says that the ticket was published by the run's timer: by the broker's clock its moment has come.
    `at` is the worker's time.
    """

    KIND: ClassVar[str] = "claim"
    rid: str
    q: int
    n: int
    worker: str
    timer: bool = False
    at: float = 0.0


@dataclass(slots=True, unsafe_hash=True, kw_only=True)
class Step:
    """The owner has finished a named part of the run, which is never executed again.

    `after` is the key of the part before it in its branch of the code, by which changed code is told. A
    failed step is forgotten when the attempt fails; one that is to be tried `again` at the moment `until`
    isn't finished. `at` is the time by which the code has seen it.
    """

    KIND: ClassVar[str] = "step"
    rid: str
    key: str
    after: str = ""
    outcome: StepOutcome = "done"
    result: Any = None
    blob: str | None = None
    fault: Fault | None = None
    until: float | None = None
    at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Spawned:
    """The owner is about to create children 0 to `count` - 1 of `task` under this key.

    Written before them, so that whoever cancels the run finds them all. With `run` they are that other run's,
    from which this one was forked: it neither creates nor cancels them.
    """

    KIND: ClassVar[str] = "spawned"
    rid: str
    key: str
    task: str
    count: int = 1
    after: str = ""
    detached: bool = False
    run: str = ""
    at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What has arrived from outside, many items in one record."""

    KIND: ClassVar[str] = "news"
    rid: str
    items: tuple[Item, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What a forked run has from another one instead of doing it: what stood there before record `at`.

    `key` is the part that was chosen, of which nothing is taken over; empty where a record was, or the end.
    `parts` are finished ones and what was heard, in the order of that journal, `waits` those whose time was
    over. `loose`, and `time`, when its attempt began, are as `State` has them; `seed` is the run whose random
    numbers the code goes on drawing.
    """

    run: str
    at: int
    key: str = ""
    seed: str = ""
    time: float = 0.0
    loose: tuple[str, ...] = ()
    waits: tuple[Wait, ...] = ()
    parts: tuple[Step | Spawned | News, ...] = ()


@dataclass(slots=True, unsafe_hash=True, kw_only=True)
class Created:
    """The run exists; `raw` is its input, or lies in `blob` where it is large.

    `event` holds the envelope's attributes where an event started the run; `event_seq` is that event's
    sequence in EVENTS, which the closer holds against the router's floor. `start_at` delays the start,
    `expires_at` is the last moment at which it may begin, `key` the caller's idempotency key.
    `hooks` says that the task has hooks, which hear of the end in a run of their own, `reply` that the
    event's sender may wait for an answer of the run. `trace` is the W3C `traceparent` of what started the
    run, where that wasn't the event. `taken` is what a forked run has from the one that it was forked from.
    """

    KIND: ClassVar[str] = "created"
    rid: str
    task: str
    event: dict[str, Any] | None = None
    event_seq: int = 0
    start_at: float | None = None
    expires_at: float | None = None
    key: str | None = None
    tags: tuple[str, ...] = ()
    replayof: str | None = None
    parent: Parent | None = None
    hooks: bool = False
    reply: bool = False
    trace: str | None = None
    taken: Taken | None = None
    blob: str | None = None
    raw: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspend:
    """The owner of ticket `q` let go of the run until the moment `until`, or until news satisfies a wait."""

    KIND: ClassVar[str] = "suspend"
    rid: str
    q: int
    wait: Reason
    until: float | None = None
    waits: tuple[Wait, ...] = ()
    fault: Fault | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel:
    """Somebody asked for the run's end while it was owned."""

    KIND: ClassVar[str] = "cancel"
    rid: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Released:
    """The owner gave the run back unharmed (it was shut down): its claim counts as no crash."""

    KIND: ClassVar[str] = "released"
    rid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Orphaned:
    """The sweeper found an owned run whose ticket is gone: it has no owner any more."""

    KIND: ClassVar[str] = "orphaned"
    rid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reopened:
    """A run that had failed goes on: a new epoch with fresh attempts."""

    KIND: ClassVar[str] = "reopened"
    rid: str
    reason: str = ""


@dataclass(slots=True, unsafe_hash=True, kw_only=True)
class End:
    """The run has ended.

    `lasting` says that it has a dead letter, or that an earlier end may have left one; `keyed` that an
    idempotency key must go on finding it; `blobs` that it owns some; `parent` is the run that may still
    read its result. `task`, `event_seq` and `records` (the
    sequences of all records before this one) are what its closer needs to know.
    """

    KIND: ClassVar[str] = "end"
    rid: str
    outcome: Outcome
    result: Any = None
    blob: str | None = None
    fault: Fault | None = None
    reason: str = ""
    task: str = ""
    event_seq: int = 0
    keyed: bool = False
    lasting: bool = False
    blobs: bool = False
    parent: str = ""
    records: tuple[int, ...] = ()


Record = Created | Claim | Step | Spawned | News | Suspend | Cancel | Released | Orphaned | Reopened | End
_KINDS: Final[dict[str, type[Any]]] = {
    cls.KIND: cls
    for cls in (
        Created,
        Claim,
        Step,
        Spawned,
        News,
        Suspend,
        Cancel,
        Released,
        Orphaned,
        Reopened,
        End,
    )
}
_STORED: Final[dict[type[Any], tuple[tuple[str, Any], ...]]] = {
    cls: tuple((field.name, field.default) for field in fields(cls) if field.name != "raw")
    for cls in _KINDS.values()
}


@dataclass(slots=True, unsafe_hash=True)
class Entry:
    """A record at its place in the journal; a tombstone has none."""

    seq: int
    record: Record | None
    at: float = 0.0


def encode(record: Record) -> bytes:
    """Return a record as it is stored: a frame whose line leaves out what has its default."""
    facts = _stored(record)
    if not isinstance(record, Created):
        return pack(facts)
    if record.taken is not None:
        facts["taken"] = _taken_facts(record.taken)
    return pack(facts, record.raw)


def _stored(record: Record) -> dict[str, Any]:
    """Return a record's facts without those that have their default."""
    facts: dict[str, Any] = {"kind": record.KIND}
    for name, default in _STORED[type(record)]:
        value = getattr(record, name)
        if value != default:
            facts[name] = value
    return facts


def _taken_facts(taken: Taken) -> dict[str, Any]:
    """Return what a forked run has taken over, as it is stored: short, since all of it is one record."""
    facts = {name: value for name, value in _told(taken).items() if name != "parts"}
    parts = [_stored(part) for part in taken.parts]
    for part in parts:
        if items := part.get("items"):
            part["items"] = [_told(item) for item in items]
    return facts | {"parts": parts}


def _told(given: Taken | Item) -> dict[str, Any]:
    """Return the fields of a value that don't have their default."""
    told = ((field, getattr(given, field.name)) for field in fields(given))
    return {field.name: value for field, value in told if value != field.default}


def decode(body: bytes) -> Record | None:
    """Read a record back; an empty body is a tombstone.

    Raises:
        PayloadError: the bytes are no record that this version knows.
    """
    if not body:
        return None
    facts, raw = unpack(body)
    if facts.get("kind") == Created.KIND:
        facts["raw"] = raw
    return _record_of(facts)


def _record_of(facts: dict[str, Any]) -> Record:
    kind = facts.pop("kind", None)
    cls = _KINDS.get(kind)
    if cls is None:
        raise PayloadError(f"unknown journal record {kind!r}", hint=_NEWER)
    try:
        for name, build in _NESTED.items():
            if (given := facts.get(name)) is not None:
                facts[name] = build(given)
        record: Record = cls(**facts)
    except (TypeError, AttributeError) as error:
        raise PayloadError(f"malformed {kind!r} record: {error}", hint=_NEWER) from error
    return record


_NEWER: Final = "if a newer version wrote it, upgrade this one"


def item_of(facts: dict[str, Any]) -> Item:
    """Read an item that came as JSON.

    Raises:
        TypeError: a field is missing or unknown.
    """
    fault = facts.get("fault")
    return Item(**facts | {"fault": Fault(**fault) if fault is not None else None})


def _taken_of(facts: dict[str, Any]) -> Taken:
    waits = tuple(Wait(**one) for one in facts.pop("waits", ()))
    parts: tuple[Any, ...] = tuple(map(_record_of, facts.pop("parts", ())))
    return Taken(**facts | {"loose": tuple(facts.get("loose", ()))}, waits=waits, parts=parts)


_NESTED: Final[dict[str, Callable[[Any], Any]]] = {
    "tags": tuple,
    "records": tuple,
    "fault": lambda facts: Fault(**facts),
    "parent": lambda facts: facts if isinstance(facts, str) else Parent(**facts),
    "waits": lambda facts: tuple(Wait(**one) for one in facts),
    "items": lambda facts: tuple(item_of(one) for one in facts),
    "taken": _taken_of,
}
