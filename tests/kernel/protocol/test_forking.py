"""What a fork takes over of a journal: what stood before its point, as it counted there."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.kernel.protocol.script import play
from tidemill.kernel.protocol.forking import (
    At,
    Refusal,
    Survey,
    find_point,
    fork_record,
    points_of,
    survey,
)
from tidemill.kernel.protocol.inheritance import Point, taken_over
from tidemill.kernel.protocol.operations import JournalOpen, ReadLeader
from tidemill.kernel.protocol.records import (
    Claim,
    Created,
    End,
    Entry,
    Fault,
    Item,
    News,
    Record,
    Reopened,
    Spawned,
    Step,
    Suspend,
    Wait,
    decode,
    encode,
)
from tidemill.kernel.protocol.state import State, fold
from tidemill.kernel.subjects import child_index, new_run, run_of_child

RUN = new_run()
KEYS = st.sampled_from(["a", "b", "f.1/a", "call:x", "nap"])
NUMBERS = st.integers(0, 3)


def journal(*records: Record) -> list[Entry]:
    """Return records as a journal has them: sequences with gaps, ids of their own."""
    created = Created(rid="created", task="t", raw=b"7")
    return [Entry(10 + 3 * number, one, 100.0 + number) for number, one in enumerate((created, *records))]


def forked(entries: list[Entry], at: At, started: tuple[str, ...] = ()) -> State:
    """Return what a fork knows when it begins, as it is read back."""
    point = find_point(RUN, entries, at)
    assert isinstance(point, Point)
    first = entries[0].record
    assert isinstance(first, Created)
    found = Survey(first, taken_over(RUN, entries, point, started))
    return fold([Entry(1, decode(encode(fork_record(RUN, found, rid="fork"))), 500.0)])


@st.composite
def records(draw: st.DrawFn) -> Record:
    """Draw a record of a handler's journal."""
    key = draw(KEYS)
    what = draw(
        st.sampled_from(["step", "step", "failed", "spawned", "news", "claim", "retry", "wait", "reopened"])
    )
    made: dict[str, Callable[[], Record]] = {
        "step": lambda: Step(rid="r", key=key, result=draw(NUMBERS)),
        "failed": lambda: Step(rid="r", key=key, outcome="failed", fault=Fault("E", "no")),
        "spawned": lambda: Spawned(rid="r", key=key, task="x", count=draw(NUMBERS) + 1),
        "news": lambda: News(rid="r", items=(Item(id=f"i{draw(NUMBERS)}", box=key, who=str(draw(NUMBERS))),)),
        "claim": lambda: Claim(
            rid="r", q=1, n=1, worker="w", timer=draw(st.booleans()), at=draw(NUMBERS) + 90.0
        ),
        "retry": lambda: Suspend(rid="r", q=1, wait="retry", until=200.0),
        "wait": lambda: Suspend(
            rid="r", q=1, wait="news", until=150.0, waits=(Wait(key="nap", kind="sleep", until=150.0),)
        ),
        "reopened": lambda: Reopened(rid="r"),
    }
    return made[what]()


def _possible(told: list[Record]) -> list[Record]:
    """Leave out what no run writes down: a part that is finished a second time."""
    state, kept = State(), list[Record]()
    for record in told:
        if not (isinstance(record, Step) and record.key in state.steps):
            kept.append(record)
            state.apply(len(kept), record)
    return kept


@given(st.lists(records(), max_size=12), st.data())
def test_a_fork_at_any_record_knows_what_the_run_knew_before_it(
    told: list[Record], data: st.DataObject
) -> None:
    entries = journal(*_possible(told))
    at = data.draw(st.sampled_from([None, *(entry.seq for entry in entries[1:])]))
    before = fold(entry for entry in entries if at is None or entry.seq < at)
    fork = forked(entries, at)
    assert {key: step.result for key, step in fork.steps.items()} == {
        key: step.result for key, step in before.steps.items()
    }
    assert {box: list(items) for box, items in fork.boxes.items()} == {
        box: list(items) for box, items in before.boxes.items()
    }
    assert {key: one.count for key, one in fork.spawned.items()} == {
        key: one.count for key, one in before.spawned.items()
    }
    assert before.elapsed <= fork.elapsed
    assert (fork.failing, fork.loose) == (before.failing, before.loose)
    assert fork.attempt_at == before.attempt_at
    assert (fork.claims, fork.tries, fork.cancel, fork.end) == (0, {}, None, None)


def test_a_part_is_named_by_its_key_its_record_or_its_child() -> None:
    entries = journal(
        Claim(rid="c", q=1, n=1, worker="w"),
        Step(rid="1", key="one"),
        Spawned(rid="2", key="gather", task="x", count=2, after="one"),
        Suspend(
            rid="3", q=1, wait="news", waits=(Wait(key="gather", kind="children", box="gather", need=2),)
        ),
        News(rid="4", items=(Item(id="e0", box="gather", who="0"),)),
        News(rid="5", items=(Item(id="e1", box="gather", who="1"),)),
        Step(rid="6", key="17", after="gather"),
    )
    assert find_point(RUN, entries, "one") == Point(16, "one")
    assert find_point(RUN, entries, "gather") == Point(28, "gather")
    child = run_of_child(RUN, child_index("gather", 1))
    assert find_point(RUN, entries, child) == Point(29, "gather", "1")
    assert find_point(RUN, entries, "17") == Point(31, "17")
    assert find_point(RUN, entries, 16) == find_point(RUN, entries, "16") == Point(16)
    assert find_point(RUN, entries, None) == Point(32)
    for unknown in ("two", "", 17, 10, 0, -1, "999", new_run(), "٣"):
        assert find_point(RUN, entries, unknown) is Refusal.UNKNOWN
    assert points_of(entries) == ["one", "gather", "17"]


def test_children_that_were_joined_stay_the_other_runs_and_the_others_are_started_anew() -> None:
    entries = journal(
        Spawned(rid="1", key="done", task="x", count=1),
        News(rid="2", items=(Item(id="e0", box="done", who="0"),)),
        Spawned(rid="3", key="open", task="x", count=2, after="done"),
        News(rid="4", items=(Item(id="e1", box="open", who="0"),)),
    )
    state = forked(entries, None)
    assert state.spawned["done"].run == RUN
    assert state.children == {"done": 1}
    assert state.spawned["open"].run == ""
    assert list(state.boxes["open"]) == ["0"]


def test_of_the_children_that_nobody_waits_for_those_that_were_started_stay() -> None:
    entries = journal(
        Spawned(rid="1", key="trigger:x", task="x"),
        Step(rid="2", key="a", after="trigger:x"),
        Spawned(rid="3", key="trigger:x#2", task="x", after="a"),
    )
    assert forked(entries, None).spawned["trigger:x"].run == RUN
    assert forked(entries, None).spawned["trigger:x#2"].run == ""
    assert forked(entries, None, ("trigger:x#2",)).spawned["trigger:x#2"].run == RUN
    assert "trigger:x" not in forked(entries, "trigger:x").spawned


def test_what_a_race_has_left_behind_stays_there() -> None:
    entries = journal(
        Spawned(rid="1", key="call:x", task="x"),
        Step(rid="2", key="fast"),
        Step(rid="3", key="first", result={"winner": 1, "keys": ["call:x", "fast"]}),
    )
    assert forked(entries, None).spawned["call:x"].run == RUN
    assert find_point(RUN, entries, "call:x") == Point(19, "call:x")
    lookalike = journal(
        Spawned(rid="1", key="call:x", task="x"),
        Step(rid="2", key="a", result={"winner": 1, "keys": ["call:x"]}),
    )
    assert forked(lookalike, None).spawned["call:x"].run == ""


def test_what_was_taken_over_is_no_point_of_a_fork() -> None:
    entries = journal(Step(rid="1", key="one", result=1), Step(rid="2", key="two", after="one"))
    point = find_point(RUN, entries, "two")
    assert isinstance(point, Point)
    first = entries[0].record
    assert isinstance(first, Created)
    record = fork_record(RUN, Survey(first, taken_over(RUN, entries, point)), rid="fork")
    again = [Entry(50, record, 200.0), Entry(60, Step(rid="x", key="two", after="one"), 201.0)]
    assert find_point("run_b", again, "one") is Refusal.TAKEN
    assert find_point("run_b", again, "two") == Point(60, "two")
    taken = taken_over("run_b", again, Point(61))
    assert [(part.key, part.rid) for part in taken.parts if isinstance(part, Step)] == [
        ("one", ""),
        ("two", ""),
    ]
    assert (taken.run, taken.seed) == ("run_b", RUN)


ENDED = journal(
    Claim(rid="c", q=1, n=1, worker="w"),
    Step(rid="1", key="one"),
    End(rid="e", outcome="failed", records=(10, 13, 16)),
)


def test_a_survey_reads_the_leader_and_asks_whether_the_journal_is_still_there() -> None:
    found = play(survey(RUN, "one"), (ReadLeader(RUN), ENDED), (JournalOpen(RUN), True))
    assert isinstance(found, Survey)
    assert found.taken.at == 16


def test_a_survey_asks_for_each_run_that_was_triggered() -> None:
    entries = journal(Spawned(rid="1", key="trigger:x", task="x"))
    child = run_of_child(RUN, child_index("trigger:x", 0))
    asked = ((ReadLeader(RUN), entries), (JournalOpen(RUN), True), (JournalOpen(child), True))
    found = play(survey(RUN, None), *asked)
    assert [part.run for part in found.taken.parts] == [RUN]


@pytest.mark.parametrize(
    "entries",
    [
        [],
        ENDED[1:],
        [ENDED[0], ENDED[1], ENDED[3]],
        [*ENDED, Entry(30, None, 300.0)],
        [Entry(30, None, 300.0)],
    ],
    ids=["none", "no beginning", "a gap", "a tombstone behind it", "a tombstone"],
)
def test_a_journal_that_isnt_whole_can_not_be_forked(entries: list[Entry]) -> None:
    assert play(survey(RUN, None), (ReadLeader(RUN), entries)) is Refusal.CLOSED


def test_a_journal_that_went_while_it_was_read_can_not_be_forked() -> None:
    asked = ((ReadLeader(RUN), ENDED[:3]), (JournalOpen(RUN), False))
    assert play(survey(RUN, None), *asked) is Refusal.CLOSED
