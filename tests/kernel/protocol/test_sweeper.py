from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.kernel.protocol.script import (
    CLAIM,
    COMPLETED,
    CREATED,
    FAILED,
    RUN,
    SUSPEND,
    TASK,
    journal,
    play,
)
from tidemill.kernel.protocol.conclusions import EXPIRED
from tidemill.kernel.protocol.operations import (
    Append,
    Bury,
    Exhume,
    ReadLeader,
    Schedule,
    SendTicket,
    TicketOutstanding,
    TimerPending,
)
from tidemill.kernel.protocol.records import (
    End,
    Entry,
    Item,
    News,
    Orphaned,
    Record,
    Reopened,
    Suspend,
    Wait,
)
from tidemill.kernel.protocol.state import fold
from tidemill.kernel.protocol.sweeper import Sweep, sweep

LATER = replace(CREATED, start_at=5000.0)
TICKET = TicketOutstanding(RUN, TASK)
ORPHANED = Orphaned(rid="sweep")


WAITING = Suspend(rid="w1.1", q=5, wait="news", waits=(Wait(key="go", kind="signal", box="go"),))
GO = News(rid="n1", items=(Item(id="i1", box="go", who="i1"),))


def timer(seq: int) -> TimerPending:
    return TimerPending(RUN, TASK, seq)


def swept(records: tuple[Record | None, ...], *exchanges: Any, now: float = 1060.0) -> Sweep:
    procedure = sweep(RUN, patience=60.0, now=now, rid="sweep")
    result: Sweep = play(procedure, (ReadLeader(RUN), journal(*records, at=1000.0)), *exchanges)
    return result


@pytest.mark.parametrize(
    "records",
    [
        pytest.param((), id="no journal"),
        pytest.param((CREATED, CLAIM, COMPLETED), id="ended"),
        pytest.param((CREATED, CLAIM, COMPLETED, None), id="closed"),
        pytest.param((CREATED, CLAIM, WAITING), id="it waits for news, and there are none"),
        pytest.param((CREATED, CLAIM, replace(SUSPEND, wait="parked", until=None)), id="parked"),
    ],
)
def test_runs_that_nothing_need_carry(records: tuple[Record | None, ...]) -> None:
    assert swept(records) is Sweep.NOTHING


def test_a_run_that_has_just_changed_is_given_time() -> None:
    assert swept((CREATED,), now=1059.0) is Sweep.NOTHING


def test_a_run_with_a_timer_or_a_ticket_is_left_alone() -> None:
    assert swept((CREATED,), (timer(1), True)) is Sweep.NOTHING
    assert swept((CREATED,), (timer(1), False), (TICKET, True)) is Sweep.NOTHING


@pytest.mark.parametrize(
    ("records", "operations", "done"),
    [
        pytest.param((CREATED,), (SendTicket(RUN, TASK, 1, "signal"),), Sweep.TICKET, id="its caller died"),
        pytest.param((LATER,), (Schedule(RUN, TASK, 1, 5000.0, LATER),), Sweep.TIMER, id="the same, delayed"),
        pytest.param(
            (CREATED, CLAIM, SUSPEND), (Schedule(RUN, TASK, 3, 60.0),), Sweep.TIMER, id="its timer is gone"
        ),
        pytest.param(
            (CREATED, CLAIM, WAITING, GO),
            (SendTicket(RUN, TASK, 3, "signal"),),
            Sweep.TICKET,
            id="news are there, and nothing wakes it",
        ),
        pytest.param(
            (CREATED, CLAIM, FAILED, Reopened(rid="s")),
            (Exhume(RUN, TASK, 3), SendTicket(RUN, TASK, 4, "signal")),
            Sweep.TICKET,
            id="its mailman died",
        ),
    ],
)
def test_what_is_missing_is_given_again(
    records: tuple[Record, ...], operations: tuple[Any, ...], done: Sweep
) -> None:
    exchanges = [(operation, None) for operation in operations]
    assert swept(records, (timer(operations[-1].seq), False), (TICKET, False), *exchanges) is done


def test_an_owner_without_a_ticket_loses_the_run() -> None:
    ticket = SendTicket(RUN, TASK, 1, "signal")
    orphaning = (Append(RUN, ORPHANED, 2), 3)
    done = swept((CREATED, CLAIM), (timer(1), False), (TICKET, False), orphaning, (ticket, None))
    assert done is Sweep.TICKET


def test_an_owner_that_was_only_slow_keeps_it() -> None:
    refused = (Append(RUN, ORPHANED, 2), None)
    assert swept((CREATED, CLAIM), (timer(1), False), (TICKET, False), refused) is Sweep.NOTHING


SHORT = replace(CREATED, expires_at=1050.0)
LATE_END = End(rid="sweep", outcome="expired", fault=EXPIRED, task=TASK, lasting=True, records=(1,))


def test_a_run_that_nobody_has_begun_in_time_is_ended_behind_its_ticket() -> None:
    state = fold([Entry(1, SHORT, 1000.0), Entry(2, LATE_END)])
    letter = Bury(RUN, 2, state)
    found = swept((SHORT,), (TICKET, True), (Append(RUN, LATE_END, 1), 2), (letter, None), now=1051.0)
    assert found is Sweep.END
    ticket = SendTicket(RUN, TASK, 1, "start", SHORT, once=True)
    sent = ((TICKET, False), (ticket, None), (Append(RUN, LATE_END, 1), 2), (letter, None))
    assert swept((SHORT,), *sent, now=1051.0) is Sweep.END


def test_who_has_begun_it_meanwhile_decides() -> None:
    assert swept((SHORT,), (TICKET, True), (Append(RUN, LATE_END, 1), None), now=1051.0) is Sweep.NOTHING


@pytest.mark.parametrize(
    ("records", "now"),
    [
        ((SHORT,), 1049.0),
        ((SHORT, CLAIM), 1055.0),
        ((SHORT, CLAIM, SUSPEND), 1055.0),
        ((CREATED,), 1055.0),
    ],
    ids=["in time", "begun", "waiting", "no time to live"],
)
def test_a_time_to_live_is_for_runs_that_have_not_begun(records: tuple[Record, ...], now: float) -> None:
    assert swept(records, now=now) is Sweep.NOTHING
