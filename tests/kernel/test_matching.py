"""Which events a run's wait takes."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.kernel.envelope import Envelope
from tidemill.kernel.errors import DefinitionError
from tidemill.kernel.matching import EventWait, Occurrence, UndecidedError, check_wait, token_at
from tidemill.kernel.where import compile_where


def occurrence(data: Any, *, event_type: str = "shop.paid", at: float = 100.0, **facts: Any) -> Occurrence:
    return Occurrence({"id": "1", "source": "s", "type": event_type, **facts}, orjson.dumps(data), at)


def wait(**facts: Any) -> EventWait:
    entry = {"run": "r", "box": "event:x", "pattern": "shop.*", "until": None, **facts}
    return EventWait.of(entry, facts.pop("entered_at", 100.0))


@pytest.mark.parametrize(
    ("facts", "data", "taken"),
    [
        ({}, None, True),
        ({"pattern": "shop.sent"}, None, False),
        ({"match": {"order.id": 7}}, {"order": {"id": 7}}, True),
        ({"match": {"order.id": 7}}, {"order": {"id": 7.0}}, True),
        ({"match": {"order.id": 1}}, {"order": {"id": True}}, False),
        ({"match": {"order.id": 7}}, {"order": 7}, False),
        ({"match": {"order.id": None}}, {"order": {}}, False),
        ({"match": {"items.1.name": "b"}}, {"items": [{"name": "a"}, {"name": "b"}]}, True),
        ({"match": {"items.2": 1}}, {"items": [1]}, False),
        ({"match": {"a.b": 1}}, {"a.b": 1}, True),
        ({"match": {"tags": ["x", 1]}}, {"tags": ["x", 1]}, True),
        ({"match": {"tags": [{"a": True}]}}, {"tags": [{"a": 1}]}, False),
        ({"where": "data.total > params.least", "params": {"least": 10}}, {"total": 11}, True),
        ({"where": "data.total > params.least", "params": {"least": 10}}, {"total": 10}, False),
        ({"where": "source == 's'", "match": {"a": 1}}, {"a": 2}, False),
    ],
)
def test_type_values_and_condition_must_fit(facts: dict[str, Any], data: Any, *, taken: bool) -> None:
    assert wait(**facts).takes(occurrence(data)) is taken


@pytest.mark.parametrize(
    ("at", "lookback", "until", "taken"),
    [
        (100.0, 0.0, None, True),
        (99.9, 0.0, None, False),
        (40.0, 60.0, None, True),
        (39.9, 60.0, None, False),
        (200.0, 0.0, 200.0, True),
        (200.1, 0.0, 200.0, False),
    ],
)
def test_times_are_the_brokers_and_both_ends_count(
    at: float, lookback: float, until: float | None, *, taken: bool
) -> None:
    assert wait(lookback=lookback, until=until).takes(occurrence(None, at=at)) is taken


def test_data_that_nobody_asks_for_may_be_anything() -> None:
    event = Occurrence({"id": "1", "source": "s", "type": "shop.paid"}, b"no json", 100.0)
    assert wait().takes(event)
    with pytest.raises(ValueError, match="invalid literal"):
        wait(match={"a": 1}).takes(event)


def test_a_condition_that_fails_says_with_which_clause() -> None:
    with pytest.raises(UndecidedError, match=r"data\.total > 1.*no member 'total'"):
        wait(where="data.total > 1").takes(occurrence({}))


@pytest.mark.parametrize(
    ("pattern", "where", "words"),
    [("shop..x", None, "empty part"), ("shop.*", "data.a ==", "no CEL"), ("shop.*", "date.a == 1", "'data'")],
)
def test_what_can_never_match_is_refused(pattern: str, where: str | None, words: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        check_wait(pattern, where)
    assert words in str(caught.value)


def test_params_exist_for_waits_alone() -> None:
    check_wait("a", "params.x == 1")
    with pytest.raises(DefinitionError, match="unknown variable 'params'"):
        compile_where("params.x == 1")


@given(st.binary(max_size=64))
def test_an_event_travels_as_json_with_any_body(raw: bytes) -> None:
    envelope = Envelope(id="1", source="s", type="t", raw=raw, headers={"a": "b"})
    assert Envelope.from_json(orjson.loads(orjson.dumps(envelope.to_json()))) == envelope


values = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([1.0, 0.0, "1", "", "a"])


@given(values, values)
def test_a_wait_is_found_by_exactly_the_values_that_it_takes(wanted: Any, found: Any) -> None:
    one = wait(match={"a": wanted})
    event = occurrence({"a": found})
    assert one.anchor is not None
    path, token = one.anchor
    assert (token_at(event, path) == token) is one.takes(event)


def test_a_wait_without_a_plain_value_has_no_anchor() -> None:
    assert wait().anchor is None
    assert wait(match={"a": [1], "b": {}}).anchor is None
    assert wait(match={"a": [1], "b": 2}).anchor == ("b", ("number", 2))
    assert token_at(occurrence({}), "a") is None
