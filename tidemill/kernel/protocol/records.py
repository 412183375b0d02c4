"""What a journal holds: one record per transition of a run, written once and never changed.

Every record carries a `rid` that is unique in its journal, so that a writer whose acknowledgement got
lost recognises its own record (flaw F12 of simpler designs). Times are seconds since the epoch.
What every run needs isn't frozen, since that would treble the cost of making one; none is ever changed.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar, Final, Literal

from tidemill.kernel.errors import PayloadError
from tidemill.kernel.frames import pack, unpack

Outcome = Literal["completed", "failed", "cancelled", "expired", "timed_out", "crashed"]
Wait = Literal["retry"]
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


@dataclass(slots=True, unsafe_hash=True, kw_only=True)
class Created:
    """The run exists; `raw` is its input, or lies in `blob` where it is large.

    `event` holds the envelope's attributes where an event started the run; `event_seq` is that event's
    sequence in EVENTS, which the closer holds against the router's floor. `start_at` delays the start,
    `expires_at` is the last moment at which it may begin, `key` the caller's idempotency key.
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
    blob: str | None = None
    raw: bytes = b""


@dataclass(slots=True, unsafe_hash=True, kw_only=True)
class Claim:
    """A worker owns the run: ticket `q` (its stream sequence) was delivered to it for the `n`-th time."""

    KIND: ClassVar[str] = "claim"
    rid: str
    q: int
    n: int
    worker: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspend:
    """The owner of ticket `q` let go of the run until the moment `until`, or until news satisfies `wait`."""

    KIND: ClassVar[str] = "suspend"
    rid: str
    q: int
    wait: Wait
    until: float | None = None
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
    idempotency key must go on finding it; `blobs` that it owns some. `task`, `event_seq` and `records` (the
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
    records: tuple[int, ...] = ()


Record = Created | Claim | Suspend | Cancel | Released | Orphaned | Reopened | End
_KINDS: Final[dict[str, type[Any]]] = {
    cls.KIND: cls for cls in (Created, Claim, Suspend, Cancel, Released, Orphaned, Reopened, End)
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
    facts: dict[str, Any] = {"kind": record.KIND}
    for name, default in _STORED[type(record)]:
        value = getattr(record, name)
        if value != default:
            facts[name] = value
    return pack(facts, record.raw if isinstance(record, Created) else b"")


def decode(body: bytes) -> Record | None:
    """Read a record back; an empty body is a tombstone.

    Raises:
        PayloadError: the bytes are no record that this version knows.
    """
    if not body:
        return None
    facts, raw = unpack(body)
    kind = facts.pop("kind", None)
    cls = _KINDS.get(kind)
    if cls is None:
        raise PayloadError(
            f"unknown journal record {kind!r}", hint="a newer version wrote it: upgrade this one"
        )
    try:
        if cls is Created:
            facts |= {"raw": raw, "tags": tuple(facts.get("tags", ()))}
        elif cls is End:
            facts |= {"records": tuple(facts.get("records", ()))}
        if facts.get("fault") is not None:
            facts["fault"] = Fault(**facts["fault"])
        record: Record = cls(**facts)
    except TypeError as error:
        raise PayloadError(f"malformed {kind!r} record: {error}") from error
    return record
