"""Waits in small worlds, to the last state."""

from __future__ import annotations

import pytest

from tests.model.durable import WAITS
from tests.model.exploring import explore_all, name
from tests.model.scenarios import Scenario


@pytest.mark.parametrize("scenario", WAITS, ids=name)
def test_waits(scenario: Scenario) -> None:
    explore_all(scenario)
