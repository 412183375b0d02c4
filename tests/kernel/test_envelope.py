"""The event envelope on its way through the broker."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tidemill.kernel.envelope import Envelope
from tidemill.kernel.errors import PayloadError
from tidemill.kernel.frames import pack

TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]))
NAME = TEXT.filter(bool)
EXTENSION = TEXT | st.integers(-(2**31), 2**31 - 1) | st.booleans()
JSON = st.recursive(st.booleans() | st.integers(-(2**53), 2**53) | TEXT, st.lists) | st.dictionaries(
    TEXT, TEXT
)
ZONES = st.sampled_from([UTC, timezone(timedelta(hours=-3, minutes=-30)), timezone(timedelta(hours=14))])
ENVELOPES = st.builds(
    Envelope,
    id=NAME,
    source=NAME,
    type=NAME,
    subject=st.none() | TEXT,
    time=st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=ZONES),  # noqa: DTZ001 - bounds are naive
    dataschema=st.none() | TEXT,
    deliverykey=TEXT,
    traceparent=st.none() | TEXT,
    replayof=st.none() | NAME,
    extensions=st.dictionaries(NAME, EXTENSION),
    headers=st.dictionaries(NAME, TEXT),
    value=st.none() | JSON,
    raw=st.binary(),
)


def envelope(**changes: Any) -> Envelope:
    return Envelope.model_validate({"id": "1", "source": "github", "type": "github.push"} | changes)


@given(ENVELOPES)
def test_an_event_comes_back_from_its_frame(event: Envelope) -> None:
    back = Envelope.from_frame(event.to_frame())
    assert back == event
    assert back.raw == event.raw
    assert {key: type(value) for key, value in back.extensions.items()} == {
        key: type(value) for key, value in event.extensions.items()
    }


@given(ENVELOPES)
def test_sound_attributes_make_the_event_that_validated_ones_make(event: Envelope) -> None:
    facts = {name: value for name, value in dict(event).items() if name in event.model_fields_set}
    made = Envelope.sound(facts)
    assert made == event
    assert made.to_frame() == event.to_frame()
    assert made.model_copy(update={"id": "2"}).id == "2"
    assert made.model_dump() == event.model_dump()


def test_events_share_no_containers() -> None:
    facts = {"id": "1", "source": "s", "type": "t", "time": datetime.now(UTC)}
    one, other = Envelope.sound(facts), Envelope.sound(facts)
    one.headers["x"] = one.extensions["y"] = "1"
    assert (other.headers, other.extensions, Envelope.sound(facts).headers) == ({}, {}, {})


@given(st.binary())
def test_any_bytes_are_an_event_or_refused(frame: bytes) -> None:
    with pytest.raises((PayloadError, ValidationError)):
        Envelope.from_frame(frame)


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"id": "", "source": "a", "type": "b"},
        {"id": "1", "source": "a", "type": "b", "surprise": 1},
        {"id": "1", "source": "a", "type": "b", "time": "2026-11-22T10:00:00"},
        {"id": "1", "source": "a", "type": "b", "specversion": "0.3"},
    ],
)
def test_a_frame_that_is_no_event_is_refused(facts: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Envelope.from_frame(pack(facts))


def test_a_frames_bytes_are_its_body_whatever_its_line_says() -> None:
    facts = envelope().facts() | {"raw": "other"}
    assert Envelope.from_frame(pack(facts, b"body")).raw == b"body"


def test_data_is_the_value_or_the_body() -> None:
    assert envelope(raw=b'{"a": 1}').data == {"a": 1}
    assert envelope(raw=b"a=1", value={"a": "1"}).data == {"a": "1"}
    assert envelope(raw=b"a", value=False).data is False
    assert envelope().data is None


def test_facts_hold_what_was_set_and_what_the_specification_asks_for() -> None:
    assert set(envelope().facts()) == {"id", "source", "type", "specversion", "time"}


def test_an_event_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        envelope().id = "2"  # type: ignore[misc] # what is tested
