"""Small worlds, explored to the last state: none of the protocol's properties is ever broken."""

from __future__ import annotations

import random

import pytest

from tests.model.explore import Model, walk
from tests.model.exploring import explore_all, name
from tests.model.scenarios import (
    EXTRA_PAIRS,
    PAIRS,
    PAIRS_OF_TWO,
    SINGLES_OF_TWO,
    SPECIALS,
    Scenario,
    together,
)
from tests.model.trace import report


@pytest.mark.parametrize("scenario", PAIRS, ids=name)
def test_every_pair_with_one_worker(scenario: Scenario) -> None:
    explore_all(scenario)


@pytest.mark.parametrize("scenario", SINGLES_OF_TWO, ids=name)
def test_everything_alone_with_two_workers(scenario: Scenario) -> None:
    explore_all(scenario)


@pytest.mark.parametrize("scenario", PAIRS_OF_TWO, ids=name)
def test_every_pair_with_two_workers(scenario: Scenario) -> None:
    explore_all(scenario)


@pytest.mark.parametrize("scenario", EXTRA_PAIRS, ids=name)
def test_what_the_broker_does_beyond_that(scenario: Scenario) -> None:
    explore_all(scenario)


@pytest.mark.parametrize("scenario", SPECIALS, ids=name)
def test_special_worlds(scenario: Scenario) -> None:
    explore_all(scenario)


@pytest.mark.parametrize("seed", range(100))
def test_everything_together_on_a_few_random_paths(seed: int) -> None:
    chance = random.Random(seed)
    findings = walk(Model(together(chance)), chance)
    assert findings.violation is None, report(findings)
