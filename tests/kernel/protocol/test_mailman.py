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
from tidemill.kernel.protocol.mailman import Signal, deliver
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
from tidemill.kernel.protocol.records import Cancel, End, Record, Reopened

CANCEL = Signal("s1", RUN, "cancel", "asked")
RETRY = Signal("s1", RUN, "retry")
STANDING = Cancel(rid="s1", reason="asked")
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
