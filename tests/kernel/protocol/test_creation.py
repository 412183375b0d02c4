from __future__ import annotations

from dataclasses import replace

from tests.kernel.protocol.script import CLAIM, COMPLETED, CREATED, RUN, SUSPEND, TASK, journal, play
from tidemill.kernel.protocol.creation import create, create_child
from tidemill.kernel.protocol.obituary import obituary
from tidemill.kernel.protocol.operations import Append, ReadLeader, Schedule, SendTicket
from tidemill.kernel.protocol.records import End, Parent
from tidemill.kernel.protocol.state import Phase

APPEND = Append(RUN, CREATED, 0)
FIRST_TICKET = SendTicket(RUN, TASK, 7, "start", CREATED, once=True)


def test_first_the_record_then_the_ticket_that_carries_it() -> None:
    state = play(create(RUN, CREATED), (APPEND, 7), (FIRST_TICKET, None))
    assert (state.phase, state.created) == (Phase.READY, CREATED)


def test_a_run_that_nobody_has_begun_gets_its_ticket_again() -> None:
    other = replace(CREATED, rid="somebody-else")
    first = SendTicket(RUN, TASK, 1, "start", other, once=True)
    state = play(create(RUN, CREATED), (APPEND, None), (ReadLeader(RUN), journal(other)), (first, None))
    assert state.created == other


def test_a_run_that_goes_on_is_left_alone() -> None:
    for records in ((CREATED, CLAIM), (CREATED, CLAIM, SUSPEND), (CREATED, CLAIM, COMPLETED)):
        play(create(RUN, CREATED), (APPEND, None), (ReadLeader(RUN), journal(*records)))


def test_a_run_that_was_closed_stays_closed() -> None:
    entries = journal(CREATED, CLAIM, COMPLETED, None)
    state = play(create(RUN, CREATED), (APPEND, None), (ReadLeader(RUN), entries))
    assert state.phase is Phase.CLOSED


def test_a_tombstone_that_expires_meanwhile_is_no_answer() -> None:
    play(
        create(RUN, CREATED),
        (APPEND, None),
        (ReadLeader(RUN), journal()),
        (APPEND, 7),
        (FIRST_TICKET, None),
    )


def test_a_delayed_run_gets_a_timer_in_place_of_a_ticket() -> None:
    later = replace(CREATED, start_at=90.0)
    play(create(RUN, later), (Append(RUN, later, 0), 7), (Schedule(RUN, TASK, 7, 90.0, later), None))


PARENT = Parent(run="run_0", box="all", index=2)
CHILD = replace(CREATED, parent=PARENT)


def test_a_child_that_is_created_has_no_news() -> None:
    ticket = SendTicket(RUN, TASK, 1, "start", CHILD, once=True)
    assert play(create_child(RUN, CHILD), (Append(RUN, CHILD, 0), 1), (ticket, None)) is None


def test_a_child_that_runs_has_no_news_yet() -> None:
    exchanges = (Append, None), (ReadLeader(RUN), journal(CHILD, CLAIM))
    assert play(create_child(RUN, CHILD), *exchanges) is None


def test_a_child_whose_end_its_parent_missed_tells_it_now() -> None:
    exchanges = (Append, None), (ReadLeader(RUN), journal(CHILD, CLAIM, COMPLETED))
    item = play(create_child(RUN, CHILD), *exchanges)
    assert item == obituary(RUN, PARENT, COMPLETED)


def test_a_child_that_was_cancelled_before_it_was_created_stays_dead() -> None:
    stillborn = End(rid="s1", outcome="cancelled")
    exchanges = (Append, None), (ReadLeader(RUN), journal(stillborn))
    assert play(create_child(RUN, CHILD), *exchanges) is None
