"""A ticket's body: the journal that goes along with it comes back as it was, and large ones stay out."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kernel.protocol.script import CLAIM, CREATED, SUSPEND
from tests.kernel.protocol.strategies import RECORDS
from tidemill.kernel.errors import PayloadError
from tidemill.kernel.frames import pack
from tidemill.kernel.protocol.records import Entry, Record, Step
from tidemill.kernel.protocol.ticket_body import MOST_BYTES, MOST_RECORDS, read, write

JOURNAL = (Entry(3, CREATED, 1.5), Entry(7, CLAIM), Entry(8, SUSPEND))


def test_the_journal_goes_along() -> None:
    assert read(write("timer", known=JOURNAL)) == ("timer", None, JOURNAL)
    assert read(write("signal", known=JOURNAL)) == ("signal", None, JOURNAL)


@given(st.lists(RECORDS, max_size=MOST_RECORDS))
def test_whatever_goes_along_comes_back(found: list[Record]) -> None:
    known = tuple(Entry(index + 1, record) for index, record in enumerate(found))
    kind, created, brought = read(write("timer", known=known))
    assert (kind, created) == ("timer", None)
    assert brought in (known, ())


def test_a_first_ticket_brings_its_created_record_alone() -> None:
    assert read(write("timer", CREATED, JOURNAL)) == ("start", CREATED, ())


@pytest.mark.parametrize(
    "known",
    [
        pytest.param((), id="nothing is known"),
        pytest.param((Entry(3, CREATED), Entry(4, None)), id="a tombstone"),
        pytest.param((Entry(3, replace(CREATED, raw=b"x" * (MOST_BYTES + 1))),), id="a large body"),
        pytest.param(
            (Entry(3, CREATED), Entry(4, Step(rid="s", key="k", result="x" * MOST_BYTES))),
            id="a large result",
        ),
        pytest.param((Entry(3, CREATED), *(Entry(4 + n, CLAIM) for n in range(MOST_RECORDS))), id="many"),
    ],
)
def test_what_is_large_stays_where_it_is(known: tuple[Entry, ...]) -> None:
    body = write("timer", known=known)
    assert body == pack({"kind": "timer"})
    assert read(body) == ("timer", None, ())


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(pack({"kind": "other"}), id="another kind"),
        pytest.param(pack({"kind": "timer", "known": 3}), id="no list"),
        pytest.param(pack({"kind": "timer", "known": [[1, 0]]}), id="no size"),
        pytest.param(pack({"kind": "timer", "known": [[1, 0, 5]]}, b"abcde"), id="no record"),
        pytest.param(
            pack({"kind": "timer", "known": [[1, 0, 17]]}, pack({"kind": "unknown"})), id="a newer one"
        ),
        pytest.param(b"\xff", id="no frame"),
    ],
)
def test_what_is_no_ticket_is_an_error(body: bytes) -> None:
    with pytest.raises(PayloadError):
        read(body)
