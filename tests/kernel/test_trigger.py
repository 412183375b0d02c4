from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.kernel.errors import PayloadError
from tidemill.kernel.trigger import TriggerRequest, parse_request


def test_options_are_brought_into_their_form() -> None:
    at = datetime(2026, 12, 1, 8, tzinfo=timezone(timedelta(hours=1)))
    request = parse_request("t", b"1", {"idempotency_key": "k", "at": at, "ttl": "1h", "tags": ["a", "b"]})
    assert request == TriggerRequest("t", b"1", "k", None, at, 3600.0, ("a", "b"))
    assert request.options() == {"at": "2026-12-01T07:00:00Z", "ttl": 3600.0, "tags": ["a", "b"]}
    assert parse_request("t", b"1", {}).options() == {}


INSTANTS = st.integers(0, 10**11).map(lambda milliseconds: datetime.fromtimestamp(milliseconds / 1000, UTC))
OPTIONS = st.one_of(
    st.fixed_dictionaries({}, optional={"delay": st.floats(0, 1e6), "ttl": st.floats(1, 1e6)}),
    st.fixed_dictionaries(
        {}, optional={"at": INSTANTS, "tags": st.lists(st.text(min_size=1, max_size=20), max_size=5)}
    ),
)


@given(OPTIONS)
def test_options_survive_the_journey_through_json(options: dict[str, Any]) -> None:
    request = parse_request("t", b"null", options)
    assert parse_request("t", b"null", orjson.loads(orjson.dumps(request.options()))) == request


@pytest.mark.parametrize(
    ("options", "told", "hint"),
    [
        ({"delai": 5}, "options.delai: trigger has no such option", "did you mean 'delay'?"),
        ({"priority": 5}, "options.priority: trigger has no such option", "there are idempotency_key"),
        ({"delay": 1, "at": datetime.now(UTC)}, "options.at: delay is given too", "in one way"),
        ({"delay": -1}, "options.delay: -1 is no duration", "write seconds"),
        ({"delay": "soon"}, "options.delay: 'soon' is no duration", "write seconds"),
        ({"delay": []}, "options.delay: [] is no duration", "write seconds"),
        ({"delay": True}, "options.delay: True is no duration", "write seconds"),
        ({"ttl": True}, "options.ttl: True is no duration", "write seconds"),
        ({"delay": 1e300}, "options.delay: 1e+300 is no duration", "write seconds"),
        ({"ttl": 0}, "options.ttl: 0 is no duration", "write seconds"),
        ({"at": datetime(2026, 1, 1)}, "is no instant", "with a time zone"),  # noqa: DTZ001 - the point
        ({"at": "2026-01-01T00:00:00"}, "is no instant", "with a time zone"),
        ({"at": "2300-01-01T00:00:00Z"}, "is no instant", "a hundred years"),
        ({"at": "0001-01-01T00:00:00+23:59"}, "is no instant", "a hundred years"),
        ({"at": "9999-12-31T23:59:59-23:59"}, "is no instant", "a hundred years"),
        ({"at": "tomorrow"}, "is no instant", "with a time zone"),
        ({"idempotency_key": ""}, "'' is no key", "1 to 255"),
        ({"idempotency_key": "x" * 256}, "is no key", "1 to 255"),
        ({"idempotency_key": 5}, "5 is no key", "1 to 255"),
        ({"tags": "nightly"}, "options.tags: 'nightly' is no list", "like ['nightly']"),
        ({"tags": ["a", 7]}, "options.tags[1]: int is no text", "like ['nightly']"),
        ({"tags": [object]}, "options.tags[0]: type is no text", "like ['nightly']"),
        ({"tags": [""]}, "options.tags: [''] is no list", "like ['nightly']"),
        ({"tags": ["x"] * 33}, "is no list of tags", "up to 32"),
    ],
)
def test_a_bad_option_is_named(options: dict[str, Any], told: str, hint: str) -> None:
    with pytest.raises(PayloadError) as caught:
        parse_request("t", b"null", options)
    assert told in caught.value.sentence
    assert hint in caught.value.hint
