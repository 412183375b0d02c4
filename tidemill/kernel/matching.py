"""Does an event fit what a run waits for: a pattern over its type, values in its data, a condition?"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Final

import orjson

from tidemill.kernel.errors import DefinitionError
from tidemill.kernel.subjects import delivery_key, pattern_problem, type_matches
from tidemill.kernel.where import Broken, Matched, Where, compile_where

if TYPE_CHECKING:
    from collections.abc import Mapping

PARAMS: Final = "params"
"""The variable of a wait's condition that holds what the run has given it."""
_NOTHING: Final = object()
Anchor = tuple[str, tuple[str, object]]


@dataclass(frozen=True)
class Occurrence:
    """A stored event: its attributes, its body, when the broker stored it (seconds since the epoch)."""

    facts: Mapping[str, Any]
    raw: bytes
    at: float

    @property
    def type(self) -> str:
        """The event's type."""
        return str(self.facts.get("type", ""))

    @property
    def key(self) -> str:
        """The delivery's key, by which it is told from others."""
        facts = self.facts
        return str(facts.get("deliverykey") or delivery_key(str(facts["source"]), str(facts["id"])))

    @cached_property
    def data(self) -> Any:
        """The event's data as its parser has read them.

        Raises:
            ValueError: they are no JSON.
        """
        return self.facts["value"] if "value" in self.facts else orjson.loads(self.raw or b"null")


@dataclass(frozen=True)
class EventWait:
    """A run's wait for an event.

    Attributes:
        run: who waits.
        box: the mailbox for it.
        pattern: over the event's type, as a task's `on`.
        where: a condition, or None; `params` are the values of its variable of that name.
        match: paths into the data and the values that must stand there.
        since: events count that were stored at this moment or later, in seconds since the epoch.
        until: nor do those that were stored after this one; None for ever.
    """

    run: str
    box: str
    pattern: str
    since: float
    until: float | None = None
    where: Where | None = None
    params: Mapping[str, Any] | None = None
    match: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, facts: Mapping[str, Any], entered_at: float) -> EventWait:
        """Read an entry of the directory of waits, which was entered at a moment of the broker's clock.

        Raises:
            DefinitionError: its condition or its pattern can't be used.
            KeyError: it is no wait for an event.
        """
        check_wait(facts["pattern"], facts.get("where"))
        return cls(
            run=facts["run"],
            box=facts["box"],
            pattern=facts["pattern"],
            since=entered_at - facts.get("lookback", 0.0),
            until=facts.get("until"),
            where=compile_where(facts["where"], (PARAMS,)) if facts.get("where") else None,
            params=facts.get("params"),
            match=facts.get("match"),
        )

    @property
    def anchor(self) -> Anchor | None:
        """A path and the value that must stand there, by which the wait is found; None where it has none."""
        for path, value in (self.match or {}).items():
            if (token := token_of(value)) is not None:
                return path, token
        return None

    def takes(self, event: Occurrence) -> bool:
        """Say whether an event is what the run waits for.

        Raises:
            ValueError: its data have to be looked at, and are no JSON.
            UndecidedError: the condition can't be decided on it.
        """
        if event.at < self.since or (self.until is not None and event.at > self.until):
            return False
        if not type_matches(self.pattern, event.type):
            return False
        if not all(_same(_at(event.data, path), value) for path, value in (self.match or {}).items()):
            return False
        return self.where is None or self._holds(self.where, event)

    def _holds(self, where: Where, event: Occurrence) -> bool:
        facts = event.facts
        verdict = where.evaluate(
            event.data,
            event.type,
            str(facts.get("source", "")),
            facts.get("subject"),
            facts.get("headers", {}),
            {PARAMS: dict(self.params or {})},
            tenant=facts.get("tenant"),
        )
        if isinstance(verdict, Broken):
            raise UndecidedError(
                f"{verdict.clause!r} can't be decided, looking at {verdict.value!r}: {verdict.reason}"
            )
        return isinstance(verdict, Matched)


class UndecidedError(ValueError):
    """A condition failed on an event."""


@lru_cache(maxsize=256)
def check_wait(pattern: str, where: str | None) -> None:
    """Refuse a wait for an event that can't be matched.

    Raises:
        DefinitionError: pattern or condition can't be used.
    """
    if problem := pattern_problem(pattern):
        raise DefinitionError(f"a wait for {pattern!r}: {problem}", hint="a pattern like github.issues.*")
    if where is not None:
        compile_where(where, (PARAMS,))


def token_at(event: Occurrence, path: str) -> tuple[str, object] | None:
    """Return what tells values at a path of an event's data apart; None where there is none.

    Raises:
        ValueError: the data are no JSON.
    """
    return token_of(_at(event.data, path))


def token_of(value: object) -> tuple[str, object] | None:
    """Return what tells a value from those that aren't the same; None for lists and objects."""
    if isinstance(value, bool):
        return "truth", value
    if isinstance(value, int | float):
        return "number", value
    if isinstance(value, str):
        return "text", value
    return ("null", None) if value is None else None


def _at(data: Any, path: str) -> Any:
    """Return what stands at a path like `issue.labels.0.name`; a member's name may hold the dots itself."""
    if isinstance(data, dict) and path in data:
        return data[path]
    for name in path.split("."):
        if isinstance(data, dict):
            data = data.get(name, _NOTHING)
        elif isinstance(data, list) and name.isascii() and name.isdigit() and int(name) < len(data):
            data = data[int(name)]
        else:
            return _NOTHING
    return data


def _same(found: Any, wanted: Any) -> bool:
    """Say whether two JSON values are equal; truth values are no numbers."""
    if isinstance(found, bool) or isinstance(wanted, bool):
        return found is wanted
    if isinstance(found, list) and isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(_same, found, wanted))
    if isinstance(found, dict) and isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(_same(found[name], wanted[name]) for name in found)
    return bool(found == wanted)
