"""Parts of user code, which an owner executes by the very functions that production's engine uses.

A part is asked for anew by every execution. It returns what it waits for, nothing where it is over.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from tests.model.journal import NOW
from tidemill.kernel.protocol.attempt import Commit, Session, refresh, remember
from tidemill.kernel.protocol.conclusions import (
    Cancelled,
    Conclusion,
    Failed,
    Interrupted,
    Lost,
)
from tidemill.kernel.protocol.creation import create_child
from tidemill.kernel.protocol.operations import CancelRuns, Procedure
from tidemill.kernel.protocol.records import Created, Fault, Item, News, Parent, Record, Spawned, Wait
from tidemill.kernel.protocol.records import Step as Finished
from tidemill.kernel.protocol.state import State
from tidemill.kernel.subjects import child_index, run_of_child

Waits = tuple[Wait, ...]
CHILD_TASK = "child"


@dataclass(frozen=True)
class Perform:
    """The function of a step is executed, by the owner with this claim. Result: what came of it."""

    run: str
    key: str
    claim: str


@dataclass(frozen=True)
class Listen:
    """All branches wait. Result: whether the owner heard of news behind the tail that it knows."""

    run: str
    tail: int


class Stop(Exception):  # noqa: N818 - how an execution unwinds
    """The handler goes no further."""

    def __init__(self, conclusion: Conclusion) -> None:
        super().__init__()
        self.conclusion = conclusion


@dataclass
class Execution:
    """One execution of a handler: its session, and which children it has created itself.

    A `terse` one executes functions and decides to wait in no time, and hears of no news.
    """

    session: Session
    terse: bool = False
    created: set[str] = field(default_factory=set)
    after: str = ""

    @property
    def state(self) -> State:
        return self.session.state

    @property
    def run(self) -> str:
        return self.session.ticket.run

    @property
    def time(self) -> float:
        """What the owner takes for the present: its clock lags, but it knows what a timer has told."""
        return max(NOW, self.state.passed)

    def remember(self, record: Record, unless: Callable[[State], bool] | None = None) -> Procedure[bool]:
        """Append a record; False where news made `unless` true."""
        facts = {"after": self.after} if isinstance(record, Finished | Spawned) else {}
        outcome = yield from remember(
            self.session, replace(record, rid=self.session.next_rid(), **facts), unless
        )
        if outcome is Commit.LOST:
            raise Stop(Lost())
        return outcome is Commit.DONE

    def until(self, key: str) -> float:
        """Return when a wait is over that lasts a second from when it was first asked for."""
        known = self.state.waits.get(key)
        return known.until if known is not None and known.until is not None else NOW + 1


class Part(ABC):
    """Something that user code asks for."""

    @abstractmethod
    def go(self, execution: Execution) -> Procedure[Waits]:
        """Carry it as far as it goes."""

    def children(self) -> list[tuple[str, int]]:
        """Return the key and the number of the children that it starts."""
        return []


@dataclass(frozen=True)
class Do(Part):
    """A step. The execution fails of it as often as `fails` says, for good if it is `fatal`."""

    key: str
    fails: int = 0
    fatal: bool = False

    def go(self, execution: Execution) -> Procedure[Waits]:
        state = execution.state
        if self.key in state.steps:
            return ()
        told = "done"
        if not execution.terse:
            told = yield Perform(execution.run, self.key, execution.session.claim.rid)  # type: ignore[misc]  # the model's own operation
        if told == "cancelled":
            alive = yield from refresh(execution.session)
            raise Stop(Cancelled("asked") if alive else Lost())
        if told == "interrupted":
            raise Stop(Interrupted())
        if len(execution.state.faults) < self.fails:
            raise Stop(Failed(Fault("Error", "no"), final=self.fatal))
        yield from execution.remember(Finished(rid="", key=self.key, at=execution.time))
        return ()


@dataclass(frozen=True)
class Waiter(Part):
    """A wait: for a moment (no box), for `need` items in a mailbox, or for whichever comes first."""

    key: str
    box: str = ""
    need: int = 1
    spare: int | None = None
    timed: bool = False

    def wait(self, execution: Execution) -> Wait:
        until = execution.until(self.key) if self.timed else None
        return Wait(key=self.key, kind="wait", until=until, box=self.box, need=self.need, spare=self.spare)

    def over(self, execution: Execution) -> bool:
        """Say whether the wait was decided by its mailbox or by time."""
        wait = self.wait(execution)
        return execution.state.decided(wait) or (wait.until is not None and wait.until <= execution.time)

    def go(self, execution: Execution) -> Procedure[Waits]:
        wait = self.wait(execution)
        if self.key in execution.state.steps or execution.state.decided(wait):
            return ()
        if not self.over(execution):
            return (wait,)
        if self.box:
            late = Finished(rid="", key=self.key, outcome="timed_out", at=execution.time)
            yield from execution.remember(late, unless=lambda state: state.decided(wait))
        return ()


def sleep(key: str) -> Waiter:
    """Return a sleep."""
    return Waiter(key, timed=True)


def signal(name: str, *, timed: bool = False) -> Waiter:
    """Return a wait for a signal."""
    return Waiter(name, f"signal:{name}", timed=timed)


def approval(name: str, quorum: int = 1, *, timed: bool = False) -> Waiter:
    """Return a wait for a decision, which one refusal settles."""
    return Waiter(name, name, quorum, 0, timed=timed)


@dataclass(frozen=True)
class Join(Waiter):
    """Children that are created, and waited for until `need` of them completed or that can't be any more."""

    count: int = 1

    def go(self, execution: Execution) -> Procedure[Waits]:
        yield from self.spawn(execution)
        waits = yield from super().go(execution)
        return waits

    def spawn(self, execution: Execution) -> Procedure[None]:
        """Create the children, those that may be missing again."""
        if self.key not in execution.state.spawned:
            record = Spawned(rid="", key=self.key, task=CHILD_TASK, count=self.count)
            yield from execution.remember(record)
        if self.key in execution.created or execution.state.children.get(self.key, 0) >= self.count:
            return
        ends: list[Item] = []
        for index in range(self.count):
            if str(index) not in execution.state.boxes.get(self.key, {}):
                created = child_record(execution.run, self.key, index)
                end = yield from create_child(run_of(execution.run, self.key, index), created)
                ends += [end] if end is not None else []
        execution.created.add(self.key)
        if ends:
            yield from execution.remember(News(rid="", items=tuple(ends)))

    def unfinished(self, execution: Execution) -> list[str]:
        """Return the children that the run hasn't heard the end of."""
        if execution.state.spawned[self.key].run:
            return []
        heard = execution.state.boxes.get(self.key, {})
        rest = [index for index in range(self.count) if str(index) not in heard]
        return [run_of(execution.run, self.key, index) for index in rest]

    def children(self) -> list[tuple[str, int]]:
        return [(self.key, self.count)]


def join(key: str, count: int, need: int | None = None, spare: int | None = None) -> Join:
    """Return a join of children, of all that end however they do where `spare` isn't given."""
    return Join(key, key, count if need is None else need, spare, count=count)


@dataclass(frozen=True)
class Race(Part):
    """Waits of which the first that is over wins; the losers' children are cancelled."""

    key: str
    parts: tuple[Waiter, ...]

    def go(self, execution: Execution) -> Procedure[Waits]:
        if self.key not in execution.state.steps:
            for part in self.parts:
                if isinstance(part, Join):
                    yield from part.spawn(execution)
            winner = next((part.key for part in self.parts if part.over(execution)), None)
            if winner is None:
                return tuple(part.wait(execution) for part in self.parts)
            yield from execution.remember(Finished(rid="", key=self.key, result=winner, at=execution.time))
        winner = execution.state.steps[self.key].result
        losers = tuple(
            run
            for part in self.parts
            if isinstance(part, Join) and part.key != winner
            for run in part.unfinished(execution)
        )
        if losers:
            yield CancelRuns(losers, "they have lost a race", execution.run)
        return ()

    def children(self) -> list[tuple[str, int]]:
        return [child for part in self.parts for child in part.children()]


@dataclass(frozen=True)
class Together(Part):
    """Branches that go on beside each other; over when all are."""

    branches: tuple[tuple[Part, ...], ...]

    def go(self, execution: Execution) -> Procedure[Waits]:
        waits: Waits = ()
        for branch in self.branches:
            waits += yield from go(branch, execution)
        return waits

    def children(self) -> list[tuple[str, int]]:
        return children_of(tuple(part for branch in self.branches for part in branch))


def go(parts: tuple[Part, ...], execution: Execution) -> Procedure[Waits]:
    """Carry parts as far as they go, one after the other."""
    for part in parts:
        waits = yield from part.go(execution)
        if waits:
            return waits
        execution.after = getattr(part, "key", execution.after)
    return ()


def children_of(parts: tuple[Part, ...]) -> list[tuple[str, int]]:
    """Return the key and the number of all children that a handler starts."""
    return [child for part in parts for child in part.children()]


def run_of(parent: str, key: str, index: int) -> str:
    """Return a child's id."""
    return run_of_child(parent, child_index(key, index))


def child_record(parent: str, key: str, index: int) -> Created:
    """Return the record that begins a child."""
    return Created(
        rid="child", task=CHILD_TASK, parent=Parent(run=parent, box=key, index=index), raw=str(index).encode()
    )


def item(name: str, *, ok: bool = True, box: str | None = None, number: int = 1) -> Item:
    """Return a signal, or a decision where `box` names its token."""
    what = f"item-{name}-{number}"
    return Item(id=what, box=f"signal:{name}" if box is None else box, who=what, ok=ok)


Script = tuple[Part, ...]
