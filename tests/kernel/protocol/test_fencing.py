"""Two owners, a mailman and a sweeper at one journal, in any order: only the newest claim commits."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

from tests.kernel.protocol.script import CREATED, RUN, TASK
from tidemill.kernel.protocol.attempt import Commit, Session, admit, refresh, remember, settle
from tidemill.kernel.protocol.conclusions import Completed, Lost, Policy
from tidemill.kernel.protocol.mailman import Signal, bring, deliver
from tidemill.kernel.protocol.operations import Append, Procedure, Read, ReadLeader
from tidemill.kernel.protocol.records import Claim, End, Entry, Item, Record, Step, Suspend
from tidemill.kernel.protocol.state import Phase, fold
from tidemill.kernel.protocol.sweeper import sweep
from tidemill.kernel.protocol.tickets import Ticket

POLICY = Policy(max_crashes=9)
KEYS = "abc"
ACTORS = ("first", "second", "first", "second", "mailman", "canceller", "sweeper")
TURNS = st.lists(
    st.tuples(st.sampled_from(ACTORS), st.lists(st.booleans(), min_size=1, max_size=5)),
    min_size=5,
    max_size=20,
)
"""Who goes on, and with how much luck at each of its operations."""


@dataclass
class Journal:
    """One run's journal, and what a broker makes of operations that concern it."""

    entries: list[Entry] = field(default_factory=lambda: [Entry(1, CREATED)])

    def perform(self, operation: Any, *, lucky: bool) -> Any:
        """Return an operation's result; without luck an append's answer is lost and a read is stale."""
        match operation:
            case ReadLeader():
                return list(self.entries)
            case Read():
                return self.entries[: len(self.entries) - (not lucky)]
            case Append(record=record, expect=expect) if expect == self.entries[-1].seq:
                self.entries.append(Entry(expect + 1, record))
                return expect + 1 if lucky else None
            case _:
                return None


def owner(delivered: int) -> Procedure[None]:
    """A worker to which the ticket was delivered; user code is three steps."""
    ticket = Ticket(RUN, TASK, 1, q=5, delivered=delivered, delivery=f"w{delivered}")
    session = yield from admit(ticket, POLICY, "w")
    if session is not None:
        done = yield from handler(session)
        yield from settle(session, Completed() if done else Lost())


def handler(session: Session) -> Procedure[bool]:
    for key in KEYS:
        if key == "c" and not (yield from refresh(session)):
            return False
        if key not in session.state.steps:
            step = Step(rid=session.next_rid(), key=key)
            if (yield from remember(session, step)) is Commit.LOST:
                return False
    return True


def news() -> Procedure[Any]:
    return bring(RUN, (Item(id="i1", box="go", who="i1"),))


def cancellation() -> Procedure[Any]:
    return deliver(Signal("s1", RUN, "cancel"))


def sweeping() -> Procedure[Any]:
    return sweep(RUN, patience=0.0, now=1.0, rid="sweep")


@given(TURNS)
@settings(max_examples=500)
def test_only_the_newest_claim_commits(turns: list[tuple[str, list[bool]]]) -> None:
    journal = Journal()
    actors = {
        "first": begin(owner(1)),
        "second": begin(owner(2)),
        "mailman": begin(news()),
        "canceller": begin(cancellation()),
        "sweeper": begin(sweeping()),
    }
    for name, luck in turns:
        for lucky in luck:
            actors[name] = move(journal, *actors[name], lucky=lucky)
    check([entry.record for entry in journal.entries if entry.record is not None])


Place = tuple[Generator[Any, Any, Any], Any]
"""A procedure, and the operation that it has asked for; None where it is over."""


def begin(procedure: Procedure[Any]) -> Place:
    return procedure, next(procedure)


def move(journal: Journal, procedure: Generator[Any, Any, Any], operation: Any, *, lucky: bool) -> Place:
    """Perform what a procedure has asked for."""
    if operation is None:
        return procedure, None
    try:
        return procedure, procedure.send(journal.perform(operation, lucky=lucky))
    except StopIteration:
        return procedure, None


def check(records: list[Record]) -> None:
    """Hold each record against the journal before it."""
    for index, record in enumerate(records):
        before = fold(Entry(seq, one) for seq, one in enumerate(records[:index], 1))
        # A claim whose answer was lost may have lost the run to a sweeper by then, and is written once more.
        assert record.rid not in before.rids or isinstance(record, Claim)
        assert before.phase is not Phase.ENDED, "something stands behind the end"
        if isinstance(record, Step):
            assert record.key not in before.steps
        if isinstance(record, Step | Suspend) or (isinstance(record, End) and record.rid != "s1"):
            assert before.phase is Phase.OWNED
            assert before.owner is not None
            assert record.rid.startswith(f"{before.owner.rid}."), "an older claim has committed"
    claims = sum(isinstance(record, Claim) for record in records)
    event(f"{claims} claims, {'ended' if isinstance(records[-1], End) else 'going on'}")
