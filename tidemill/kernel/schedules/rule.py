"""One schedule of a task as data: part of the task's definition."""

from __future__ import annotations

import hashlib
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from tidemill.kernel.schedules.rhythm import Rhythm, rhythm

Missed = Literal["skip", "once", "all"]
"""What becomes of ticks that passed while nothing could start them: none, the latest one, or all start."""
Overlap = Literal["allow", "skip", "cancel"]
"""What a tick does while its schedule's previous run goes on: start, be left out, or cancel that run."""
_BYTES: Final = 8


class ScheduleRule(BaseModel):
    """When a task's runs start by themselves, and what then counts.

    Attributes:
        id: the schedule's id: the task's for its first schedule, `<task>:<name>` for those with a name.
        expr: the cron expression or interval, as it was written.
        tz: IANA name of the zone whose clock counts.
        missed: what becomes of missed ticks.
        overlap: what becomes of a tick while the previous run goes on.
        spread: seconds over which the starts of different schedules are spread.
        tick: whether the handler is given the tick.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    id: str
    expr: str
    tz: str = "UTC"
    missed: Missed = "once"
    overlap: Overlap = "skip"
    spread: Annotated[float, Field(ge=0)] = 0
    tick: bool = False

    @property
    def rhythm(self) -> Rhythm:
        """The moments that it means.

        Raises:
            DefinitionError: this process doesn't know the expression or the zone.
        """
        return rhythm(self.expr, self.tz)

    @property
    def offset(self) -> float:
        """Seconds from each tick to its start: a part of `spread` that is always the same for this id."""
        digest = hashlib.sha256(self.id.encode("utf-8", "surrogatepass")).digest()
        share = int.from_bytes(digest[:_BYTES], "big") / float(1 << 8 * _BYTES)
        return round(self.spread * share, 3)

    def same_moments(self, other: ScheduleRule) -> bool:
        """Say whether it ticks at the same moments as another one."""
        return (self.expr, self.tz) == (other.expr, other.tz)
