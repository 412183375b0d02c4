"""Children, parents and hooks in small worlds, to the last state."""

from __future__ import annotations

import pytest

from tests.model.durable import FAMILIES, HOOKED, JOINS
from tests.model.exploring import explore_all, name
from tests.model.scenarios import Scenario


@pytest.mark.parametrize("scenario", JOINS, ids=name)
def test_children(scenario: Scenario) -> None:
    explore_all(scenario)


@pytest.mark.parametrize("scenario", FAMILIES, ids=name)
def test_parents_that_are_cancelled_or_reopened(scenario: Scenario) -> None:
    explore_all(scenario)


@pytest.mark.parametrize("scenario", HOOKED, ids=name)
def test_hooks(scenario: Scenario) -> None:
    explore_all(scenario)
