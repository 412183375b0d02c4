"""Planting a flaw in the protocol, and looking for it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tests.model.broker import Broker
from tests.model.explore import Model, explore
from tests.model.trace import report

if TYPE_CHECKING:
    import pytest

    from tests.model.scenarios import Scenario


@dataclass(frozen=True)
class Plant:
    """A broken rule, the world in which it shows, and how: a broker, or functions put in others' places."""

    name: str
    scenario: Scenario
    violation: str
    broker: type[Broker] = Broker
    module: Any = None
    function: str = ""
    broken: Any = None

    def found(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Check that the checker finds the flaw, and takes it for what it is."""
        if self.function:
            monkeypatch.setattr(self.module, self.function, self.broken)
        findings = explore(Model(self.scenario, self.broker))
        assert findings.violation is not None, f"not found: {report(findings)}"
        assert self.violation in findings.violation, report(findings)


def unexplored(plants: list[Plant], *explored: list[Scenario]) -> list[Scenario]:
    """Return the worlds of plants, each once, but those that other tests explore without the flaw."""
    known = {replace(scenario, name="") for scenarios in explored for scenario in scenarios}
    rest: list[Scenario] = []
    for plant in plants:
        world = replace(plant.scenario, name="")
        if world not in known:
            known.add(world)
            rest.append(plant.scenario)
    return rest
