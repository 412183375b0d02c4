"""What every exhaustive test of the model asserts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.model.explore import Model, explore
from tests.model.trace import report

if TYPE_CHECKING:
    from tests.model.scenarios import Scenario


def name(scenario: Scenario) -> str:
    """Return what a test's parameter is called."""
    return scenario.name


def explore_all(scenario: Scenario) -> None:
    """Explore a world to its last state, and find nothing."""
    findings = explore(Model(scenario))
    assert findings.violation is None, report(findings)
    assert findings.complete, report(findings)
    assert findings.rests > 0, "no path comes to rest"
