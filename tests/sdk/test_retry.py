from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.kernel.backoff import delay
from tidemill.kernel.errors import DefinitionError
from tidemill.retry import Abort, Retry, RetryAfter

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"max_attempts": 0}, "max_attempts is 0"),
        ({"max_attempts": True}, "max_attempts is True"),
        ({"max_attempts": 2.0}, "max_attempts is 2.0"),
        ({"max_attempts": 10**30}, "max_attempts is 1000000000000000000000000000000"),
        ({"factor": 0.5}, "factor is 0.5"),
        ({"factor": float("nan")}, "factor is nan"),
        ({"min_delay": -1}, "min_delay: -1 is no duration"),
        ({"max_delay": "soon"}, "max_delay: 'soon' is no duration"),
        ({"max_delay": None}, "max_delay: None is no duration"),
        ({"max_delay": 1e12}, "max_delay: 1000000000000.0 is no duration"),
        ({"min_delay": 90, "max_delay": "1m"}, "min_delay is longer than max_delay"),
        ({"jitter": 0.5}, "jitter is 0.5"),
        ({"on": ValueError}, "on is <class 'ValueError'>"),
        ({"never_on": (KeyboardInterrupt,)}, "never_on is"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused_where_it_is_written(
    fields: dict[str, Any], told: str
) -> None:
    with pytest.raises(DefinitionError) as caught:
        Retry(**fields)
    assert f"{__file__}:" in caught.value.sentence
    assert told in caught.value.sentence
    assert caught.value.hint


POLICIES = st.builds(
    Retry,
    max_attempts=st.integers(1, 30),
    factor=st.floats(1, 8),
    min_delay=st.floats(0, 30).map(lambda number: timedelta(seconds=number)),
    max_delay=st.floats(30, 3600),
    jitter=st.booleans(),
)


@given(POLICIES, st.floats(0, 1))
def test_the_policy_carries_the_numbers_and_keeps_delays_between_its_bounds(
    retry: Retry, spread: float
) -> None:
    policy = retry.policy
    assert (policy.max_attempts, policy.jitter) == (retry.max_attempts, retry.jitter)
    numbers = {"factor": policy.factor, "min_delay": policy.min_delay, "max_delay": policy.max_delay}
    bare = [delay(n, **numbers, jitter=None) for n in range(1, policy.max_attempts + 1)]
    spread_out = [delay(n, **numbers, jitter=spread) for n in range(1, policy.max_attempts + 1)]
    assert bare == sorted(bare)
    assert all(one / 2 <= two <= one <= policy.max_delay for one, two in zip(bare, spread_out, strict=True))


class OwnError(ValueError):
    pass


@pytest.mark.parametrize(
    ("retry", "error", "applies"),
    [
        (Retry(), ValueError(), True),
        (Retry(on=(ValueError,)), OwnError(), True),
        (Retry(on=(ValueError,)), KeyError(), False),
        (Retry(never_on=(ValueError,)), OwnError(), False),
        (Retry(never_on=(ValueError,)), KeyError(), True),
        (Retry(on=(OwnError,), never_on=(ValueError,)), OwnError(), False),
        (Retry(on=()), ValueError(), False),
        (Retry(), Abort("no"), False),
        (Retry(on=(Abort,)), Abort("no"), False),
        (Retry(on=(), never_on=(Exception,)), RetryAfter(5), True),
        (Retry(), asyncio.CancelledError(), False),
        (Retry(), KeyboardInterrupt(), False),
    ],
)
def test_which_errors_a_policy_applies_to(retry: Retry, error: BaseException, applies: object) -> None:
    assert retry.applies_to(error) is applies


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        (90, 90.0),
        ("5m", 300.0),
        (timedelta(hours=1), 3600.0),
        (NOW + timedelta(seconds=30), 30.0),
        (NOW - timedelta(seconds=30), 0.0),
    ],
)
def test_a_handler_says_when_it_wants_to_be_tried_again(asked: Any, seconds: float) -> None:
    signal = RetryAfter(asked, "rate limited")
    assert signal.seconds_from(NOW) == seconds
    assert (signal.reason, str(signal)) == ("rate limited", "rate limited")
    assert str(asked) in str(RetryAfter(asked))


@pytest.mark.parametrize(
    "asked",
    [datetime(2026, 1, 1), "later", -5, None, 1e300, datetime(2300, 1, 1, tzinfo=UTC)],  # noqa: DTZ001 - the point
)
def test_a_moment_that_cannot_be_meant_is_refused(asked: Any) -> None:
    with pytest.raises(DefinitionError, match="RetryAfter: "):
        RetryAfter(asked)
