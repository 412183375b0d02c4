"""Ticks for tests of tasks that have a schedule."""

from __future__ import annotations

from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING, Any

from tidemill.kernel import clock
from tidemill.kernel.errors import DefinitionError
from tidemill.schedule import Tick

if TYPE_CHECKING:
    from tidemill.kernel.schedules.rule import ScheduleRule
    from tidemill.task import FnTask


def tick(
    task: FnTask[Any, Any, Any, Any], *, schedule: str | None = None, at: datetime | None = None
) -> Tick:
    """Return the tick that a task's schedule has next, as its run gets it.

    Args:
        task: a task with a schedule.
        schedule: the schedule's id, where the task has several; the first by default.
        at: the moment from which on the next one is looked for, with a time zone; now by default.

    Raises:
        DefinitionError: the task has no such schedule, or `at` has no time zone.
    """
    rule = _rule(task, schedule)
    if at is not None and at.utcoffset() is None:
        raise DefinitionError(f"at={at!r} has no time zone", hint="write datetime(…, tzinfo=UTC)")
    begin = (at or clock.now()).timestamp()
    found = next(islice(rule.rhythm.after(begin), 1), None)
    if found is None:
        raise DefinitionError(f"{rule.id} doesn't tick any more", hint="begin earlier with at=")
    zone = rule.rhythm.zone
    return Tick(scheduled_at=datetime.fromtimestamp(found, zone), last_at=None, schedule=rule.id)


def _rule(task: FnTask[Any, Any, Any, Any], schedule: str | None) -> ScheduleRule:
    rules = task.definition.schedules
    for rule in rules:
        if schedule in (None, rule.id):
            return rule
    known = ", ".join(rule.id for rule in rules)
    raise DefinitionError(
        f"task {task.id!r} has no schedule {schedule!r}" if schedule else f"task {task.id!r} has no schedule",
        hint=f"it has {known}" if known else "give it schedule=Cron(…)",
    )
