from __future__ import annotations

from dataclasses import replace

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
from tidemill.kernel.protocol.mailman import Answer, Signal, bring, deliver
from tidemill.kernel.protocol.operations import (
    Ack,
    Append,
    Bury,
    CancelTimer,
    Exhume,
    Hint,
    ReadLeader,
    SendTicket,
)
from tidemill.kernel.protocol.records import Cancel, End, Item, News, Record, Reopened, Suspend, Wait

CANCEL = Signal("s1", RUN, "cancel", "asked")
RETRY = Signal("s1", RUN, "retry")
STANDING = Cancel(rid="s1", reason="asked")
ORPHAN = replace(CANCEL, parent="run_0")
GO, ON = Item(id="i1", box="go", who="i1"), Item(id="i2", box="on", who="i2")
WAITING = Suspend(rid="w1.1", q=5, wait="news", waits=(Wait(key="go", kind="signal", box="go"),))
PARKED = Suspend(rid="w1.1", q=5, wait="parked")
BROUGHT = News(rid="news-i1", items=(GO,))
WAKE = SendTicket(RUN, TASK, 3, "signal", once=True, cancels_timer=True)
REOPENED = Reopened(rid="s1")
CANCELLED = End(rid="s1", outcome="cancelled", reason="asked", task=TASK)


def test_a_cancellation_of_an_owned_run_is_left_to_its_owner() -> None:
    answer = play(
        deliver(CANCEL),
        (ReadLeader(RUN), journal(CREATED, CLAIM)),
        (Append(RUN, STANDING, 2), 3),
        (Hint(RUN, "w"), None),
        (Ack(), None),
    )
    assert answer == "done"


def test_a_run_that_nobody_owns_is_ended_at_once() -> None:
    play(
        deliver(CANCEL),
        (ReadLeader(RUN), journal(CREATED, CLAIM, SUSPEND)),
        (Append(RUN, replace(CANCELLED, records=(1, 2, 3)), 3), 4),
        (CancelTimer(RUN, TASK, 3), None),
        (Ack(), None),
    )


def test_a_run_that_went_on_meanwhile_is_looked_at_again() -> None:
    play(
        deliver(CANCEL),
        (ReadLeader(RUN), journal(CREATED)),
        (Append, None),
        (ReadLeader(RUN), journal(CREATED, CLAIM)),
        (Append(RUN, STANDING, 2), 3),
        (Hint, None),
        (Ack(), None),
    )


def test_a_redelivered_signal_is_written_once_and_its_effects_are_repeated() -> None:
    play(
        deliver(CANCEL),
        (ReadLeader(RUN), journal(CREATED, CLAIM, STANDING)),
        (Hint(RUN, "w"), None),
        (Ack(), None),
    )


def test_a_retry_writes_the_letter_reopens_takes_it_back_and_sends_a_ticket() -> None:
    ended = journal(CREATED, CLAIM, FAILED)
    answer = play(
        deliver(RETRY),
        (ReadLeader(RUN), ended),
        (Bury(RUN, 3, folded(CREATED, CLAIM, FAILED)), None),
        (Append(RUN, REOPENED, 3), 4),
        (Exhume(RUN, TASK, 3), None),
        (SendTicket(RUN, TASK, 4, "signal", once=True), None),
        (Ack(), None),
    )
    assert answer == "done"


@pytest.mark.parametrize("since", [(CLAIM,), (CANCELLED,), (CLAIM, FAILED)])
def test_a_redelivered_retry_takes_back_no_later_letter(since: tuple[Record, ...]) -> None:
    entries = journal(CREATED, CLAIM, FAILED, REOPENED, *(replace(r, rid=f"x{r.rid}") for r in since))
    play(deliver(RETRY), (ReadLeader(RUN), entries), (Exhume(RUN, TASK, 3), None), (Ack(), None))


@pytest.mark.parametrize(
    ("signal", "records", "answer"),
    [
        pytest.param(CANCEL, (), "gone", id="cancel, no journal"),
        pytest.param(ORPHAN, (CREATED, CLAIM, COMPLETED), "gone", id="cancel of a child that has ended"),
        pytest.param(ORPHAN, (CREATED, CLAIM, COMPLETED, None), "gone", id="cancel of a closed child"),
        pytest.param(CANCEL, (CREATED, CLAIM, COMPLETED), "gone", id="cancel, ended"),
        pytest.param(CANCEL, (CREATED, CLAIM, COMPLETED, None), "gone", id="cancel, closed"),
        pytest.param(RETRY, (), "gone", id="retry, no journal"),
        pytest.param(RETRY, (FAILED,), "gone", id="retry, half deleted"),
        pytest.param(RETRY, (CREATED, CLAIM), "refused", id="retry, running"),
        pytest.param(RETRY, (CREATED, CLAIM, SUSPEND), "refused", id="retry, waiting"),
        pytest.param(RETRY, (CREATED, CLAIM, COMPLETED), "refused", id="retry, completed"),
        pytest.param(RETRY, (CREATED, replace(CANCELLED, rid="x")), "refused", id="retry, cancelled"),
    ],
)
def test_signals_that_become_no_record(
    signal: Signal, records: tuple[Record | None, ...], answer: str
) -> None:
    assert play(deliver(signal), (ReadLeader(RUN), journal(*records)), (Ack(), None)) == answer


def test_a_child_that_isnt_there_yet_is_never_created() -> None:
    stillborn = replace(CANCELLED, task="")
    answer = play(deliver(ORPHAN), (ReadLeader(RUN), []), (Append(RUN, stillborn, 0), 1), (Ack(), None))
    assert answer == "done"


def test_a_child_that_was_created_meanwhile_is_cancelled() -> None:
    play(
        deliver(ORPHAN),
        (ReadLeader(RUN), []),
        (Append, None),
        (ReadLeader(RUN), journal(CREATED)),
        (Append(RUN, replace(CANCELLED, records=(1,)), 1), 2),
        (Ack(), None),
    )


def test_a_parked_run_goes_on_when_somebody_says_so() -> None:
    play(
        deliver(RETRY),
        (ReadLeader(RUN), journal(CREATED, CLAIM, PARKED)),
        (Append(RUN, REOPENED, 3), 4),
        (SendTicket(RUN, TASK, 4, "signal", once=True), None),
        (Ack(), None),
    )


@pytest.mark.parametrize(
    ("records", "items", "record", "wakes"),
    [
        pytest.param((CREATED, CLAIM, WAITING), (GO,), BROUGHT, True, id="what it waits for"),
        pytest.param((CREATED, CLAIM, WAITING), (ON,), News(rid="news-i2", items=(ON,)), False, id="not yet"),
        pytest.param(
            (CREATED, CLAIM, WAITING), (GO, ON), News(rid="news-i1", items=(GO, ON)), True, id="one record"
        ),
        pytest.param(
            (CREATED, CLAIM, WAITING, BROUGHT),
            (GO, ON),
            News(rid="news-i2", items=(ON,)),
            True,
            id="one of them stands there",
        ),
        pytest.param((CREATED,), (GO,), BROUGHT, False, id="early: it is kept"),
        pytest.param((CREATED, CLAIM, SUSPEND), (GO,), BROUGHT, False, id="early: the attempt has failed"),
        pytest.param((CREATED, CLAIM, PARKED), (GO,), BROUGHT, False, id="early: it is parked"),
    ],
)
def test_how_news_are_brought(
    records: tuple[Record, ...], items: tuple[Item, ...], record: News, *, wakes: bool
) -> None:
    tail = len(records)
    exchanges = [(ReadLeader(RUN), journal(*records)), (Append(RUN, record, tail), tail + 1)]
    answer, state = play(bring(RUN, items), *exchanges, *((WAKE, None),) * wakes, (Ack(), None))
    assert (answer, state.tail) == ("done", tail + 1)


def test_an_owner_is_told_of_news() -> None:
    exchanges = (ReadLeader(RUN), journal(CREATED, CLAIM)), (Append, 3), (Hint(RUN, "w"), None)
    play(bring(RUN, (GO,)), *exchanges, (Ack(), None))


def test_news_that_stand_there_wake_again() -> None:
    exchanges = (ReadLeader(RUN), journal(CREATED, CLAIM, WAITING, BROUGHT)), (WAKE, None)
    assert play(bring(RUN, (GO,)), *exchanges, (Ack(), None))[0] == "done"


def test_what_is_remembered_saves_a_read_where_it_is_still_true() -> None:
    known = folded(CREATED, CLAIM, WAITING)
    play(bring(RUN, (GO,), known), (Append(RUN, BROUGHT, 3), 4), (WAKE, None), (Ack(), None))


def test_what_is_remembered_and_no_longer_true_is_read_anew() -> None:
    known = folded(CREATED, CLAIM)
    leader = journal(CREATED, CLAIM, WAITING)
    exchanges = (Append(RUN, BROUGHT, 2), None), (ReadLeader, leader), (Append(RUN, BROUGHT, 3), 4)
    play(bring(RUN, (GO,), known), *exchanges, (WAKE, None), (Ack(), None))


@pytest.mark.parametrize("known", [(), (CREATED, CLAIM, FAILED)])
def test_nothing_is_refused_by_what_is_remembered(known: tuple[Record, ...]) -> None:
    reopened = journal(CREATED, CLAIM, FAILED, REOPENED)
    exchanges = (ReadLeader(RUN), reopened), (Append(RUN, BROUGHT, 4), 5)
    assert play(bring(RUN, (GO,), folded(*known)), *exchanges, (Ack(), None))[0] == "done"


@pytest.mark.parametrize(
    ("records", "answer"),
    [
        pytest.param((), "gone", id="no journal"),
        pytest.param((CREATED, CLAIM, COMPLETED), "gone", id="ended"),
        pytest.param((CREATED, CLAIM, FAILED), "gone", id="failed"),
        pytest.param((CREATED, CLAIM, COMPLETED, None), "gone", id="closed"),
        pytest.param((CREATED, BROUGHT, CLAIM, COMPLETED), "done", id="it came before the end"),
    ],
)
def test_news_for_a_run_that_has_ended(records: tuple[Record | None, ...], answer: Answer) -> None:
    assert play(bring(RUN, (GO,)), (ReadLeader(RUN), journal(*records)), (Ack(), None))[0] == answer
