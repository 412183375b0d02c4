"""Run the checker by hand: `python tests/model/run.py [--triples | --large | --seeded]`.

Without an option the scenarios of CI are explored and their sizes printed; `--triples` explores every three
elements with one worker, `--large` what takes too long for CI, each up to a limit of states; `--seeded`
follows one random path for each seed through a random scenario in which nearly everything may happen, for
`--seconds`, beginning with `--seed`, and prints the first that breaks a property.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path
from types import ModuleType

# A library of the development environment installs a package `tests` of its own: this tree's is meant.
sys.modules["tests"] = ModuleType("tests")
sys.modules["tests"].__path__ = [str(Path(__file__).parents[1])]

from tests.model import durable, scenarios  # noqa: E402 - not before that
from tests.model.explore import Model, explore, walk  # noqa: E402 - as above
from tests.model.trace import report  # noqa: E402 - as above

_PROGRESS = 5.0


def main() -> int:
    """Run what the arguments ask for; return 1 where a property was broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    modes = parser.add_mutually_exclusive_group()
    modes.add_argument("--triples", action="store_true")
    modes.add_argument("--large", action="store_true")
    modes.add_argument("--seeded", action="store_true")
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, default=1_000_000)
    arguments = parser.parse_args()
    if arguments.seeded:
        return seeded(arguments.seed, arguments.seconds)
    if arguments.triples:
        return exhaustive(scenarios.TRIPLES, arguments.limit)
    if arguments.large:
        return exhaustive(durable.LARGE, arguments.limit)
    everything = [
        *scenarios.PAIRS,
        *scenarios.PAIRS_OF_TWO,
        *scenarios.SINGLES_OF_TWO,
        *scenarios.EXTRA_PAIRS,
        *scenarios.SPECIALS,
        *durable.PAIRS,
        *durable.TRIPLES,
        *durable.SINGLES,
        *durable.WAITS,
        *durable.JOINS,
        *durable.FAMILIES,
        *durable.HOOKED,
        *durable.FORKED,
    ]
    return exhaustive(everything, arguments.limit)


def exhaustive(chosen: list[scenarios.Scenario], limit: int) -> int:
    """Explore each scenario and print its size."""
    began, states, broken = time.monotonic(), 0, 0
    for scenario in chosen:
        start = time.monotonic()
        findings = explore(Model(scenario), limit=limit)
        states += findings.states
        broken += findings.violation is not None
        print(f"{time.monotonic() - start:7.2f} s  {report(findings)}", flush=True)  # noqa: T201 - it prints
    print(f"{states} states in {time.monotonic() - began:.1f} s, {broken} violations")  # noqa: T201 - it prints
    return 1 if broken else 0


def seeded(seed: int, seconds: float) -> int:
    """Follow random paths, each from a seed of its own, until one breaks a property or time is over."""
    began = shown = time.monotonic()
    first, states, rests = seed, 0, 0
    while (now := time.monotonic()) < began + seconds:
        chance = random.Random(seed)
        together = (scenarios.together, durable.together)[seed % 2]
        findings = walk(Model(together(chance)), chance, length=1000)
        states, rests = states + findings.states, rests + findings.rests
        if findings.violation is not None:
            print(f"seed {seed}: {findings.scenario}\n{report(findings)}")  # noqa: T201 - it prints
            return 1
        seed += 1
        if now > shown + _PROGRESS:
            shown = now
            print(f"seeds {first}-{seed - 1}: {states} states, {rests} paths at rest", flush=True)  # noqa: T201
    print(f"seeds {first}-{seed - 1}: {states} states, {rests} paths at rest, 0 violations")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
