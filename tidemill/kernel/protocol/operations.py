"""What procedures ask for, one at a time: each operation is performed and its result sent back.

Performing an operation may fail for reasons outside of the protocol (no broker, no disk). Then the
procedure is abandoned: nothing was acknowledged, so the message that caused it comes again (A1).

Those that every run needs aren't frozen, since that would treble the cost of making one; none is changed.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from tidemill.kernel.protocol.records import Created, Entry, Item, Record
from tidemill.kernel.protocol.state import State

TicketKind = Literal["start", "timer", "signal"]
T = TypeVar("T")


@dataclass(slots=True, unsafe_hash=True)
class Read:
    """Read a run's journal from any replica. Result: its entries, in order; they may be stale."""

    run: str


@dataclass(slots=True, unsafe_hash=True)
class ReadLeader:
    """Read a run's journal through the stream's leader. Result: its entries, never stale.

    Those up to record `after` are known and may be left out.
    """

    run: str
    after: int = 0


@dataclass(slots=True, unsafe_hash=True)
class Append:
    """Append a record if the journal's tail is `expect`. Result: its sequence, None when refused."""

    run: str
    record: Record
    expect: int


@dataclass(slots=True, unsafe_hash=True)
class SendTicket:
    """Publish permission to continue `run` from record `seq`.

    `created` goes along with a first ticket, and `known`, the journal as its sender knows it, with a later
    one, so that the worker needs no read. `once` deduplicates by (run, seq); `cancels_timer` removes that
    record's timer in the same operation.
    """

    run: str
    task: str
    seq: int
    kind: TicketKind
    created: Created | None = None
    once: bool = False
    cancels_timer: bool = False
    known: tuple[Entry, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Schedule:
    """Set the timer of record `seq`: at the moment `at` the broker publishes the ticket (run, seq).

    Each suspension has a timer of its own: what a slow actor sets or cancels is never a later one's.
    `created` and `known` go along as with `SendTicket`.
    """

    run: str
    task: str
    seq: int
    at: float
    created: Created | None = None
    known: tuple[Entry, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class CancelTimer:
    """Remove the timer of record `seq`, if it is pending."""

    run: str
    task: str
    seq: int


@dataclass(frozen=True, slots=True)
class Bury:
    """Publish the dead letter of a run that ended at record `seq`, deduplicated by (run, seq)."""

    run: str
    seq: int
    state: State


@dataclass(frozen=True, slots=True)
class Exhume:
    """Take the dead letter of the end at record `seq` back, and no later one: the run goes on."""

    run: str
    task: str
    seq: int


@dataclass(frozen=True, slots=True)
class Tell:
    """Send an item to a run's mailbox, durably; it is deduplicated by its id."""

    run: str
    item: Item


@dataclass(frozen=True, slots=True)
class CancelRuns:
    """Ask for the end of runs, durably; repetitions do nothing.

    They are children of `parent`: one that doesn't exist is never to be created.
    """

    runs: tuple[str, ...]
    reason: str
    parent: str


@dataclass(frozen=True, slots=True)
class JournalOpen:
    """Result: whether a run has a journal that isn't closed, asked of the leader."""

    run: str


@dataclass(frozen=True, slots=True)
class Hint:
    """Tell an owner, without a promise, that its journal has news."""

    run: str
    worker: str


@dataclass(frozen=True, slots=True)
class Ack:
    """Acknowledge the message that this procedure works on: it is done."""


@dataclass(frozen=True, slots=True)
class GiveBack:
    """Ask for the redelivery of the message that this procedure works on, at once."""


@dataclass(frozen=True, slots=True)
class Clock:
    """Result: the present time in seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class TicketOutstanding:
    """Result: whether any ticket of the run is stored, asked of the leader."""

    run: str
    task: str


@dataclass(frozen=True, slots=True)
class TimerPending:
    """Result: whether record `seq` of the run has a pending timer, asked of the leader."""

    run: str
    task: str
    seq: int


@dataclass(frozen=True, slots=True)
class DeadLettered:
    """Result: whether a dead letter of the run is stored, asked of the leader."""

    run: str
    task: str


@dataclass(frozen=True, slots=True)
class Close:
    """Replace the journal by a tombstone for `keep` seconds, if its tail is `expect`. Result: done?

    `records` are the sequences of all its records where they are known, which makes it cheaper; `blobs`
    says that the run owns some, which go first.
    """

    run: str
    expect: int
    keep: float
    records: tuple[int, ...] = ()
    blobs: bool = False


@dataclass(frozen=True, slots=True)
class Erase:
    """Remove the records of a run that nobody can ask for any more, its end last, and its blobs before."""

    run: str
    records: tuple[int, ...]
    blobs: bool = False


@dataclass(frozen=True, slots=True)
class Publish:
    """Store an engine message (routing verdict, quarantined pair) under a deduplicating id."""

    stream: Literal["RECORDS", "QUARANTINE"]
    kind: str
    source: str
    key: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Isolate:
    """Wait until no other suspect executes in this worker, and keep them out until the message is let go.

    A second one for the same message has no effect. The message's lease is kept while it waits.
    """


@dataclass(slots=True, unsafe_hash=True)
class Execute:
    """Run user code as the owner. Result: a conclusion of `tidemill.kernel.protocol.conclusions`."""

    session: Any


Operation = (
    Read
    | ReadLeader
    | Append
    | SendTicket
    | Schedule
    | CancelTimer
    | Bury
    | Exhume
    | Tell
    | CancelRuns
    | JournalOpen
    | Hint
    | Ack
    | GiveBack
    | Clock
    | TicketOutstanding
    | TimerPending
    | DeadLettered
    | Close
    | Erase
    | Publish
    | Isolate
    | Execute
)
Procedure = Generator[Operation, Any, T]
