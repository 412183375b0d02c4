"""A broker in memory: journals, tickets, timers and mail as bytes, and a clock that somebody moves."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from tidemill.kernel.protocol import operations as op
from tidemill.kernel.protocol.mailman import Signal
from tidemill.kernel.protocol.records import End, Entry, Item, Record, Step, decode, encode
from tidemill.kernel.protocol.state import State, fold
from tidemill.kernel.signals import read_item, write_item

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from tidemill.kernel.protocol.attempt import Session
    from tidemill.kernel.protocol.conclusions import Conclusion

T = TypeVar("T")
_EFFECTS: Final = (
    op.Append,
    op.SendTicket,
    op.Schedule,
    op.CancelTimer,
    op.Bury,
    op.Tell,
    op.CancelRuns,
    op.Ack,
    op.GiveBack,
)


class Crashed(BaseException):
    """The process that was performing an operation has died: nothing that it says counts any more."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment at which a process can die: before an operation that leaves something, or after an append."""

    number: int
    when: Literal["before", "after"]
    operation: op.Operation

    def __str__(self) -> str:
        kind = type(self.operation).__name__
        record = self.operation.record if isinstance(self.operation, op.Append) else None
        told = f" {record.KIND}" if record is not None else ""
        key = f" {record.key!r}" if isinstance(record, Step) else ""
        return f"{self.when} {kind}{told}{key}"


@dataclass(slots=True)
class TicketMessage:
    """A stored ticket; `q` is its place in its stream, `delivered` how often it was handed out."""

    run: str
    task: str
    seq: int
    q: int
    kind: op.TicketKind
    created: bytes | None
    at: float
    delivered: int = 0


@dataclass(slots=True)
class _Timer:
    at: float
    run: str
    task: str
    created: bytes | None


class Memory:
    """What the broker would hold, and the operations of the protocol upon it.

    Attributes:
        now: the clock, in seconds since the epoch.
        tickets: those that nobody works on.
        mail: news and signals that were not delivered yet, with their runs.
        blobs: large values by name.
        buried: runs that have a dead letter.
        hazards: are asked at every moment whether the process dies there.
        moments: how many there have been.
        on_hint: is told that a run's owner should look at its journal.
        on_change: is told that there is something to do.
    """

    def __init__(self, now: float) -> None:
        self.now = now
        self.tickets: deque[TicketMessage] = deque()
        self.mail: deque[tuple[str, bytes | Signal]] = deque()
        self.blobs: dict[str, bytes] = {}
        self.buried: set[str] = set()
        self.hazards: list[Callable[[Moment], bool]] = []
        self.moments = 0
        self.on_hint: Callable[[str], None] = _ignore
        self.on_change: Callable[[], None] = _ignore
        self._journals: dict[str, list[tuple[int, bytes, float]]] = {}
        self._timers: dict[tuple[str, int], _Timer] = {}
        self._sent: set[str] = set()
        self._sequence: Counter[str] = Counter()
        self._handlers: dict[type, Callable[[Any], Any]] = {
            op.Append: self._append,
            op.Read: lambda operation: self.read(operation.run),
            op.ReadLeader: lambda operation: self.read(operation.run),
            op.SendTicket: self._send_ticket,
            op.Schedule: self._schedule,
            op.CancelTimer: lambda operation: self._timers.pop((operation.run, operation.seq), None),
            op.Bury: lambda operation: self.buried.add(operation.run),
            op.Exhume: lambda operation: self.buried.discard(operation.run),
            op.Tell: lambda operation: self.tell(operation.run, operation.item),
            op.CancelRuns: self._cancel_runs,
            op.JournalOpen: lambda operation: operation.run in self._journals,
            op.Hint: lambda operation: self.on_hint(operation.run),
            op.Clock: lambda _: self.now,
            op.Isolate: lambda _: None,
        }

    def runs(self) -> Iterator[str]:
        """Return the ids of all runs, in the order of their creation."""
        return iter(self._journals)

    def read(self, run: str) -> list[Entry]:
        """Return a run's journal as it is read back."""
        return [Entry(seq, decode(body), at) for seq, body, at in self._journals.get(run, ())]

    def ended(self, run: str) -> bool:
        """Say whether a run has ended."""
        journal = self._journals.get(run)
        return journal is not None and isinstance(decode(journal[-1][1]), End)

    def state(self, run: str) -> State:
        """Return what a run's journal stands for."""
        return fold(self.read(run))

    def perform(self, operation: op.Operation) -> Any:
        """Perform an operation and return its result.

        Raises:
            Crashed: a hazard was at hand.
        """
        if isinstance(operation, _EFFECTS):
            self._pass("before", operation)
        handler = self._handlers.get(type(operation))
        result = handler(operation) if handler is not None else None
        if isinstance(operation, op.Append) and result is not None:
            self._pass("after", operation)
        return result

    def run(self, procedure: op.Procedure[T]) -> T:
        """Drive a procedure that executes no user code to its end.

        Raises:
            Crashed: a hazard was at hand; the procedure is abandoned.
        """
        result: Any = None
        try:
            while True:
                result = self.perform(procedure.send(result))
        except StopIteration as stop:
            value: T = stop.value
            return value

    async def work(
        self, procedure: op.Procedure[None], execute: Callable[[Session], Awaitable[Conclusion]]
    ) -> bool:
        """Drive a procedure that may execute user code; say whether its message needs no redelivery.

        Raises:
            Crashed: a hazard was at hand; the procedure is abandoned.
        """
        result: Any = None
        given_back = False
        try:
            while True:
                operation = procedure.send(result)
                if isinstance(operation, op.Execute):
                    result = await execute(operation.session)
                else:
                    result = self.perform(operation)
                    given_back = given_back or isinstance(operation, op.GiveBack)
        except StopIteration:
            return not given_back

    def tell(self, run: str, item: Item) -> None:
        """Send an item to a run's mailbox, once."""
        if item.id not in self._sent:
            self._sent.add(item.id)
            self._post(run, write_item(item))

    def cancel(self, run: str, reason: str, parent: str = "") -> None:
        """Ask for a run's end."""
        self._post(run, Signal(f"signal-{self._next('signals')}", run, "cancel", reason, parent))

    def retry(self, run: str, reason: str) -> None:
        """Ask for a parked or failed run to go on."""
        self._post(run, Signal(f"signal-{self._next('signals')}", run, "retry", reason))

    def take_items(self, run: str) -> list[Item]:
        """Take all items that are at hand for a run out of the mail."""
        of_run = [letter for letter in self.mail if letter[0] == run and isinstance(letter[1], bytes)]
        for letter in of_run:
            self.mail.remove(letter)
        return [_item(body) for _, body in of_run if isinstance(body, bytes)]

    def put_back(self, run: str, items: list[Item]) -> None:
        """Put items back that were not delivered."""
        self.mail.extendleft((run, write_item(item)) for item in reversed(items))

    def next_timer(self) -> float | None:
        """Return the moment of the next timer, None where there is none."""
        return min((timer.at for timer in self._timers.values()), default=None)

    def fire(self) -> None:
        """Publish the tickets of the timers whose moment has come."""
        due = sorted((timer.at, key) for key, timer in self._timers.items() if timer.at <= self.now)
        for _, key in due:
            timer = self._timers.pop(key)
            self._store_ticket(timer.run, timer.task, key[1], "timer", timer.created)

    def put_blob(self, run: str, data: bytes) -> str:
        """Store a large value and return its name."""
        name = f"{run}/{len(self.blobs)}"
        self.blobs[name] = data
        return name

    def _pass(self, when: Literal["before", "after"], operation: op.Operation) -> None:
        moment = Moment(self.moments, when, operation)
        self.moments += 1
        if any(hazard(moment) for hazard in self.hazards):
            raise Crashed(str(moment))

    def _next(self, stream: str) -> int:
        self._sequence[stream] += 1
        return self._sequence[stream]

    def _post(self, run: str, letter: bytes | Signal) -> None:
        self.mail.append((run, letter))
        self.on_change()

    def _append(self, operation: op.Append) -> int | None:
        journal = self._journals.setdefault(operation.run, [])
        tail = journal[-1][0] if journal else 0
        if operation.expect != tail:
            return None
        seq = self._next("journal")
        journal.append((seq, encode(operation.record), self.now))
        return seq

    def _send_ticket(self, operation: op.SendTicket) -> None:
        if operation.cancels_timer:
            self._timers.pop((operation.run, operation.seq), None)
        name = f"{operation.run}:{operation.seq}"
        if operation.once and name in self._sent:
            return
        if operation.once:
            self._sent.add(name)
        created = _encoded(operation.created)
        self._store_ticket(operation.run, operation.task, operation.seq, operation.kind, created)

    def _store_ticket(
        self, run: str, task: str, seq: int, kind: op.TicketKind, created: bytes | None
    ) -> None:
        q = self._next("tickets")
        self.tickets.append(TicketMessage(run, task, seq, q, "start" if created else kind, created, self.now))
        self.on_change()

    def _schedule(self, operation: op.Schedule) -> None:
        created = _encoded(operation.created)
        self._timers[operation.run, operation.seq] = _Timer(
            operation.at, operation.run, operation.task, created
        )

    def _cancel_runs(self, operation: op.CancelRuns) -> None:
        for run in operation.runs:
            self.cancel(run, operation.reason, operation.parent)


def _encoded(record: Record | None) -> bytes | None:
    return None if record is None else encode(record)


def _item(body: bytes) -> Item:
    news = read_item(body)
    if news is None:
        raise AssertionError("what was written as an item is read as one")
    return news[0]


def _ignore(*_: object) -> None:
    """Do nothing about it."""
