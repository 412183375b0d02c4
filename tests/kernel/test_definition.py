from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tidemill.kernel.definition import RetryPolicy, TaskDefinition, TaskEntry, id_problem
from tidemill.kernel.errors import DefinitionError

NOW = datetime(2026, 11, 22, tzinfo=UTC)
IDS = st.from_regex(r"(?!\.{1,2}\Z)[A-Za-z0-9_.-]{1,64}", fullmatch=True)
POLICIES = st.builds(
    RetryPolicy,
    max_attempts=st.integers(1, 100),
    factor=st.floats(1, 10),
    min_delay=st.floats(0, 100),
    max_delay=st.floats(0, 1e6),
    jitter=st.booleans(),
)
DEFINITIONS = st.builds(
    TaskDefinition,
    id=IDS,
    aliases=st.lists(IDS, max_size=3).map(tuple),
    on=st.lists(st.sampled_from(["github.push", "github.*", "a.>", ">"]), max_size=3).map(tuple),
    where=st.none() | st.text(),
    retry=POLICIES,
    concurrency=st.none() | st.integers(1, 1000),
    timeout=st.none() | st.floats(0.1, 1e6),
    takes=st.sampled_from(["none", "payload", "event"]),
    payload_schema=st.none() | st.dictionaries(st.text(), st.text() | st.integers(-9, 9)),
    code=st.text(max_size=8),
)


@given(DEFINITIONS, st.datetimes(timezones=st.just(UTC), max_value=datetime(9000, 1, 1)))  # noqa: DTZ001 - hypothesis wants it naive
def test_an_entry_survives_the_journey_through_json(definition: TaskDefinition, now: datetime) -> None:
    entry = TaskEntry.first(definition, now)
    again = TaskEntry.from_json(entry.to_json())
    assert again == entry
    assert again.definition.fingerprint == definition.fingerprint


def version(number: int) -> TaskDefinition:
    return TaskDefinition(id="t", concurrency=number + 1)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(-100, 100)), min_size=1, max_size=20))
def test_the_version_in_force_is_the_one_that_was_published_first_most_recently(
    publications: list[tuple[int, int]],
) -> None:
    """Whatever restarts in between, and however wrong the publishers' clocks are."""
    order: list[int] = []
    entry = TaskEntry.first(version(publications[0][0]), NOW)
    for number, clock in publications:
        if number not in order:
            order.append(number)
        before = entry
        entry = TaskEntry.from_json(entry.publish(version(number), NOW + timedelta(seconds=clock)).to_json())
        assert entry.definition == version(order[-1])
        assert set(before.seen.items()) <= set(entry.seen.items())


def test_a_version_that_is_known_changes_nothing_and_needs_no_write() -> None:
    entry = TaskEntry.first(version(0), NOW).publish(version(1), NOW)
    assert entry.publish(version(0), NOW + timedelta(days=1)) is entry
    assert entry.publish(version(1), NOW + timedelta(days=1)) is entry


def test_with_force_an_older_version_comes_back_and_stays() -> None:
    entry = TaskEntry.first(version(0), NOW).publish(version(1), NOW)
    back = TaskEntry.from_json(entry.publish(version(0), NOW - timedelta(days=1), force=True).to_json())
    assert back.definition == version(0)
    assert back.publish(version(1), NOW + timedelta(days=1)) is back
    assert back.publish(version(0), NOW, force=True) is back
    assert back.publish(version(2), NOW).definition == version(2)


def test_the_list_of_versions_is_bounded_and_keeps_the_newest() -> None:
    entry = TaskEntry.first(version(0), NOW)
    for number in range(1, 200):
        entry = entry.publish(version(number), NOW + timedelta(seconds=number))
    assert len(entry.seen) == 50
    assert entry.definition == version(199)
    assert version(150).fingerprint in entry.seen


def test_the_fingerprint_depends_on_every_part_and_not_on_the_process() -> None:
    changes = [{"on": ("a",)}, {"where": "true"}, {"concurrency": 2}, {"timeout": 1.0}, {"code": "x"}]
    changes += [{"aliases": ("b",)}, {"takes": "none"}, {"payload_schema": {"type": "null"}}]
    prints = {TaskDefinition.model_validate({"id": "t", **change}).fingerprint for change in [{}, *changes]}
    assert len(prints) == len(changes) + 1
    script = (
        "from tidemill.kernel.definition import TaskDefinition\n"
        "print(TaskDefinition(id='t', payload_schema={'b': 1, 'a': 2}).fingerprint)"
    )
    other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert other.strip() == TaskDefinition(id="t", payload_schema={"a": 2, "b": 1}).fingerprint


@pytest.mark.parametrize(
    ("stored", "place"),
    [
        (b"{}", "entry.definition: Field required"),
        (b"nonsense", "entry: Invalid JSON"),
        (b'{"definition":{"id":"t","rate":1},"seen":{}}', "entry.definition.rate: Extra inputs"),
        (b'{"definition":{"id":"t","on":["a..b"]},"seen":{}}', "entry.definition.on[0]: Value error, it has"),
    ],
)
def test_an_entry_that_cannot_be_read_says_where(stored: bytes, place: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        TaskEntry.from_json(stored)
    assert place in caught.value.sentence


@pytest.mark.parametrize("task_id", ["", "a" * 65, "a b", "größe", "<lambda>", "a/b", "a\n", ".", ".."])
def test_bad_ids_are_told_apart(task_id: str) -> None:
    assert id_problem(task_id)
    with pytest.raises(ValidationError):
        TaskDefinition(id=task_id)


@given(IDS)
def test_good_ids_have_no_problem(task_id: str) -> None:
    assert id_problem(task_id) is None


def test_a_definition_wants_the_types_that_its_patterns_cover() -> None:
    definition = TaskDefinition(id="t", on=("github.issues.*", "stripe.>"))
    assert definition.wants("github.issues.opened")
    assert definition.wants("stripe.invoice.paid")
    assert not definition.wants("github.push")
    assert not TaskDefinition(id="t").wants("github.push")
