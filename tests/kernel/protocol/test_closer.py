from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.kernel.protocol.script import RUN, TASK, play
from tidemill.kernel.protocol.closer import Closing, Keeping, Mark, close, erasable
from tidemill.kernel.protocol.operations import Close, DeadLettered, Erase, JournalOpen, TicketOutstanding

KEEPING = Keeping(journal=100.0, tombstone=110.0, key=150.0)
SHORT = Keeping(journal=100.0, tombstone=10.0, key=50.0)
MARK = Mark(RUN, TASK, 3, at=1000.0, event_seq=7, records=(1, 2, 3))
LASTING = replace(MARK, lasting=True)
CHILD, OPEN = replace(MARK, parent="run_0"), JournalOpen("run_0")
TICKET, LETTER = TicketOutstanding(RUN, TASK), DeadLettered(RUN, TASK)


@pytest.mark.parametrize(
    ("mark", "routed", "now", "exchanges"),
    [
        pytest.param(MARK, 7, 1099.0, (), id="too young"),
        pytest.param(MARK, 6, 1100.0, (), id="its event may be delivered again"),
        pytest.param(CHILD, 7, 1099.0, (), id="a child, too young"),
        pytest.param(CHILD, 7, 1100.0, ((OPEN, True),), id="its parent may ask for it"),
        pytest.param(LASTING, 7, 1100.0, ((TICKET, True),), id="its ticket is outstanding"),
        pytest.param(LASTING, 7, 1100.0, ((TICKET, False), (LETTER, True)), id="its dead letter stands"),
    ],
)
def test_what_must_stay(mark: Mark, routed: int, now: float, exchanges: tuple[Any, ...]) -> None:
    assert play(close(mark, KEEPING, routed=routed, now=now), *exchanges) is Closing.LATER


@pytest.mark.parametrize(("keyed", "keep"), [(False, 10.0), (True, 50.0)])
def test_a_tombstone_stands_as_long_as_somebody_may_ask(*, keyed: bool, keep: float) -> None:
    procedure = close(replace(MARK, keyed=keyed), KEEPING, routed=7, now=1100.0)
    assert play(procedure, (Close(RUN, 3, keep, (1, 2, 3)), True)) is Closing.DONE


@pytest.mark.parametrize("keyed", [False, True])
@pytest.mark.parametrize("blobs", [False, True])
def test_a_journal_that_outlived_its_tombstone_leaves_none(*, keyed: bool, blobs: bool) -> None:
    procedure = close(replace(MARK, keyed=keyed, blobs=blobs), SHORT, routed=7, now=1100.0)
    assert play(procedure, (Erase(RUN, (1, 2, 3), blobs=blobs), None)) is Closing.DONE


def test_only_a_guarded_tombstone_closes_a_run_that_may_be_reopened() -> None:
    procedure = close(LASTING, SHORT, routed=7, now=1100.0)
    exchanges = (TICKET, False), (LETTER, False), (Close(RUN, 3, 0.0, (1, 2, 3)), True)
    assert play(procedure, *exchanges) is Closing.DONE


def test_a_journal_whose_records_are_unknown_is_rolled_up() -> None:
    procedure = close(replace(MARK, records=()), SHORT, routed=7, now=1100.0)
    assert play(procedure, (Close(RUN, 3, 0.0), True)) is Closing.DONE


def test_a_run_that_was_reopened_meanwhile_is_left_alone() -> None:
    procedure = close(LASTING, KEEPING, routed=7, now=1100.0)
    assert play(procedure, (TICKET, False), (LETTER, False), (Close, False)) is Closing.DONE


def test_a_child_is_closed_behind_its_parent() -> None:
    assert play(close(CHILD, KEEPING, routed=7, now=1100.0), (OPEN, False), (Close, True)) is Closing.DONE
    assert play(close(CHILD, SHORT, routed=7, now=1100.0), (OPEN, False), (Erase, None)) is Closing.DONE


def test_a_child_isnt_removed_by_the_head_of_the_stream() -> None:
    assert erasable(MARK, SHORT, routed=7, now=1100.0)
    assert not erasable(CHILD, SHORT, routed=7, now=1100.0)
