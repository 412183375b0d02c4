"""How all schedules are, in numbers."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidemill.kernel.errors import DefinitionError
from tidemill.kernel.schedules.decide import wake
from tidemill.kernel.schedules.state import ScheduleState

if TYPE_CHECKING:
    from tidemill.kernel.jetstream.buckets import Bucket


@dataclass(frozen=True, slots=True)
class Ticking:
    """All schedules together.

    Attributes:
        active: how many tick.
        paused: how many are paused.
        started: ticks that have started a run.
        missed: ticks that passed without one.
        skipped: ticks that were left out because a run went on.
        late: seconds after its tick that the latest start of a schedule came, at most.
        overdue: seconds for which a tick that is due hasn't been looked at, at most.
        next: when the next tick of any of them is due, in seconds since the epoch; None where none is.
        first: the schedule whose tick that is.
    """

    active: int = 0
    paused: int = 0
    started: int = 0
    missed: int = 0
    skipped: int = 0
    late: float = 0.0
    overdue: float = 0.0
    next: float | None = None
    first: str = ""


async def ticking(bucket: Bucket) -> Ticking:
    """Return how the schedules of a bucket are.

    Raises:
        BrokerError: it can't be read.
    """
    states = []
    for stored in (await bucket.items()).values():
        with contextlib.suppress(DefinitionError):  # another version's: its processes tell of it
            states.append(ScheduleState.from_json(stored))
    active = [state for state in states if state.active]
    dues = [(due, state.id) for state in active if (due := _due(state)) is not None]
    upcoming, first = min(dues, default=(None, ""))
    return Ticking(
        active=len(active),
        paused=sum(state.paused is not None and state.removed is None for state in states),
        started=sum(state.started for state in states),
        missed=sum(state.missed for state in states),
        skipped=sum(state.skipped for state in states),
        late=max((state.late for state in active), default=0.0),
        overdue=max(0.0, time.time() - upcoming) if upcoming is not None else 0.0,
        next=upcoming,
        first=first,
    )


def _due(state: ScheduleState) -> float | None:
    """Return when a schedule is looked at next, None where this process can't read its rule."""
    with contextlib.suppress(DefinitionError):
        return wake(state)
    return None
