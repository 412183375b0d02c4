"""What is kept of a schedule: what it is, up to where its ticks are decided, and what they have started.

Times are seconds since the epoch, by the broker's clock.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import orjson
from pydantic import ValidationError

from tidemill.kernel.errors import DefinitionError
from tidemill.kernel.schedules.rule import ScheduleRule


@dataclass(frozen=True, slots=True)
class Start:
    """A run that a tick starts: the tick's moment, and that of the one before it."""

    run: str
    at: float
    last: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleState:
    """A schedule's memory.

    Attributes:
        task: the task whose runs it starts.
        rule: the rule in force.
        since: since when the task's version is in force that has it.
        cursor: every tick up to this moment is decided.
        starting: runs that were decided on and may not have been created yet.
        cancelling: runs that were decided to be cancelled and may not have been told yet.
        going: runs of the ticks that were decided last, which may go on; none where they may overlap.
        last: the run that was started last.
        late: seconds that it was started after its tick.
        paused: since when it is paused; None where it isn't.
        removed: since when no definition has it; None where one has.
        started: ticks that started a run.
        missed: ticks that passed without one, because nothing could start it.
        skipped: ticks that were left out because a run went on.
    """

    task: str
    rule: ScheduleRule
    since: float
    cursor: float
    starting: tuple[Start, ...] = ()
    cancelling: tuple[str, ...] = ()
    going: tuple[str, ...] = ()
    last: Start | None = None
    late: float = 0.0
    paused: float | None = None
    removed: float | None = None
    started: int = 0
    missed: int = 0
    skipped: int = 0

    @property
    def id(self) -> str:
        """The schedule's id."""
        return self.rule.id

    @property
    def active(self) -> bool:
        """Whether its ticks start runs."""
        return self.paused is None and self.removed is None

    @property
    def settled(self) -> Self:
        """The same, all that was decided on being done."""
        return replace(self, starting=(), cancelling=())

    def to_json(self) -> bytes:
        """Return it as it is stored."""
        return orjson.dumps(asdict(self) | {"rule": self.rule.model_dump(mode="json")})

    @classmethod
    def from_json(cls, stored: bytes) -> Self:
        """Read it back.

        Raises:
            DefinitionError: it isn't one that this version of the product understands.
        """
        try:
            facts: dict[str, Any] = orjson.loads(stored)
            facts["rule"] = ScheduleRule.model_validate(facts["rule"])
            facts["starting"] = tuple(Start(**start) for start in facts["starting"])
            facts["last"] = Start(**facts["last"]) if facts["last"] is not None else None
            return cls(**facts | {name: tuple(facts[name]) for name in ("cancelling", "going")})
        except (ValidationError, TypeError, KeyError, ValueError) as error:
            raise DefinitionError(
                f"a stored schedule can't be read: {error}",
                hint="it was written by another version: update this process",
            ) from error
