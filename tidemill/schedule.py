"""When a task's runs start by themselves: `Cron`, and the `Tick` that such a run gets."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, get_args

from tidemill.event import Event
from tidemill.kernel.clock import Duration, seconds
from tidemill.kernel.errors import DefinitionError, PayloadError
from tidemill.kernel.schedules.rhythm import rhythm
from tidemill.kernel.schedules.rule import Missed, Overlap, ScheduleRule
from tidemill.retry import duration
from tidemill.source import calling_place

if TYPE_CHECKING:
    from tidemill.kernel.codec import Codec
    from tidemill.kernel.definition import Takes
    from tidemill.source import Place

_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
MOST_SCHEDULES: Final = 100
"""How many schedules a task may have."""


@dataclass(frozen=True)
class Cron:
    """A schedule of a task.

    Attributes:
        expr: five fields (minute, hour, day of the month, month, day of the week), six with the second first,
            a name like `@daily`, or an interval like `@every 5m`.
        tz: IANA name of the time zone whose clock counts.
        missed: which ticks start that passed while nothing could start them, or while the schedule was
            paused: none (`skip`), the latest (`once`), or the latest hundred (`all`).
        overlap: what a tick does while the schedule's previous run goes on: starts all the same (`allow`),
            is left out (`skip`), or cancels that run and starts (`cancel`).
        name: tells the schedules of a task apart, and keeps what is known of one when another is added.
        spread: over how long the starts of schedules that tick at the same moment are spread.
    """

    expr: str
    tz: str = "UTC"
    missed: Missed = "once"
    overlap: Overlap = "skip"
    name: str | None = None
    spread: Duration = 0

    def __post_init__(self) -> None:
        """Check the schedule.

        Raises:
            DefinitionError: the expression, the zone or another field can't be used; the error names file and
                line, and what is wrong.
        """
        place = calling_place()
        for field in ("expr", "tz"):
            if not isinstance(getattr(self, field), str):
                raise place.problem(
                    f"Cron: {field}={getattr(self, field)!r} is no text",
                    hint='write Cron("0 3 * * *", tz="UTC")',
                )
        try:
            first = next(rhythm(self.expr, self.tz).after(0), None)
        except DefinitionError as error:
            raise place.problem(f"Cron: {error.sentence}", hint=error.hint) from None
        if first is None:
            raise place.problem(f"Cron: {self.expr!r} never comes true", hint="loosen one of its fields")
        _check_word(place, "missed", self.missed, get_args(Missed))
        _check_word(place, "overlap", self.overlap, get_args(Overlap))
        _check_name(place, self.name)
        duration("spread", self.spread)

    def rule(self, schedule: str, *, tick: bool) -> ScheduleRule:
        """Return it as data."""
        return ScheduleRule(
            id=schedule,
            expr=self.expr,
            tz=self.tz,
            missed=self.missed,
            overlap=self.overlap,
            spread=seconds(self.spread),
            tick=tick,
        )


@dataclass(frozen=True)
class Tick:
    """Why a run of a schedule was started.

    Attributes:
        scheduled_at: the moment that the schedule meant, in its zone; when somebody started the run by hand,
            that moment.
        last_at: the tick before it that started a run; None for the first.
        schedule: the schedule's id.
    """

    scheduled_at: datetime
    last_at: datetime | None
    schedule: str


def parse_schedules(place: Place, value: object) -> tuple[Cron, ...]:
    """Read the option `schedule`.

    Raises:
        DefinitionError: it is neither a `Cron` nor a list of some.
    """
    found = (value,) if isinstance(value, Cron) else value
    if not isinstance(found, Sequence) or not all(isinstance(one, Cron) for one in found):
        raise place.problem(
            f"schedule={value!r} is no schedule", hint='write schedule=Cron("0 3 * * *"), or a list of some'
        )
    if len(found) > MOST_SCHEDULES:
        raise place.problem(f"schedule: {len(found)} are too many", hint=f"{MOST_SCHEDULES} at most")
    return tuple(found)


def rules(
    task: str, schedules: Sequence[Cron], takes: Takes, payload: Codec[Any], place: Place
) -> tuple[ScheduleRule, ...]:
    """Return a task's schedules as data, once the handler can be called by them.

    Raises:
        DefinitionError: two have the same id, or the handler needs a payload that no schedule has.
    """
    if not schedules:
        return ()
    tick = _wants_tick(payload.annotation)
    if takes != "none" and not tick:
        _check_payload(takes, payload, place)
    found: list[ScheduleRule] = []
    for number, cron in enumerate(schedules, start=1):
        name = cron.name or (str(number) if number > 1 else "")
        found.append(cron.rule(f"{task}:{name}" if name else task, tick=tick))
    ids = [rule.id for rule in found]
    for schedule in ids:
        if ids.count(schedule) > 1:
            raise place.problem(f"schedule: {schedule!r} is there twice", hint="give them different names")
    return tuple(found)


def _check_payload(takes: Takes, payload: Codec[Any], place: Place) -> None:
    hint = "write tick: Tick as the first parameter, or take no payload"
    if payload.annotation is Any and takes == "payload":
        raise place.problem("a schedule has no payload, and the first parameter isn't annotated", hint=hint)
    try:
        payload.decode(b"null")
    except PayloadError:
        raise place.problem(
            "a schedule has no payload for the first parameter, which isn't optional", hint=hint
        ) from None


def _wants_tick(annotation: Any) -> bool:
    if annotation is Tick:
        return True
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, typing.Annotated, Event):
        return any(_wants_tick(part) for part in get_args(annotation))
    return False


def _check_name(place: Place, name: object) -> None:
    if name is not None and not (isinstance(name, str) and _NAME.fullmatch(name)):
        raise place.problem(f"Cron: name={name!r} is none", hint="1 to 64 letters, digits, '_' or '-'")


def _check_word(place: Place, field: str, value: object, words: tuple[str, ...]) -> None:
    if value not in words:
        raise place.problem(f"Cron: {field}={value!r} is none", hint=f"it is {', '.join(map(repr, words))}")
