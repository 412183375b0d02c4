from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.kernel.protocol.script import CLAIM, COMPLETED, CREATED, RUN, TASK, folded, play
from tidemill.kernel.protocol.effects import end_effects, suspend_effects, unfinished_children
from tidemill.kernel.protocol.obituary import TOLD_LIMIT, obituary
from tidemill.kernel.protocol.operations import CancelRuns, CancelTimer, Schedule, SendTicket, Tell
from tidemill.kernel.protocol.records import (
    Cancel,
    End,
    Fault,
    Item,
    News,
    Parent,
    Record,
    Spawned,
    Suspend,
    Wait,
)
from tidemill.kernel.subjects import child_index, run_of_child

PARENT = Parent(run="run_0", box="all", index=2)
CHILD = replace(CREATED, parent=PARENT)
EITHER = Suspend(
    rid="w1.1",
    q=5,
    wait="news",
    until=60.0,
    waits=(Wait(key="nap", kind="sleep", until=60.0), Wait(key="go", kind="signal", box="go")),
)
GO = News(rid="n1", items=(Item(id="i1", box="go", who="i1"),))
SPAWNED = Spawned(rid="w1.1", key="all", task="t", count=3)
HEARD = News(rid="n1", items=(Item(id="end-1", box="all", who="1"),))
CANCELLED = End(rid="s1", outcome="cancelled", reason="asked", task=TASK)
FAULT = Fault("ValueError", "no", "Traceback: secret", attempt=3)


def children(*numbers: int, key: str = "all") -> tuple[str, ...]:
    return tuple(run_of_child(RUN, child_index(key, number)) for number in numbers)


@pytest.mark.parametrize(
    ("records", "operations"),
    [
        pytest.param((EITHER,), (Schedule(RUN, TASK, 3, 60.0),), id="its timer wakes it"),
        pytest.param((replace(EITHER, until=None),), (), id="the mailman wakes it"),
        pytest.param(
            (EITHER, GO),
            (SendTicket(RUN, TASK, 3, "signal", once=True, cancels_timer=True),),
            id="news are there: at once, and should its timer stand, without it",
        ),
        pytest.param(
            (replace(EITHER, until=None), GO),
            (SendTicket(RUN, TASK, 3, "signal", once=True),),
            id="news are there, and it has no timer",
        ),
        pytest.param((replace(EITHER, wait="parked", until=None, waits=()),), (), id="a person wakes it"),
        pytest.param((EITHER, replace(CLAIM, rid="w2")), (), id="it has gone on since"),
    ],
)
def test_what_a_suspension_calls_for(records: tuple[Record, ...], operations: tuple[Any, ...]) -> None:
    play(suspend_effects(RUN, folded(CREATED, CLAIM, *records)), *((one, None) for one in operations))


def test_early_news_are_seen_by_who_suspends_behind_them() -> None:
    state = folded(CREATED, CLAIM, GO, EITHER)
    ticket = SendTicket(RUN, TASK, 4, "signal", once=True, cancels_timer=True)
    play(suspend_effects(RUN, state), (ticket, None))


def test_a_childs_end_is_told_to_its_parent() -> None:
    told = Item(id=f"end-{RUN}", box="all", who="2", data=7)
    play(end_effects(RUN, folded(CHILD, CLAIM, replace(COMPLETED, result=7))), (Tell("run_0", told), None))


def test_a_run_whose_parent_doesnt_listen_tells_nothing() -> None:
    play(end_effects(RUN, folded(replace(CREATED, parent=Parent(run="run_0", box="")), CLAIM, COMPLETED)))


@pytest.mark.parametrize(
    ("end", "data", "read_from"),
    [
        pytest.param(replace(COMPLETED, result=[1]), [1], None, id="small"),
        pytest.param(replace(COMPLETED, result="x" * TOLD_LIMIT), None, RUN, id="large"),
        pytest.param(replace(COMPLETED, blob="b"), None, RUN, id="in a blob"),
    ],
)
def test_a_large_result_stays_where_it_is(end: End, data: Any, read_from: str | None) -> None:
    item = obituary(RUN, PARENT, end)
    assert (item.ok, item.data, item.run, item.fault) == (True, data, read_from, None)


@pytest.mark.parametrize(
    ("end", "told"),
    [
        (End(rid="e", outcome="failed", fault=FAULT), Fault("ValueError", "no")),
        (CANCELLED, Fault("cancelled", "asked")),
    ],
)
def test_a_failure_is_told_without_its_traceback(end: End, told: Fault) -> None:
    item = obituary(RUN, PARENT, end)
    assert (item.ok, item.run, item.fault) == (False, RUN, told)


def test_a_cancelled_runs_children_end_with_it() -> None:
    detached = Spawned(rid="w1.2", key="free", task="t", detached=True)
    records = (CREATED, CLAIM, SPAWNED, detached, HEARD, Cancel(rid="s0"), replace(CANCELLED, rid="w1.3"))
    reason = f"its parent {RUN} was cancelled"
    play(end_effects(RUN, folded(*records)), (CancelRuns(children(0, 2), reason, RUN), None))


@pytest.mark.parametrize("outcome", ["completed", "failed"])
def test_only_a_cancellation_is_handed_down(outcome: Any) -> None:
    operations = list(end_effects(RUN, folded(CREATED, CLAIM, SPAWNED, End(rid="e", outcome=outcome))))
    assert not any(isinstance(operation, CancelRuns) for operation in operations)


def test_the_unfinished_are_those_whose_end_wasnt_heard() -> None:
    assert unfinished_children(RUN, folded(CREATED, CLAIM, SPAWNED)) == children(0, 1, 2)
    assert unfinished_children(RUN, folded(CREATED, CLAIM, SPAWNED, HEARD)) == children(0, 2)
    assert unfinished_children(RUN, folded(CREATED, CLAIM)) == ()


def test_a_timer_that_may_stand_goes_with_the_end() -> None:
    state = folded(CREATED, CLAIM, EITHER, CANCELLED)
    play(end_effects(RUN, state), (CancelTimer(RUN, TASK, 3), None))
