from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kernel.protocol.script import CLAIM, COMPLETED, CREATED, FAILED, SUSPEND, folded, journal
from tests.kernel.protocol.strategies import RECORDS
from tidemill.kernel.protocol.records import (
    Cancel,
    Claim,
    Created,
    End,
    Fault,
    Orphaned,
    Record,
    Released,
    Reopened,
    Suspend,
)
from tidemill.kernel.protocol.state import Phase, State, Status, fold

AGAIN = Claim(rid="w2", q=5, n=2, worker="w")
REOPENED = Reopened(rid="s1")
LATER = Created(rid="c", task="deploy", start_at=9.0)
FAULT = Fault("ValueError", "no")


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
    assert state.rids == {record.rid for record in records}


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
