from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kernel.protocol.script import CLAIM, COMPLETED, CREATED, FAILED, SUSPEND, folded, journal
from tests.kernel.protocol.strategies import RECORDS
from tidemill.kernel.protocol.inheritance import parts_of
from tidemill.kernel.protocol.records import (
    Cancel,
    Claim,
    Created,
    End,
    Fault,
    Item,
    News,
    Orphaned,
    Record,
    Released,
    Reopened,
    Spawned,
    Step,
    StepOutcome,
    Suspend,
    Wait,
)
from tidemill.kernel.protocol.state import Phase, State, Status, fold

AGAIN = Claim(rid="w2", q=5, n=2, worker="w")
REOPENED = Reopened(rid="s1")
LATER = Created(rid="c", task="deploy", start_at=9.0)
FAULT = Fault("ValueError", "no")

GO = Item(id="i1", box="go", who="i1")
STEP = Step(rid="w1.1", key="fetch", result=7)
NEWS = News(rid="n1", items=(GO,))
NAP = Wait(key="nap", kind="sleep", until=60.0)
LATE = Wait(key="late", kind="sleep", until=90.0)
WAITING = Suspend(rid="w1.2", q=5, wait="news", until=60.0, waits=(NAP, LATE))
PARKED = Suspend(rid="w1.2", q=5, wait="parked", fault=FAULT)
TIMER = Claim(rid="w3", q=9, n=1, worker="w", timer=True)
CHILDREN = Spawned(rid="w1.1", key="all", task="t", count=3)
JOIN = Suspend(rid="w1.2", q=5, wait="news", waits=(Wait(key="all", kind="children", box="all"),))


@given(st.lists(RECORDS | st.none(), max_size=8))
def test_applying_one_by_one_is_folding(records: list[Record | None]) -> None:
    state = State()
    for seq, record in enumerate(records, 1):
        state.apply(seq, record, 1.0)
    assert state == fold(journal(*records, at=1.0))


@given(st.lists(RECORDS, min_size=1, max_size=8))
def test_a_state_knows_its_tail_and_all_its_records(records: list[Record]) -> None:
    state = folded(*records)
    assert state.tail == len(records)
    heard = [part for part in parts_of(state.entries) if isinstance(part, News)]
    items = {item.id for news in heard for item in news.items}
    assert state.rids == {record.rid for record in records} | items


@given(st.lists(RECORDS, max_size=8))
def test_behind_a_tombstone_nothing_is_left_to_do(records: list[Record]) -> None:
    state = folded(*records, None)
    assert state.phase is Phase.CLOSED
    assert state.status is None


@pytest.mark.parametrize(
    ("records", "phase", "status", "epoch"),
    [
        ((), Phase.ABSENT, None, 0),
        ((CREATED,), Phase.READY, Status.QUEUED, 1),
        ((LATER,), Phase.READY, Status.DELAYED, 1),
        ((CREATED, CLAIM), Phase.OWNED, Status.RUNNING, 1),
        ((CREATED, CLAIM, Cancel(rid="s")), Phase.OWNED, Status.RUNNING, 1),
        ((CREATED, CLAIM, Released(rid="w1.1")), Phase.OWNED, Status.RUNNING, 1),
        ((CREATED, CLAIM, Orphaned(rid="sweep")), Phase.READY, Status.QUEUED, 1),
        ((CREATED, CLAIM, SUSPEND), Phase.SUSPENDED, Status.DELAYED, 3),
        ((CREATED, CLAIM, WAITING), Phase.SUSPENDED, Status.WAITING, 3),
        ((CREATED, CLAIM, PARKED), Phase.SUSPENDED, Status.PARKED, 3),
        ((CREATED, CLAIM, PARKED, REOPENED), Phase.READY, Status.QUEUED, 4),
        ((CREATED, CLAIM, STEP, NEWS), Phase.OWNED, Status.RUNNING, 1),
        ((CREATED, CLAIM, WAITING, NEWS), Phase.SUSPENDED, Status.WAITING, 3),
        ((CREATED, CLAIM, SUSPEND, CLAIM), Phase.OWNED, Status.RUNNING, 3),
        ((CREATED, CLAIM, COMPLETED), Phase.ENDED, Status.COMPLETED, 1),
        ((CREATED, End(rid="s", outcome="cancelled")), Phase.ENDED, Status.CANCELLED, 1),
        ((CREATED, CLAIM, FAILED), Phase.ENDED, Status.FAILED, 1),
        ((CREATED, CLAIM, FAILED, REOPENED), Phase.READY, Status.QUEUED, 4),
    ],
)
def test_phase_status_and_epoch(
    records: tuple[Record, ...], phase: Phase, status: Status | None, epoch: int
) -> None:
    state = folded(*records)
    assert (state.phase, state.status, state.epoch) == (phase, status, epoch)


@pytest.mark.parametrize(
    ("records", "claims"),
    [
        ((CREATED, CLAIM), 1),
        ((CREATED, CLAIM, AGAIN), 2),
        ((CREATED, CLAIM, Released(rid="w1.1"), AGAIN), 1),
        ((CREATED, CLAIM, AGAIN, STEP), 1),
        ((CREATED, CLAIM, AGAIN, NEWS), 2),
        ((CREATED, CLAIM, AGAIN, STEP, Released(rid="w2.2")), 0),
        ((CREATED, CLAIM, AGAIN, SUSPEND), 0),
        ((CREATED, CLAIM, AGAIN, FAILED, REOPENED), 0),
    ],
)
def test_crashes_are_counted_from_claims_without_progress(records: tuple[Record, ...], claims: int) -> None:
    assert folded(*records).claims == claims


def test_a_failed_attempt_is_remembered_across_a_reopening_and_counted_within_it() -> None:
    failed = Suspend(rid="w1.1", q=5, wait="retry", until=1.0, fault=FAULT)
    end = End(rid="w2.1", outcome="failed", fault=FAULT)
    before = folded(CREATED, CLAIM, failed, AGAIN)
    assert (before.attempt, before.faults) == (2, [FAULT])
    after = folded(CREATED, CLAIM, failed, AGAIN, end, REOPENED)
    assert (after.attempt, after.faults) == (1, [FAULT, FAULT])


def test_a_reopened_run_knows_which_end_it_followed() -> None:
    state = folded(CREATED, CLAIM, FAILED, REOPENED)
    assert state.end is None
    assert state.end_seq == 3
    assert state.reopenings == {"s1": 3}


def test_the_first_claim_tells_when_the_run_began() -> None:
    state = State()
    state.apply(1, CREATED, 10.0)
    state.apply(2, CLAIM, 20.0)
    state.apply(3, AGAIN, 30.0)
    assert (state.began_at, state.started_at, state.changed_at) == (10.0, 20.0, 30.0)


@pytest.mark.parametrize(
    ("since", "left"),
    [
        ((), {"a": "done", "b": "failed", "c": "timed_out"}),
        ((SUSPEND,), {"a": "done", "c": "timed_out"}),
        ((WAITING,), {"a": "done", "b": "failed", "c": "timed_out"}),
        ((FAILED, REOPENED), {"a": "done", "c": "timed_out"}),
    ],
)
def test_what_has_failed_is_forgotten_with_its_attempt(
    since: tuple[Record, ...], left: dict[str, StepOutcome]
) -> None:
    outcomes: list[StepOutcome] = ["done", "failed", "timed_out"]
    steps = [Step(rid=f"w1.{key}", key=key, outcome=one) for key, one in zip("abc", outcomes, strict=True)]
    state = folded(CREATED, CLAIM, *steps, *since)
    assert {key: step.outcome for key, step in state.steps.items()} == left


def test_a_step_that_is_tried_again_isnt_finished() -> None:
    again = Step(rid="w1.1", key="fetch", outcome="again", until=9.0)
    state = folded(CREATED, CLAIM, again)
    assert (state.steps, state.tries) == ({}, {"fetch": [again]})
    assert folded(CREATED, CLAIM, again, SUSPEND).tries == {}


def test_a_box_keeps_the_first_item_of_each() -> None:
    second = Item(id="i2", box="go", who="i1", ok=False)
    other = Item(id="i3", box="on", who="i1")
    state = folded(CREATED, NEWS, News(rid="n2", items=(second, other)))
    assert state.boxes == {"go": {"i1": GO}, "on": {"i1": other}}
    assert {"i1", "i2", "i3"} <= state.rids


@pytest.mark.parametrize(
    ("need", "spare", "oks", "decided"),
    [
        (1, None, "", False),
        (1, None, "n", True),
        (2, None, "yn", True),
        (2, 0, "y", False),
        (2, 0, "yn", True),
        (2, 0, "yy", True),
        (2, 1, "yn", False),
        (2, 1, "nyn", True),
        (2, 1, "nyy", True),
    ],
)
def test_when_a_mailbox_decides(need: int, spare: int | None, oks: str, *, decided: bool) -> None:
    items = tuple(Item(id=f"i{n}", box="b", who=str(n), ok=ok == "y") for n, ok in enumerate(oks))
    state = folded(CREATED, News(rid="n", items=items))
    assert state.decided(Wait(key="w", kind="k", box="b", need=need, spare=spare)) is decided


def test_a_wait_without_a_mailbox_is_decided_by_time_alone() -> None:
    assert not folded(CREATED, NEWS).decided(NAP)


def test_any_decided_wait_satisfies_a_suspension() -> None:
    either = replace(WAITING, waits=(NAP, Wait(key="go", kind="signal", box="go")))
    assert not folded(CREATED, CLAIM, either).satisfied
    assert folded(CREATED, CLAIM, either, NEWS).satisfied
    assert folded(CREATED, NEWS, CLAIM, either).satisfied


def test_a_timer_tells_what_time_is_over_whatever_a_clock_says() -> None:
    state = folded(CREATED, CLAIM, WAITING, TIMER)
    assert (state.passed, state.elapsed, state.timer) == (60.0, {"nap"}, 0)
    woken = folded(CREATED, CLAIM, WAITING, replace(TIMER, timer=False))
    assert (woken.passed, woken.elapsed) == (0.0, set())


def test_a_wait_keeps_its_first_moment() -> None:
    later = replace(WAITING, rid="w3.1", waits=(replace(NAP, until=99.0),))
    assert folded(CREATED, CLAIM, WAITING, AGAIN, later).waits["nap"].until == 60.0


@pytest.mark.parametrize(
    ("records", "timer"),
    [
        ((CREATED,), 0),
        ((LATER,), 1),
        ((LATER, CLAIM), 0),
        ((CREATED, CLAIM, WAITING), 3),
        ((CREATED, CLAIM, WAITING, NEWS), 3),
        ((CREATED, CLAIM, WAITING, TIMER), 0),
        ((CREATED, CLAIM, PARKED), 0),
        ((CREATED, CLAIM, WAITING, End(rid="s", outcome="cancelled")), 3),
    ],
)
def test_which_record_has_a_timer(records: tuple[Record, ...], timer: int) -> None:
    assert folded(*records).timer == timer


@pytest.mark.parametrize(
    ("records", "created"),
    [
        ((CHILDREN,), {}),
        ((CHILDREN, JOIN), {"all": 3}),
        ((CHILDREN, replace(CHILDREN, rid="w1.9", count=5)), {"all": 3}),
        ((CHILDREN, JOIN, FAILED, REOPENED), {}),
    ],
)
def test_which_children_have_been_created(records: tuple[Record, ...], created: dict[str, int]) -> None:
    assert folded(CREATED, CLAIM, *records).children == created


def test_the_time_of_a_reopened_run_begins_anew() -> None:
    state = State()
    for seq, (record, at) in enumerate([(LATER, 1.0), (CLAIM, 9.5), (FAILED, 10.0)], 1):
        state.apply(seq, record, at)
    assert state.opened_at == 9.0
    state.apply(4, REOPENED, 50.0)
    assert (state.began_at, state.opened_at) == (1.0, 50.0)


def test_what_comes_behind_a_failed_step_is_loose_from_then_on() -> None:
    before = Step(rid="1", key="a")
    failed = Step(rid="2", key="b", after="a", outcome="failed")
    behind = (Step(rid="3", key="c", after="b"), Spawned(rid="4", key="d", task="t", after="c"))
    state = folded(CREATED, CLAIM, before, failed, *behind, SUSPEND, CLAIM)
    assert state.loose == {"c", "d"}
    assert set(state.steps) == {"a", "c"}
    state.apply(9, Step(rid="5", key="b", after="a"))
    state.apply(10, Step(rid="6", key="e", after="c"))
    assert state.loose == {"c", "d"}


@given(st.lists(RECORDS | st.none(), max_size=8), st.integers(0, 8), st.integers(0, 8))
def test_what_is_new_completes_what_is_known(records: list[Record | None], known: int, overlap: int) -> None:
    entries = journal(*records)
    state = fold(entries[:known])
    assert state.extend(entries[max(0, known - overlap) :]) is (len(entries) > known)
    assert state == fold(entries)
