"""Forks in small worlds, to the last state; and broken rules about them, each of which the checker finds."""

from __future__ import annotations

from typing import Any

import pytest

from tests.model import actors, fork_flaws
from tests.model.durable import FORKED
from tests.model.exploring import explore_all, name
from tests.model.plants import Plant
from tests.model.scenarios import Scenario
from tidemill.kernel.protocol import effects, forking

WORLDS = {scenario.name: scenario for scenario in FORKED}


def put(violation: str, world: str, place: tuple[Any, str], broken: Any) -> Plant:
    module, function = place
    name = broken.__name__.replace("_", " ")
    return Plant(name, WORLDS[world], violation, module=module, function=function, broken=broken)


SURVEYED = (forking, "taken_over")
PLANTS = [
    put("a fork has the steps", "forked, crash", (actors, "fork"), fork_flaws.fork_bit_by_bit),
    put("a fork has the steps", "forked, crash", SURVEYED, fork_flaws.all_taken_over),
    put("a fork waits again", "forked behind a sleep", SURVEYED, fork_flaws.without_waits),
    put("a fork has heard", "forked behind a child", SURVEYED, fork_flaws.without_news),
    put(
        "a child is cancelled, and its parent isn't",
        "a fork is cancelled",
        (effects, "unfinished_children"),
        fork_flaws.all_unfinished_children,
    ),
]


@pytest.mark.parametrize("scenario", FORKED, ids=name)
def test_forks(scenario: Scenario) -> None:
    explore_all(scenario)


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name)
def test_a_broken_rule_is_found(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    plant.found(monkeypatch)
