from __future__ import annotations

import pytest

from tests.kernel.protocol.script import CLAIM, COMPLETED, CREATED, FAILED, RUN, SUSPEND, TASK, folded
from tidemill.kernel.protocol.records import Orphaned, Record, Reopened
from tidemill.kernel.protocol.tickets import Admission, Ticket, judge

OWNED = (CREATED, CLAIM)
SUSPENDED = (CREATED, CLAIM, SUSPEND)
ORPHANED = (CREATED, CLAIM, Orphaned(rid="sweep"))
REOPENED = (CREATED, CLAIM, FAILED, Reopened(rid="s"))


@pytest.mark.parametrize(
    ("records", "seq", "q", "delivered", "admission"),
    [
        pytest.param((), 1, 5, 1, Admission.ACKNOWLEDGE, id="no journal never runs"),
        pytest.param((*OWNED, COMPLETED, None), 1, 5, 2, Admission.ACKNOWLEDGE, id="closed"),
        pytest.param((CREATED,), 1, 5, 1, Admission.CLAIM, id="first start"),
        pytest.param((CREATED,), 1, 5, 9, Admission.CLAIM, id="nobody claimed before"),
        pytest.param(OWNED, 1, 5, 2, Admission.CLAIM, id="the owner's ticket came back"),
        pytest.param(OWNED, 1, 5, 1, Admission.IGNORE, id="late copy of the owner's delivery"),
        pytest.param(OWNED, 1, 6, 1, Admission.ACKNOWLEDGE, id="duplicate of the owner's ticket"),
        pytest.param(OWNED, 1, 6, 9, Admission.ACKNOWLEDGE, id="a duplicate, however often delivered"),
        pytest.param(SUSPENDED, 3, 8, 1, Admission.CLAIM, id="woken"),
        pytest.param(SUSPENDED, 1, 5, 2, Admission.REDO_SUSPEND, id="the suspender's own ticket"),
        pytest.param(SUSPENDED, 1, 6, 1, Admission.REDO_SUSPEND, id="any other: it may be an old timer's"),
        pytest.param((*OWNED, COMPLETED), 1, 5, 2, Admission.REDO_END, id="ended"),
        pytest.param((*OWNED, FAILED), 1, 6, 1, Admission.REDO_END, id="ended, another ticket"),
        pytest.param((COMPLETED,), 1, 5, 2, Admission.ACKNOWLEDGE, id="ended, half deleted"),
        pytest.param(ORPHANED, 1, 9, 1, Admission.CLAIM, id="orphaned"),
        pytest.param(REOPENED, 4, 9, 1, Admission.CLAIM, id="reopened"),
        pytest.param(REOPENED, 1, 5, 2, Admission.ACKNOWLEDGE, id="reopened, ticket of the last opening"),
    ],
)
def test_what_a_ticket_entitles_to(
    records: tuple[Record | None, ...], seq: int, q: int, delivered: int, admission: Admission
) -> None:
    ticket = Ticket(RUN, TASK, seq, q, delivered, "d")
    assert judge(folded(*records), ticket) is admission
