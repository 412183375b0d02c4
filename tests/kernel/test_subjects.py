"""Names on the broker: reversible, injective, and never wider than they look."""

from __future__ import annotations

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.kernel import subjects
from tidemill.kernel.subjects import Names

ANY = st.text(alphabet=st.characters())  # lone surrogates too
TOKEN = re.compile(r"(%|(?:[A-Za-z0-9_-]|%[0-9A-F]{2})+)")
RUN = re.compile(r"run_[0-9a-v]{26}")


@given(ANY)
def test_a_name_becomes_one_token_and_comes_back(name: str) -> None:
    token = subjects.escape(name)
    assert TOKEN.fullmatch(token)
    assert subjects.unescape(token) == name


@given(ANY)
def test_a_type_keeps_its_dots_and_comes_back(event_type: str) -> None:
    tokens = subjects.escape_type(event_type)
    assert tokens.count(".") == event_type.count(".")
    assert all(TOKEN.fullmatch(token) for token in tokens.split("."))
    assert subjects.unescape_type(tokens) == event_type


@given(st.lists(st.sampled_from(["a", "b", "push"]), min_size=1, max_size=4), st.data())
def test_a_pattern_matches_what_it_was_made_from(parts: list[str], data: st.DataObject) -> None:
    pattern = [data.draw(st.sampled_from([part, "*"])) for part in parts]
    assert subjects.type_matches(".".join(pattern), ".".join(parts))
    cut = data.draw(st.integers(0, len(parts) - 1))
    assert subjects.type_matches(".".join([*pattern[:cut], ">"]), ".".join(parts))
    assert not subjects.type_matches(".".join(pattern), ".".join([*parts, "more"]))
    assert not subjects.type_matches(".".join([*pattern, ">"]), ".".join(parts))


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("github.push", None),
        ("github.*.opened", None),
        ("github.>", None),
        (">", None),
        ("", "empty part"),
        ("github..push", "empty part"),
        ("github.>.push", "last part"),
        ("github.pu*", "whole part"),
        ("github.>x", "whole part"),
    ],
)
def test_a_pattern_that_cant_be_meant_is_explained(pattern: str, problem: str | None) -> None:
    found = subjects.pattern_problem(pattern)
    assert found is None if problem is None else problem in str(found)


@given(ANY, ANY, ANY, ANY)
def test_a_delivery_key_belongs_to_one_source_and_id(source: str, key: str, source2: str, key2: str) -> None:
    same = (source, key) == (source2, key2)
    assert (subjects.delivery_key(source, key) == subjects.delivery_key(source2, key2)) is same
    assert re.fullmatch(r"[0-9a-f]{40}", subjects.delivery_key(source, key))


def test_a_delivery_keys_parts_dont_run_into_each_other() -> None:
    assert subjects.delivery_key("a", "bc") != subjects.delivery_key("ab", "c")


@given(ANY, ANY)
def test_run_ids_are_computed_alike_by_everybody(first: str, second: str) -> None:
    ids = {subjects.run_of_event(first, second), subjects.run_of_key(first, second)}
    ids |= {subjects.run_of_child(first, second)}
    assert len(ids) == 3
    assert all(RUN.fullmatch(run) for run in ids)
    assert subjects.run_of_key(first, second) in ids


def test_run_ids_sort_by_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = [1.0, 1e6, 1.7e9, 1.7e9 + 0.001, 1.8e9, 1.9e9, 4e9, 2e11]
    runs = []
    for moment in moments:
        monkeypatch.setattr(subjects.time, "time", lambda moment=moment: moment)
        runs.append(subjects.new_run())
    assert runs == sorted(runs)
    assert all(RUN.fullmatch(run) for run in runs)


def test_run_ids_dont_repeat() -> None:
    assert len({subjects.new_run() for _ in range(1000)}) == 1000


@given(st.sampled_from(["", "prod"]), ANY, ANY)
def test_a_namespace_stands_before_every_name(namespace: str, source: str, task: str) -> None:
    names = Names(namespace)
    prefix = f"{namespace}." if namespace else ""
    assert names.ticket(task, "run_1", 7) == f"{prefix}tickets.{subjects.escape(task)}.run_1.7"
    assert names.event(source, "a.b") == f"{prefix}events.{subjects.escape(source)}.a.b"
    assert names.tokens(names.journal("run_1")) == ["journal", "run_1"]
    assert names.tickets_of(task).removesuffix(">") == names.ticket(task, "", 0).removesuffix(".0")
    assert not re.search(r"[.*>\s/\\]", names.consumer_of(task))


def test_streams_of_two_namespaces_are_apart() -> None:
    assert Names("").stream("EVENTS") == "EVENTS"
    assert Names("prod").stream("EVENTS") == "prod_EVENTS"


@given(st.binary(min_size=17, max_size=32))
def test_run_ids_are_the_standard_encoding(digest: bytes) -> None:
    assert subjects._run_id(digest) == "run_" + base64.b32hexencode(digest[:17]).decode().lower()[:26]
