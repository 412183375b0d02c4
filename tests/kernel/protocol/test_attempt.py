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
    folded,
    journal,
    play,
)
from tidemill.kernel.protocol.attempt import Commit, Session, commit, execute, refresh, remember, work
from tidemill.kernel.protocol.conclusions import (
    Cancelled,
    Completed,
    Conclusion,
    Failed,
    Interrupted,
    Lost,
    Policy,
    Waiting,
)
from tidemill.kernel.protocol.operations import (
    Ack,
    Append,
    Bury,
    CancelTimer,
    Clock,
    Execute,
    GiveBack,
    Isolate,
    Read,
    ReadLeader,
    Schedule,
    SendTicket,
)
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
    Step,
    Suspend,
    Wait,
)
from tidemill.kernel.protocol.tickets import Ticket

POLICY = Policy(max_attempts=3, min_delay=10, jitter=False)
FAST = Ticket(RUN, TASK, 1, q=5, delivered=1, delivery="w1", created=CREATED)
BACK = replace(FAST, delivered=2, delivery="w2")
WOKEN = Ticket(RUN, TASK, 3, q=8, delivered=1, delivery="w3", kind="timer")
EXPIRING = replace(CREATED, expires_at=99.0)
FAULT = Fault("ValueError", "no")
CANCEL = Cancel(rid="s", reason="asked")
CANCELLED = End(rid="s", outcome="cancelled", task=TASK)
STEP = Step(rid="w1.1", key="fetch", result=7)
GO = News(rid="n1", items=(Item(id="i1", box="go", who="i1"),))
FOR_GO = Wait(key="go", kind="signal", box="go")
NAPPING = Suspend(rid="w1.1", q=5, wait="news", until=130.0, waits=(FOR_GO,))
TIMER = Claim(rid="w3", q=8, n=1, worker="w", timer=True)
POLICY_OF_30 = Policy(max_duration=30.0)
SECOND = Claim(rid="w2", q=5, n=2, worker="w")


def session(*records: Record, claim: Claim = CLAIM, policy: Policy = POLICY) -> Session:
    return Session(FAST, claim, folded(*records, at=100.0), policy)


def test_a_first_start_needs_no_read() -> None:
    play(
        work(FAST, POLICY, "w"),
        (Append(RUN, CLAIM, 1), 2),
        (Execute, Completed(result=7)),
        (Clock(), 0.0),
        (Append, 3),
        (Ack(), None),
    )


def test_a_failed_attempt_suspends_sets_the_timer_and_lets_go() -> None:
    play(
        work(FAST, POLICY, "w"),
        (Append(RUN, CLAIM, 1), 2),
        (Execute, Failed(FAULT)),
        (Clock(), 1000.0),
        (Append(RUN, replace(SUSPEND, until=1010.0, fault=FAULT), 2), 3),
        (Schedule(RUN, TASK, 3, 1010.0), None),
        (Ack(), None),
    )


def test_the_last_failure_is_buried_before_its_ticket_goes() -> None:
    play(
        work(FAST, POLICY, "w"),
        (Append(RUN, CLAIM, 1), 2),
        (Execute, Failed(FAULT, final=True)),
        (Clock(), 0.0),
        (Append, 3),
        (Bury, None),
        (Ack(), None),
    )


def test_an_interrupted_run_is_released_and_its_ticket_given_back() -> None:
    play(
        work(FAST, POLICY, "w"),
        (Append(RUN, CLAIM, 1), 2),
        (Execute, Interrupted()),
        (Clock(), 0.0),
        (Append, 3),
        (GiveBack(), None),
    )


def test_a_claim_whose_answer_was_lost_is_recognised() -> None:
    play(
        work(FAST, POLICY, "w"),
        (Append(RUN, CLAIM, 1), None),
        (ReadLeader(RUN), journal(CREATED, CLAIM)),
        (Execute, Lost()),
    )


def test_a_resumed_run_is_read_from_any_replica_and_claimed() -> None:
    claim = Claim(rid="w3", q=8, n=1, worker="w", timer=True)
    play(
        work(WOKEN, POLICY, "w"),
        (Read(RUN), journal(CREATED, CLAIM, SUSPEND)),
        (Append(RUN, claim, 3), 4),
        (Execute, Lost()),
    )


BROUGHT = replace(WOKEN, known=tuple(journal(CREATED, CLAIM, SUSPEND)))


def test_a_run_whose_ticket_brings_its_journal_needs_no_read() -> None:
    play(work(BROUGHT, POLICY, "w"), (Append(RUN, TIMER, 3), 4), (Execute, Lost()))


def test_a_journal_that_a_ticket_brings_may_be_an_old_one() -> None:
    now = journal(CREATED, CLAIM, SUSPEND, GO)
    play(
        work(BROUGHT, POLICY, "w"),
        (Append(RUN, TIMER, 3), None),
        (ReadLeader(RUN), now),
        (Append(RUN, TIMER, 4), 5),
        (Execute, Lost()),
    )
    play(
        work(BROUGHT, POLICY, "w"),
        (Append(RUN, TIMER, 3), None),
        (ReadLeader(RUN), journal(CREATED, CLAIM, SUSPEND, CANCELLED)),
        (CancelTimer(RUN, TASK, 3), None),
        (Ack(), None),
    )


def test_a_journal_that_a_ticket_brought_before_its_worker_died_is_read() -> None:
    again = replace(BROUGHT, delivered=2)
    play(
        work(again, POLICY, "w"),
        (Read(RUN), journal(CREATED, CLAIM, SUSPEND)),
        (Append, 4),
        (Execute, Lost()),
    )


THIRD = Claim(rid="w3", q=5, n=3, worker="w")
AGAIN = replace(FAST, delivered=3, delivery="w3")


def test_the_last_owner_that_may_die_is_alone_before_it_claims() -> None:
    play(
        work(AGAIN, POLICY, "w"),
        (Read(RUN), journal(CREATED, CLAIM, SECOND)),
        (Isolate(), None),
        (Append(RUN, THIRD, 3), 4),
        (Execute, Lost()),
    )


def test_what_happened_while_a_suspect_waited_is_read() -> None:
    play(
        work(AGAIN, POLICY, "w"),
        (Read(RUN), journal(CREATED, CLAIM, SECOND)),
        (Isolate(), None),
        (Append(RUN, THIRD, 3), None),
        (ReadLeader(RUN), journal(CREATED, CLAIM, SECOND, replace(COMPLETED, rid="w2.1"))),
        (Ack(), None),
    )


def test_a_suspect_is_one_whatever_a_stale_replica_says() -> None:
    play(
        work(AGAIN, POLICY, "w"),
        (Read(RUN), journal(CREATED, CLAIM)),
        (Append(RUN, THIRD, 2), None),
        (ReadLeader(RUN), journal(CREATED, CLAIM, SECOND)),
        (Isolate(), None),
        (Append(RUN, THIRD, 3), 4),
        (Execute, Lost()),
    )


@pytest.mark.parametrize(
    "before",
    [
        pytest.param((CLAIM,), id="one owner has died"),
        pytest.param((CLAIM, SECOND, CANCEL), id="cancelled: it won't be executed"),
        pytest.param((CLAIM, SECOND, replace(SECOND, rid="w2b")), id="crashed: it won't be executed"),
        pytest.param((CLAIM, SECOND, Released(rid="w2.1")), id="the second owner has given it back"),
    ],
)
def test_other_runs_wait_for_nobody(before: tuple[Record, ...]) -> None:
    procedure = work(AGAIN, POLICY, "w")
    assert next(procedure) == Read(RUN)
    assert isinstance(procedure.send(journal(CREATED, *before)), Append)


def test_one_permitted_death_is_no_reason_to_wait() -> None:
    assert not Policy(max_crashes=1).suspects(folded(CREATED))


def test_what_a_stale_replica_says_is_asked_of_the_leader() -> None:
    claim = Claim(rid="w3", q=8, n=1, worker="w", timer=True)
    play(
        work(WOKEN, POLICY, "w"),
        (Read(RUN), journal(CREATED, CLAIM)),
        (ReadLeader(RUN), journal(CREATED, CLAIM, SUSPEND)),
        (Append(RUN, claim, 3), 4),
        (Execute, Lost()),
    )


@pytest.mark.parametrize(
    ("records", "operations"),
    [
        pytest.param((), (Ack(),), id="closed long ago"),
        pytest.param((CREATED, replace(SECOND, rid="w9")), (), id="late copy of the owner's: send nothing"),
        pytest.param((CREATED, replace(CLAIM, q=6)), (Ack(),), id="duplicate"),
        pytest.param(
            (CREATED, CLAIM, SUSPEND),
            (Schedule(RUN, TASK, 3, 60.0), Ack()),
            id="died between suspend and timer",
        ),
        pytest.param((CREATED, CLAIM, COMPLETED), (Ack(),), id="died between end and acknowledgement"),
        pytest.param((CREATED, CLAIM, FAILED), (Bury, Ack()), id="died between end and dead letter"),
        pytest.param(
            (CREATED, CLAIM, SUSPEND, CANCELLED),
            (CancelTimer(RUN, TASK, 3), Ack()),
            id="it was cancelled, and its timer may stand",
        ),
        pytest.param(
            (CREATED, CLAIM, SUSPEND, SECOND, replace(COMPLETED, rid="w2.1")),
            (Ack(),),
            id="whoever woke the run has removed its timer",
        ),
    ],
)
def test_a_ticket_that_came_back(records: tuple[Record, ...], operations: tuple[Any, ...]) -> None:
    entries = journal(*records)
    exchanges = [(operation, None) for operation in operations]
    play(work(BACK, POLICY, "w"), (Read(RUN), entries), (ReadLeader(RUN), entries), *exchanges)


@pytest.mark.parametrize(
    ("owned", "policy", "created", "conclusion"),
    [
        pytest.param((CLAIM, CANCEL), POLICY, CREATED, Cancelled("asked"), id="cancelled"),
        pytest.param((CLAIM, SECOND), Policy(max_crashes=1), CREATED, "crashed", id="died too often"),
        pytest.param((CLAIM,), POLICY, EXPIRING, "expired", id="began too late"),
        pytest.param((CLAIM, SECOND), POLICY, EXPIRING, "expired", id="began too late, and its worker died"),
    ],
)
def test_what_keeps_a_run_from_being_executed(
    owned: tuple[Record, ...], policy: Policy, created: Created, conclusion: Conclusion | str
) -> None:
    result = play(execute(session(created, *owned, policy=policy)))
    assert (result.outcome if isinstance(conclusion, str) else result) == conclusion


def test_a_reopened_run_doesnt_expire() -> None:
    reopened = session(EXPIRING, CLAIM, FAILED, Reopened(rid="s"), SECOND)
    assert play(execute(reopened), (Execute(reopened), Completed())) == Completed()


@pytest.mark.parametrize(
    ("news", "outcome"),
    [
        pytest.param((Cancel(rid="s"),), "NEWS", id="a cancellation"),
        pytest.param((SECOND,), "LOST", id="another owner"),
        pytest.param((Orphaned(rid="sweep"),), "LOST", id="orphaned"),
        pytest.param((SUSPEND,), "DONE", id="its own record"),
        pytest.param((COMPLETED, None), "LOST", id="closed"),
    ],
)
def test_what_a_refused_commit_means(news: tuple[Record | None, ...], outcome: str) -> None:
    record = replace(COMPLETED, rid="w1.9") if None in news else SUSPEND
    entries = journal(CREATED, CLAIM, *news)
    procedure = commit(session(CREATED, CLAIM), record)
    result = play(procedure, (Append(RUN, record, 2), None), (ReadLeader, entries))
    assert result.name == outcome


def test_news_are_taken_into_account() -> None:
    play(
        work(FAST, POLICY, "w"),
        (Append(RUN, CLAIM, 1), 2),
        (Execute, Failed(FAULT)),
        (Clock(), 0.0),
        (Append, None),
        (ReadLeader, journal(CREATED, CLAIM, Cancel(rid="s"))),
        (Clock(), 0.0),
        (Append, 4),
        (Ack(), None),
    )


def test_who_has_lost_sends_nothing_more() -> None:
    play(
        work(FAST, POLICY, "w"),
        (Append(RUN, CLAIM, 1), 2),
        (Execute, Completed()),
        (Clock(), 0.0),
        (Append, None),
        (ReadLeader, journal(CREATED, CLAIM, SECOND)),
    )


def test_a_run_that_waits_is_let_go_and_its_timer_set() -> None:
    suspend = replace(SUSPEND, wait="news", until=60.0, waits=(replace(FOR_GO, until=60.0),))
    play(
        work(FAST, POLICY, "w"),
        (Append(RUN, CLAIM, 1), 2),
        (Execute, Waiting(suspend.waits)),
        (Clock(), 0.0),
        (Append(RUN, suspend, 2), 3),
        (Schedule(RUN, TASK, 3, 60.0), None),
        (Ack(), None),
    )


def test_news_that_came_before_the_suspension_wake_the_run_at_once() -> None:
    play(
        work(FAST, POLICY, "w"),
        (Append(RUN, CLAIM, 1), 2),
        (Execute, Waiting((FOR_GO,))),
        (Clock(), 0.0),
        (Append, None),
        (ReadLeader, journal(CREATED, CLAIM, GO)),
        (Clock(), 0.0),
        (Append, 4),
        (SendTicket(RUN, TASK, 4, "signal", once=True), None),
        (Ack(), None),
    )


@pytest.mark.parametrize(("clock", "executed"), [(129.9, True), (130.0, False)])
def test_a_runs_whole_time_is_over_by_the_clock(clock: float, *, executed: bool) -> None:
    owner = session(CREATED, CLAIM, policy=POLICY_OF_30)
    exchanges: list[Any] = [(Clock(), clock)]
    result = play(execute(owner), *exchanges, *((Execute(owner), Completed()),) * executed)
    assert isinstance(result, Completed) is executed


def test_a_runs_whole_time_is_over_when_its_timer_says_so() -> None:
    owner = session(CREATED, CLAIM, NAPPING, TIMER, policy=POLICY_OF_30)
    result = play(execute(owner), (Clock(), 129.0))
    assert result.outcome == "timed_out"


def test_what_is_remembered_goes_behind_the_news() -> None:
    owner = session(CREATED, CLAIM)
    exchanges = (Append(RUN, STEP, 2), None), (ReadLeader, journal(CREATED, CLAIM, GO))
    assert play(remember(owner, STEP), *exchanges, (Append(RUN, STEP, 3), 4)) is Commit.DONE
    assert owner.state.steps == {"fetch": STEP}


def test_news_can_make_a_record_needless() -> None:
    owner = session(CREATED, CLAIM)
    late = replace(STEP, outcome="timed_out")
    exchanges = (Append(RUN, late, 2), None), (ReadLeader, journal(CREATED, CLAIM, GO))
    procedure = remember(owner, late, unless=lambda state: state.decided(FOR_GO))
    assert play(procedure, *exchanges) is Commit.NEWS


def test_who_finds_its_record_behind_its_loss_has_lost() -> None:
    owner = session(CREATED, CLAIM)
    exchanges = (Append(RUN, STEP, 2), None), (ReadLeader, journal(CREATED, CLAIM, STEP, SECOND))
    assert play(remember(owner, STEP), *exchanges) is Commit.LOST


def test_who_has_read_of_its_loss_appends_nothing_more() -> None:
    owner = session(CREATED, CLAIM)
    assert play(refresh(owner), (ReadLeader, journal(CREATED, CLAIM, SECOND))) is False
    assert play(commit(owner, STEP)) is Commit.LOST


def test_an_owner_that_looks_again_knows_the_news() -> None:
    owner = session(CREATED, CLAIM)
    assert play(refresh(owner), (ReadLeader, journal(CREATED, CLAIM, GO))) is True
    assert owner.state.decided(FOR_GO)


def test_only_what_is_new_is_read() -> None:
    owner = session(CREATED, CLAIM)
    assert play(refresh(owner), (ReadLeader(RUN, 2), journal(CREATED, CLAIM, GO)[2:])) is True
    assert owner.state.tail == 3


def test_where_nothing_is_new_the_journal_may_be_gone() -> None:
    owner = session(CREATED, CLAIM)
    assert play(refresh(owner), (ReadLeader(RUN, 2), []), (ReadLeader(RUN), [])) is False
    assert play(commit(owner, STEP)) is Commit.LOST
