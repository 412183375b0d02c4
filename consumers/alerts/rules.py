"""Rules as they are decided by: the settings with each kind's defaults filled in."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidemill.kernel.settings.alerts import AlertsSettings, Kind, RuleSettings, Severity


class _Default(NamedTuple):
    """What a kind of rule has where the settings don't say: seconds, or a number, or a share."""

    threshold: float
    window: float = 0.0
    lasting: float = 0.0
    resolved: bool = False


_DEFAULTS: Final[dict[Kind, _Default]] = {
    "run_failed": _Default(1, window=300),
    "failure_rate": _Default(0.25, window=900, resolved=True),
    "queue_age": _Default(600, lasting=60, resolved=True),
    "source_silent": _Default(86_400, resolved=True),
    "quarantine": _Default(1, window=300),
    "drift": _Default(1, window=3600),
    "approval_expiring": _Default(3600),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What is watched, and when and where it is told; all durations are in seconds.

    Attributes:
        name: the configured one.
        kind: what is watched.
        threshold: from which value on it counts.
        window: over which time is counted; 0 for kinds that don't count.
        lasting: how long it must have been so, and be over.
        repeat: after which time it is told again.
        min_runs: below so many ended runs a share says nothing.
        channels: the names of those that are told.
        severity: how bad it is.
        resolved: whether its end is told.
        tasks: patterns of the tasks that it is for; empty for all.
        sources: the same for sources.
    """

    name: str
    kind: Kind
    threshold: float
    window: float = 0.0
    lasting: float = 0.0
    repeat: float = 14_400.0
    min_runs: int = 20
    channels: tuple[str, ...] = ()
    severity: Severity = "warning"
    resolved: bool = False
    tasks: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    def wants_task(self, task: str) -> bool:
        """Say whether it is for a task."""
        return _fits(task, self.tasks)

    def wants_source(self, source: str) -> bool:
        """Say whether it is for a source; one with a tenant is the source's as well."""
        return _fits(source, self.sources) or _fits(source.partition("/")[0], self.sources)

    def facts(self) -> dict[str, Any]:
        """Return what people are shown of it."""
        names = ("name", "kind", "threshold", "window", "lasting", "repeat", "severity", "resolved")
        found: dict[str, Any] = {name: getattr(self, name) for name in names}
        lists = {name: list(getattr(self, name)) for name in ("channels", "tasks", "sources")}
        return found | lists | ({"min_runs": self.min_runs} if self.kind == "failure_rate" else {})


def rules_of(settings: AlertsSettings) -> tuple[Rule, ...]:
    """Return the rules of the settings, by name."""
    channels = tuple(settings.channels)
    return tuple(
        _rule(name, given, settings.repeat, given.channels or channels)
        for name, given in sorted(settings.all_rules().items())
    )


def _rule(name: str, given: RuleSettings, repeat: float, channels: tuple[str, ...]) -> Rule:
    default = _DEFAULTS[given.kind]
    return Rule(
        name=name,
        kind=given.kind,
        threshold=given.threshold if given.threshold is not None else default.threshold,
        window=(given.window or default.window) if default.window else 0.0,
        lasting=given.lasting if given.lasting is not None else default.lasting,
        repeat=given.repeat or repeat,
        min_runs=given.min_runs,
        channels=channels,
        severity=given.severity,
        resolved=given.resolved if given.resolved is not None else default.resolved,
        tasks=given.tasks,
        sources=given.sources,
    )


def _fits(name: str, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatchcase(name, pattern) for pattern in patterns)
