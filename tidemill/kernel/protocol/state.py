"""What a run is, folded from its journal: a pure function of the records in their order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from tidemill.kernel.protocol.records import (
    Cancel,
    Claim,
    Created,
    End,
    Entry,
    Fault,
    Orphaned,
    Record,
    Released,
    Reopened,
    Suspend,
)


class Phase(StrEnum):
    """Where a run stands between its records."""

    ABSENT = "absent"
    """No journal: it was never created, or has been closed for good."""
    READY = "ready"
    """Created, reopened or orphaned: any ticket of the epoch may claim it."""
    OWNED = "owned"
    """The newest claim owns it; the owner's ticket carries it."""
    SUSPENDED = "suspended"
    """Nobody owns it; a timer or news will wake it."""
    ENDED = "ended"
    """It has its outcome; its journal is still open."""
    CLOSED = "closed"
    """Only a tombstone is left."""


class Status(StrEnum):
    """The states of a run that users see (DESIGN section 3)."""

    DELAYED = "delayed"
    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    PARKED = "parked"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"
    TIMED_OUT = "timed_out"
    CRASHED = "crashed"


@dataclass(slots=True)
class State:
    """A folded journal.

    `tail` is the sequence of its last record, `epoch` that of the newest record from which a ticket may
    continue and `epoch_rid` that record's id; `starts` counts all claims, `claims` those since the last
    progress (less the released ones), `attempts` the attempts that have failed since the last opening.
    `reopenings` maps the ids of reopening records to the sequences of the ends that they followed,
    `end_seq` is the newest end's and outlives it: a living run that has one was reopened. `started_at` is
    the time of the first claim, 0 where it isn't known: an owner doesn't know that of its own claim.
    """

    phase: Phase = Phase.ABSENT
    tail: int = 0
    epoch: int = 0
    epoch_rid: str = ""
    created: Created | None = None
    created_seq: int = 0
    owner: Claim | None = None
    wait: Suspend | None = None
    cancel: Cancel | None = None
    end: End | None = None
    end_seq: int = 0
    reopenings: dict[str, int] = field(default_factory=dict)
    claims: int = 0
    attempts: int = 0
    starts: int = 0
    timed: bool = False
    faults: list[Fault] = field(default_factory=list)
    rids: set[str] = field(default_factory=set)
    seqs: list[int] = field(default_factory=list)
    began_at: float = 0.0
    started_at: float = 0.0
    changed_at: float = 0.0

    def apply(self, seq: int, record: Record | None, at: float = 0.0) -> None:
        """Fold one more record, in the order of the journal."""
        self.tail = seq
        self.seqs.append(seq)
        self.changed_at = at or self.changed_at
        if record is None:
            self.phase = Phase.CLOSED
            return
        self.rids.add(record.rid)
        match record:
            case Created():
                self._create(seq, record, at)
            case Claim():
                self._claim(record, at)
            case Suspend():
                self._suspend(seq, record)
            case Cancel():
                self.cancel = record
            case Released():
                self.claims -= 1
            case Orphaned():
                self.phase, self.owner = Phase.READY, None
            case Reopened():
                self._reopen(seq, record)
            case End():
                self._finish(seq, record)

    def _create(self, seq: int, record: Created, at: float) -> None:
        self.phase, self.epoch, self.epoch_rid = Phase.READY, seq, record.rid
        self.created, self.created_seq, self.began_at = record, seq, at
        self.timed = record.start_at is not None

    def _claim(self, record: Claim, at: float) -> None:
        self.started_at = self.started_at or at
        self.phase, self.owner, self.wait = Phase.OWNED, record, None
        self.claims += 1
        self.starts += 1

    def _suspend(self, seq: int, record: Suspend) -> None:
        self.phase, self.epoch, self.epoch_rid = Phase.SUSPENDED, seq, record.rid
        self.wait = record
        self.owner, self.claims = None, 0
        self.timed = self.timed or record.until is not None
        if record.fault is not None:
            self.attempts += 1
            self.faults.append(record.fault)

    def _reopen(self, seq: int, record: Reopened) -> None:
        self.phase, self.epoch, self.epoch_rid = Phase.READY, seq, record.rid
        self.reopenings[record.rid] = self.end_seq
        self.end, self.cancel = None, None
        self.owner, self.claims, self.attempts = None, 0, 0

    def _finish(self, seq: int, record: End) -> None:
        self.phase, self.end, self.end_seq = Phase.ENDED, record, seq
        self.owner, self.wait = None, None
        if record.fault is not None:
            self.faults.append(record.fault)

    @property
    def task(self) -> str:
        """The id of the task that the run executes; empty where there is no journal."""
        return self.created.task if self.created else ""

    @property
    def attempt(self) -> int:
        """The number of the present or next attempt, from 1."""
        return self.attempts + 1

    @property
    def satisfied(self) -> bool:
        """Say whether a suspended run has all that it waits for, apart from its timer."""
        return self.cancel is not None

    @property
    def status(self) -> Status | None:
        """The run's state as users see it; None where there is no journal."""
        match self.phase:
            case Phase.ABSENT | Phase.CLOSED:
                return None
            case Phase.READY:
                delayed = self.created and self.created.start_at and not self.starts
                return Status.DELAYED if delayed else Status.QUEUED
            case Phase.OWNED:
                return Status.RUNNING
            case Phase.SUSPENDED:
                return Status.DELAYED if self.wait and self.wait.wait == "retry" else Status.WAITING
            case Phase.ENDED:
                return Status(self.end.outcome) if self.end else None


def fold(entries: Iterable[Entry]) -> State:
    """Return the state that a journal stands for."""
    state = State()
    for entry in entries:
        state.apply(entry.seq, entry.record, entry.at)
    return state
