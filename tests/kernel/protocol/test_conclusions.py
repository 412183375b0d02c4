from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kernel.protocol.script import CLAIM, CREATED, FAILED, SUSPEND, TASK, folded
from tidemill.kernel.protocol.conclusions import (
    Cancelled,
    Completed,
    Conclusion,
    Failed,
    Interrupted,
    Lost,
    Parked,
    Policy,
    Waiting,
    decide,
)
from tidemill.kernel.protocol.records import (
    Cancel,
    Created,
    End,
    Fault,
    Item,
    News,
    Parent,
    Record,
    Released,
    Reopened,
    Step,
    Suspend,
    Wait,
)

FAULT = Fault("ValueError", "no")
POLICY = Policy(max_attempts=3, factor=2, min_delay=10, max_delay=30, jitter=False)
NAP = Wait(key="nap", kind="sleep", until=1060.0)
GO = Wait(key="go", kind="signal", box="go")
LATE = Wait(key="late", kind="sleep", until=2000.0)
QUICK = Policy(max_attempts=3, min_delay=10, jitter=False, max_duration=30)
CANCEL = Cancel(rid="s1", reason="asked")


def decided(
    conclusion: Conclusion, *, cancelled: bool = False, failures: int = 0, policy: Policy = POLICY
) -> End | Suspend | Released:
    failed = replace(SUSPEND, fault=FAULT)
    records: list[Record] = [CREATED, *(CLAIM, failed) * failures, CLAIM]
    state = folded(*records, *(CANCEL,) * cancelled)
    return decide(state, conclusion, policy, now=1000.0, rid="r")


@pytest.mark.parametrize(
    ("conclusion", "cancelled", "outcome"),
    [
        (Completed(result=7), False, "completed"),
        (Completed(result=7), True, "completed"),
        (Failed(FAULT, final=True), False, "failed"),
        (Failed(FAULT, final=True), True, "cancelled"),
        (Failed(FAULT), True, "cancelled"),
        (Failed(FAULT, "timed_out", final=True), False, "timed_out"),
        (Failed(FAULT, "crashed", final=True), False, "crashed"),
        (Failed(FAULT, "expired", final=True), False, "expired"),
        (Cancelled("asked"), True, "cancelled"),
        (Waiting((NAP,)), True, "cancelled"),
        (Parked(FAULT), True, "cancelled"),
    ],
)
def test_how_a_run_ends(conclusion: Conclusion, *, cancelled: bool, outcome: str) -> None:
    record = decided(conclusion, cancelled=cancelled)
    assert isinstance(record, End)
    assert record.outcome == outcome
    assert record.lasting == (outcome not in ("completed", "cancelled"))


@pytest.mark.parametrize(("failures", "until"), [(0, 1010.0), (1, 1020.0)])
def test_a_failed_attempt_is_repeated_later(failures: int, until: float) -> None:
    record = decided(Failed(FAULT), failures=failures)
    assert record == Suspend(rid="r", q=CLAIM.q, wait="retry", until=until, fault=FAULT)


def test_the_last_attempt_is_the_last() -> None:
    record = decided(Failed(FAULT), failures=2)
    assert isinstance(record, End)
    assert (record.outcome, record.fault) == ("failed", FAULT)


@given(
    failures=st.integers(0, 40),
    roll=st.floats(0, 1),
    factor=st.floats(1, 10),
    min_delay=st.floats(0, 100),
    max_delay=st.floats(0, 1000),
)
def test_a_retry_is_never_late_and_never_much_too_early(
    failures: int, roll: float, factor: float, min_delay: float, max_delay: float
) -> None:
    policy = Policy(50, factor, min_delay, max_delay, jitter=True)
    record = decided(Failed(FAULT, roll=roll), failures=failures, policy=policy)
    assert isinstance(record, Suspend)
    assert record.until is not None
    bare = min(max_delay, min_delay * factor**failures)
    assert 1000.0 + bare / 2 - 1e-6 <= record.until <= 1000.0 + bare + 1e-6


def test_the_handlers_own_delay_replaces_the_policys() -> None:
    record = decided(Failed(FAULT, delay=500.0))
    assert isinstance(record, Suspend)
    assert record.until == 1500.0


@pytest.mark.parametrize("cancelled", [False, True])
def test_an_interrupted_run_is_given_back_unharmed(*, cancelled: bool) -> None:
    assert decided(Interrupted(), cancelled=cancelled) == Released(rid="r")


def test_an_end_repeats_what_its_closer_needs() -> None:
    created = Created(rid="c", task=TASK, event_seq=12, key="k")
    record = decide(folded(created, CLAIM), Completed(blob="b"), POLICY, now=0.0, rid="r")
    assert record == End(
        rid="r",
        outcome="completed",
        blob="b",
        task=TASK,
        event_seq=12,
        keyed=True,
        blobs=True,
        records=(1, 2),
    )


def test_the_closer_looks_for_the_dead_letters_of_a_run_that_was_reopened() -> None:
    state = folded(CREATED, CLAIM, FAILED, Reopened(rid="s1"), CLAIM)
    record = decide(state, Completed(), POLICY, now=0.0, rid="r")
    assert isinstance(record, End)
    assert record.lasting


def test_who_has_lost_decides_nothing() -> None:
    with pytest.raises(AssertionError, match="lost"):
        decided(Lost())


@pytest.mark.parametrize(
    ("waits", "until"), [((NAP,), 1060.0), ((LATE, GO, NAP), 1060.0), ((GO,), None)], ids=str
)
def test_a_run_waits_until_the_first_of_its_waits_is_over(
    waits: tuple[Wait, ...], until: float | None
) -> None:
    expected = Suspend(rid="r", q=CLAIM.q, wait="news", until=until, waits=waits)
    assert decided(Waiting(waits)) == expected


@pytest.mark.parametrize("conclusion", [Waiting((NAP,)), Waiting((GO,)), Failed(FAULT, delay=90.0)], ids=str)
def test_no_wait_is_longer_than_the_runs_whole_time(conclusion: Conclusion) -> None:
    record = decide(folded(CREATED, CLAIM, at=1000.0), conclusion, QUICK, now=1000.0, rid="r")
    assert isinstance(record, Suspend)
    assert record.until == 1030.0


def test_a_parked_run_waits_for_no_time() -> None:
    record = decide(folded(CREATED, CLAIM, at=1000.0), Parked(FAULT), QUICK, now=1000.0, rid="r")
    assert record == Suspend(rid="r", q=CLAIM.q, wait="parked", fault=FAULT)


@pytest.mark.parametrize(
    "left",
    [Step(rid="w1.1", key="a", blob="b"), News(rid="n", items=(Item(id="i", box="x", who="i", blob="b"),))],
    ids=["a step", "news"],
)
def test_the_closer_hears_of_blobs_that_a_run_was_left(left: Record) -> None:
    record = decide(folded(CREATED, CLAIM, left), Completed(), POLICY, now=0.0, rid="r")
    assert isinstance(record, End)
    assert record.blobs


def test_a_childs_end_names_its_parent() -> None:
    created = Created(rid="c", task=TASK, parent=Parent(run="run_0", box="all"))
    record = decide(folded(created, CLAIM), Completed(), POLICY, now=0.0, rid="r")
    assert isinstance(record, End)
    assert record.parent == "run_0"
