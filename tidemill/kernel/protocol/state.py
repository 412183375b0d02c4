"""What a run is, folded from its journal: a pure function of the records in their order."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Final

from tidemill.kernel.protocol.records import (
    Cancel,
    Claim,
    Created,
    End,
    Entry,
    Fault,
    Item,
    News,
    Orphaned,
    Record,
    Released,
    Reopened,
    Spawned,
    Step,
    Suspend,
    Taken,
    Wait,
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
    `loose` are the parts that came behind a failed step in earlier attempts: this one may go on without
    them; `failing` says that this attempt has such a step, and `behind` what has come behind it.
    `steps` are the finished parts of the run by their keys, `tries` the failures of those that are to be
    tried again, `boxes` the news by mailbox, each item once; `waits` are all that the run has ever been
    suspended for and `elapsed` those of them whose time had come; `spawned` its children, by key, and
    `children` how many of these have certainly been created; `attempt_at` is when the attempt began.
    `timer` is the record that the run's pending timer continues from, 0 where there is none.
    `reopenings` maps the ids of reopening records to the sequences of the ends that they followed,
    `end_seq` is the newest end's and outlives it: a living run that has one was reopened. `started_at` is
    the time of the first claim, 0 where it isn't known: an owner doesn't know that of its own claim.
    `entries` are the records themselves; those that an owner has appended itself have no time.
    `opened_at` is when the run was to begin, or was reopened; `passed` the latest moment of which a timer has
    told that it is over, whatever a worker's clock says.
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
    timer: int = 0
    steps: dict[str, Step] = field(default_factory=dict)
    tries: dict[str, list[Step]] = field(default_factory=dict)
    behind: set[str] = field(default_factory=set)
    loose: set[str] = field(default_factory=set)
    failing: bool = False
    boxes: dict[str, dict[str, Item]] = field(default_factory=dict)
    waits: dict[str, Wait] = field(default_factory=dict)
    elapsed: set[str] = field(default_factory=set)
    spawned: dict[str, Spawned] = field(default_factory=dict)
    children: dict[str, int] = field(default_factory=dict)
    attempt_at: float = 0.0
    faults: list[Fault] = field(default_factory=list)
    rids: set[str] = field(default_factory=set)
    entries: list[Entry] = field(default_factory=list)
    began_at: float = 0.0
    opened_at: float = 0.0
    passed: float = 0.0
    started_at: float = 0.0
    changed_at: float = 0.0

    def apply(self, seq: int, record: Record | None, at: float = 0.0) -> None:
        """Fold one more record, in the order of the journal; one that is known already changes nothing."""
        if seq <= self.tail:
            return
        self.tail = seq
        self.entries.append(Entry(seq, record, at))
        self.changed_at = at or self.changed_at
        if record is None:
            self.phase = Phase.CLOSED
            return
        self.rids.add(record.rid)
        self._folds[type(record)](self, seq, record, at)

    def _create(self, seq: int, record: Created, at: float) -> None:
        self.phase, self.epoch, self.epoch_rid = Phase.READY, seq, record.rid
        self.created, self.created_seq, self.began_at = record, seq, at
        self.opened_at = at if record.start_at is None else record.start_at
        self.timer = seq if record.start_at is not None else 0
        if record.taken is not None:
            self._take_over(seq, record.taken, at)

    def _take_over(self, seq: int, taken: Taken, at: float) -> None:
        """Fold what a forked run was given exactly as if it stood in this journal."""
        self.attempt_at, self.loose = taken.time, set(taken.loose)
        self.waits = {wait.key: wait for wait in taken.waits}
        self.elapsed = set(self.waits)
        for part in taken.parts:
            self._folds[type(part)](self, seq, part, at)
        self.claims = 0

    def _claim(self, _seq: int, record: Claim, at: float) -> None:
        self.started_at = self.started_at or at
        if record.timer and self.wait is not None and self.wait.until is not None:
            due = self.passed = max(self.passed, self.wait.until)
            self.elapsed.update(
                one.key for one in self.wait.waits if one.until is not None and one.until <= due
            )
        self.timer, self.attempt_at = 0, self.attempt_at or record.at
        self.phase, self.owner, self.wait = Phase.OWNED, record, None
        self.claims += 1
        self.starts += 1

    def _spawn(self, _seq: int, record: Spawned, _at: float) -> None:
        self._note(record.key)
        if (before := self.spawned.get(record.key)) is not None:
            self.children[record.key] = before.count
        if record.run:
            self.children[record.key] = record.count
        self.spawned[record.key] = record

    def _be_cancelled(self, _seq: int, record: Cancel, _at: float) -> None:
        self.cancel = record

    def _release(self, _seq: int, _record: Released, _at: float) -> None:
        self.claims -= 1

    def _lose_owner(self, _seq: int, _record: Orphaned, _at: float) -> None:
        self.phase, self.owner = Phase.READY, None

    def _step(self, _seq: int, record: Step, _at: float) -> None:
        self.claims = 1
        if record.outcome == "again":
            self.tries.setdefault(record.key, []).append(record)
        else:
            self._note(record.key)
            self.steps[record.key] = record
            self.failing = self.failing or record.outcome == "failed"

    def _note(self, key: str) -> None:
        """Whatever comes behind a failed step may not come again: that step is executed anew."""
        if self.failing:
            self.behind.add(key)

    def _hear(self, _seq: int, record: News, _at: float) -> None:
        for item in record.items:
            self.rids.add(item.id)
            self.boxes.setdefault(item.box, {}).setdefault(item.who, item)

    def _suspend(self, seq: int, record: Suspend, _at: float) -> None:
        self.phase, self.epoch, self.epoch_rid = Phase.SUSPENDED, seq, record.rid
        self.wait = record
        self.owner, self.claims = None, 0
        self.timer = seq if record.until is not None else 0
        for wait in record.waits:
            self.waits.setdefault(wait.key, wait)
            if wait.key in self.spawned:
                self.children[wait.key] = self.spawned[wait.key].count
        if record.fault is not None:
            self.faults.append(record.fault)
        if record.wait == "retry":
            self.attempts += 1
            self._forget_failures()

    def _forget_failures(self) -> None:
        """A new attempt executes anew what has failed."""
        self.steps = {key: step for key, step in self.steps.items() if step.outcome != "failed"}
        self.tries, self.failing = {}, False
        self.loose |= self.behind
        self.behind = set()
        self.attempt_at = 0.0

    def _reopen(self, seq: int, record: Reopened, at: float) -> None:
        self.phase, self.epoch, self.epoch_rid = Phase.READY, seq, record.rid
        self.opened_at = at
        self.wait, self.timer = None, 0
        # The end of a child that came while the run had ended was told to nobody: each is looked at again.
        self.children = {key: spawned.count for key, spawned in self.spawned.items() if spawned.run}
        self._forget_failures()
        self.reopenings[record.rid] = self.end_seq
        self.end, self.cancel = None, None
        self.owner, self.claims, self.attempts = None, 0, 0

    def _finish(self, seq: int, record: End, _at: float) -> None:
        self.phase, self.end, self.end_seq = Phase.ENDED, record, seq
        self.owner, self.wait = None, None
        if record.fault is not None:
            self.faults.append(record.fault)

    _folds: ClassVar[dict[type[Any], Callable[[State, int, Any, float], None]]] = {
        Created: _create,
        Claim: _claim,
        Step: _step,
        Spawned: _spawn,
        News: _hear,
        Suspend: _suspend,
        Cancel: _be_cancelled,
        Released: _release,
        Orphaned: _lose_owner,
        Reopened: _reopen,
        End: _finish,
    }

    def extend(self, entries: Iterable[Entry]) -> bool:
        """Fold the entries that are new in, and say whether there are any."""
        known = self.tail
        for entry in entries:
            self.apply(entry.seq, entry.record, entry.at)
        return self.tail > known

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
        """Say whether a suspended run can go on before its timer: something that it waits for is there."""
        waits = self.wait.waits if self.wait is not None else ()
        return self.cancel is not None or any(self.decided(wait) for wait in waits)

    def decided(self, wait: Wait) -> bool:
        """Say whether a wait's mailbox holds what it waits for, or what makes that impossible."""
        if not wait.box:
            return False
        items = self.boxes.get(wait.box, {})
        if wait.spare is None:
            return len(items) >= wait.need
        good = sum(item.ok for item in items.values())
        return good >= wait.need or len(items) - good > wait.spare

    @property
    def parked(self) -> bool:
        """Whether the run waits for a person to look at it."""
        return self.phase is Phase.SUSPENDED and self.wait is not None and self.wait.wait == "parked"

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
                return _SUSPENDED[self.wait.wait] if self.wait else Status.WAITING
            case Phase.ENDED:
                return Status(self.end.outcome) if self.end else None


_SUSPENDED: Final = {"retry": Status.DELAYED, "news": Status.WAITING, "parked": Status.PARKED}


def fold(entries: Iterable[Entry]) -> State:
    """Return the state that a journal stands for."""
    state = State()
    for entry in entries:
        state.apply(entry.seq, entry.record, entry.at)
    return state
