"""Sleep, news, cancellation, crashes: small worlds to the last state, and random paths through everything."""

from __future__ import annotations

import random

import pytest

from tests.model.durable import PAIRS, SINGLES, TRIPLES, together
from tests.model.explore import Model, walk
from tests.model.exploring import explore_all, name
from tests.model.scenarios import Scenario
from tests.model.trace import report


@pytest.mark.parametrize("scenario", PAIRS, ids=name)
def test_every_pair_of_sleep_signal_cancel_and_crash(scenario: Scenario) -> None:
    explore_all(scenario)


@pytest.mark.parametrize("scenario", TRIPLES, ids=name)
def test_every_three_of_them(scenario: Scenario) -> None:
    explore_all(scenario)


@pytest.mark.parametrize("scenario", SINGLES, ids=name)
def test_each_alone_with_two_workers_and_a_lease_that_runs_out(scenario: Scenario) -> None:
    explore_all(scenario)


@pytest.mark.parametrize("seed", range(200))
def test_everything_together_on_a_few_random_paths(seed: int) -> None:
    chance = random.Random(seed)
    findings = walk(Model(together(chance)), chance, length=1000)
    assert findings.violation is None, report(findings)
