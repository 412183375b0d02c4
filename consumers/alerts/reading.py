"""From counts to readings: what the rules that count have counted, and of which things."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Final

from consumers.alerts.counter import Counter
from consumers.alerts.decide import Reading
from consumers.alerts.state import MOST_EXAMPLES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from consumers.alerts.rules import Rule
    from consumers.alerts.state import AlertState, Example

MOST_KEYS: Final = 250
"""Things that one rule counts apart; what comes beside them is counted as one."""
REST: Final = "(all others)"
FOUND: Final = "found"
ENDED: Final = "ended"
FAILED: Final = "failed"


class Tally:
    """What has come since the last look, of one kind."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = defaultdict(int)
        self.paths: dict[str, str] = {}
        self.examples: dict[str, list[Example]] = defaultdict(list)

    def add(self, key: str, number: int = 1, *, path: str = "", example: Example | None = None) -> None:
        """Count something."""
        self.numbers[key] += number
        self.paths[key] = path
        if example is not None:
            self.examples[key] = [*self.examples[key], example][-MOST_EXAMPLES:]

    def wants_example(self, key: str) -> bool:
        """Say whether one more example would be of use."""
        return len(self.examples[key]) < MOST_EXAMPLES


def counted(state: AlertState, rule: Rule, tally: Tally, now: float) -> dict[str, Reading]:
    """Count what has come for a rule of failures, quarantine or drift, and return its readings."""
    counters = state.counts.setdefault(rule.name, {})
    fresh: dict[str, int] = defaultdict(int)
    for key, number in tally.numbers.items():
        if _wants(rule, key):
            known = _room(counters, key)
            fresh[known] += number
            counters.setdefault(known, {}).setdefault(FOUND, Counter()).add(number, now, rule.window)
    readings: dict[str, Reading] = {}
    for key in list(counters):
        found = counters[key][FOUND].sum(now, rule.window)
        if not found:
            del counters[key]
            continue
        examples = tuple(reversed(tally.examples.get(key, ())))
        path = tally.paths.get(key) or _path(state, rule, key)
        readings[key] = Reading(found >= rule.threshold, found, fresh[key], examples, path)
    return readings


def shares(
    state: AlertState, rule: Rule, ended: Mapping[str, int], failed: Mapping[str, int], now: float
) -> dict[str, Reading]:
    """Count ends and failures for a rule of failures' share, and return its readings."""
    counters = state.counts.setdefault(rule.name, {})
    for what, numbers in ((ENDED, ended), (FAILED, failed)):
        for task, number in numbers.items():
            if rule.wants_task(task):
                known = counters.setdefault(_room(counters, task), {})
                known.setdefault(what, Counter()).add(number, now, rule.window)
    readings: dict[str, Reading] = {}
    for task in list(counters):
        sums = {what: one.sum(now, rule.window) for what, one in counters[task].items()}
        bad = sums.get(FAILED, 0)
        number = max(sums.get(ENDED, 0), bad)
        if not number:
            del counters[task]
            continue
        share = bad / number
        breached = number >= rule.min_runs and share >= rule.threshold
        readings[task] = Reading(breached, share, path=_path(state, rule, task))
    return readings


def silences_of(state: AlertState, rule: Rule, sources: Iterable[str], now: float) -> dict[str, Reading]:
    """Return for how long each source wasn't heard of; one that is new is heard of now."""
    readings = {}
    for source in sources:
        if rule.wants_source(source):
            since = now - state.heard.setdefault(source, now)
            readings[source] = Reading(since >= rule.threshold, since, path="/deliveries")
    return readings


def _wants(rule: Rule, key: str) -> bool:
    """Say whether a rule that counts is for a task, for a source, or for a source's type."""
    if rule.kind == "run_failed":
        return rule.wants_task(key)
    return rule.wants_source(key.partition(" ")[0] if rule.kind == "drift" else key)


def _room(counters: Mapping[str, object], key: str) -> str:
    """Return by which key something is counted: the last ones share one."""
    return key if key in counters or len(counters) < MOST_KEYS else REST


def _path(state: AlertState, rule: Rule, key: str) -> str:
    known = (alert.path for alert in state.alerts if alert.rule == rule.name and alert.key == key)
    return next(known, "")
