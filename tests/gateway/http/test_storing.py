"""Whether the broker stores: what a failure means, for how long, and what ends it."""

from __future__ import annotations

import pytest

from gateway.storing import TRIAL_SECONDS, Storing
from tests.clock import Clock
from tidemill.kernel.errors import BrokerError, BrokerUnavailableError
from tidemill.kernel.jetstream.messages import TOO_LARGE


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_nothing_is_wrong_before_anything_has_failed(clock: Clock) -> None:
    assert Storing(monotonic=clock).problem is None


def test_a_failure_stays_until_something_is_stored(clock: Clock) -> None:
    storing = Storing(monotonic=clock)
    storing.failed(BrokerUnavailableError("no answer in time", hint="wait"))
    assert storing.problem == "no answer in time"
    storing.succeeded()
    assert storing.problem is None


def test_it_is_tried_now_and_then_by_one_of_those_who_ask(clock: Clock) -> None:
    storing = Storing(monotonic=clock)
    assert not storing.trial_due()
    storing.failed(BrokerError("the disk is full"))
    for _ in range(2):
        clock.now += TRIAL_SECONDS - 0.1
        assert not storing.trial_due()
        clock.now += 0.1
        assert storing.trial_due()
        assert storing.problem == "the disk is full"
    storing.succeeded()
    clock.now += TRIAL_SECONDS
    assert not storing.trial_due()


def test_what_lies_in_the_delivery_itself_says_nothing_about_the_broker(clock: Clock) -> None:
    storing = Storing(monotonic=clock)
    storing.failed(BrokerError("2 MiB are too many", code=TOO_LARGE))
    assert storing.problem is None
