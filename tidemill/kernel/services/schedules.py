"""Schedules from the outside: list, show, pause, resume and trigger them. API and command line share it."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, Literal

from tidemill.kernel.errors import ConflictError, DefinitionError, NotFoundError
from tidemill.kernel.schedules.decide import Wanted, adopt, run_now, wake
from tidemill.kernel.schedules.look import carry_out
from tidemill.kernel.schedules.state import ScheduleState
from tidemill.kernel.services.broker_clock import BrokerClock
from tidemill.kernel.services.schedule_performer import SchedulePerformer
from tidemill.kernel.subjects import escape, new_run, unescape

if TYPE_CHECKING:
    from tidemill.kernel.services.broker import Broker
    from tidemill.kernel.services.registry import Definitions

UPCOMING: Final = 5
"""How many of the next ticks are shown."""
ScheduleVerb = Literal["pause", "resume", "trigger"]
_TRIES: Final = 20


@dataclass(frozen=True, slots=True)
class ScheduleView:
    """A schedule as it stands.

    Attributes:
        state: what is known of it.
        now: the broker's time.
        next: its next ticks, whether it is paused or not; in seconds since 1970.
        problem: what keeps it from ticking; empty where nothing does.
    """

    state: ScheduleState
    now: float
    next: tuple[int, ...] = ()
    problem: str = ""

    @property
    def overdue(self) -> float:
        """Seconds since its next look was due; 0 where it isn't."""
        if self.problem or not self.state.active:
            return 0.0
        due = wake(self.state)
        return max(0.0, self.now - due) if due is not None else 0.0

    def local(self, moment: float) -> str:
        """Return a moment as the schedule's zone shows it, with its distance from UTC."""
        zone = UTC if self.problem else self.state.rule.rhythm.zone
        return datetime.fromtimestamp(moment, zone).isoformat(timespec="seconds")

    def facts(self) -> dict[str, Any]:
        """Return it as a JSON document; instants are in the schedule's zone."""
        state, rule = self.state, self.state.rule
        last = state.last
        return {
            "id": state.id,
            "task": state.task,
            "expr": rule.expr,
            "tz": rule.tz,
            "missed": rule.missed,
            "overlap": rule.overlap,
            "spread": rule.spread,
            "paused": self.local(state.paused) if state.paused is not None else None,
            "next": [self.local(tick) for tick in self.next],
            "last": None
            if last is None
            else {"at": self.local(last.at), "run_id": last.run, "late": round(state.late, 3)},
            "started": state.started,
            "missed_ticks": state.missed,
            "skipped_ticks": state.skipped,
            "overdue": round(self.overdue, 3),
            "problem": self.problem or None,
        }


class Schedules:
    """Everything that may be asked about schedules, or done to them."""

    def __init__(self, broker: Broker, definitions: Definitions) -> None:
        self._broker = broker
        self._definitions = definitions
        self._performer = SchedulePerformer(broker, definitions)
        self._clock = BrokerClock(broker.bus, broker.names.stream("TICKS"))

    async def list(self) -> list[ScheduleView]:
        """Return all schedules, by their ids.

        Raises:
            BrokerError: they can't be read.
        """
        await self._definitions.refresh()
        now = await self._clock.now()
        stored = {unescape(key): value for key, value in (await self._broker.schedules.items()).items()}
        wanted = self._definitions.schedules()
        found = [
            self._view(name, stored.get(name), wanted.get(name), now)
            for name in stored.keys() | wanted.keys()
        ]
        return sorted((view for view in found if view is not None), key=lambda view: view.state.id)

    async def get(self, schedule: str) -> ScheduleView:
        """Return one schedule.

        Raises:
            NotFoundError: there is none of that id; the hint suggests the nearest.
            BrokerError: it can't be read.
        """
        await self._definitions.refresh()
        stored = await self._broker.schedules.get(escape(schedule))
        wanted = self._definitions.schedules().get(schedule)
        view = self._view(schedule, stored.value if stored else None, wanted, await self._clock.now())
        if view is None:
            near = difflib.get_close_matches(schedule, self._definitions.schedules(), n=3)
            hint = f"did you mean {', '.join(near)}?" if near else "`tidemill schedules list` names them"
            raise NotFoundError(f"there is no schedule {schedule!r}", hint=hint)
        return view

    async def tell(self, schedule: str, verb: ScheduleVerb) -> dict[str, Any]:
        """Do one of the things that can be done to a schedule, and return its document or its new run.

        Raises:
            NotFoundError: there is no such schedule.
            ConflictError: this process can't read it, or others change it all the time.
            BrokerError: it wasn't done, or it is unknown whether it was.
        """
        if verb == "trigger":
            return {"schedule": schedule, "run_id": await self.trigger(schedule)}
        return (await (self.pause if verb == "pause" else self.resume)(schedule)).facts()

    async def pause(self, schedule: str) -> ScheduleView:
        """Let no tick start a run until it is resumed; runs that go on are left alone."""
        return await self._change(
            schedule, lambda state, now: state if state.paused is not None else replace(state, paused=now)
        )

    async def resume(self, schedule: str) -> ScheduleView:
        """Let ticks start runs again; what was due meanwhile follows the schedule's `missed`."""
        view = await self._change(schedule, lambda state, _: replace(state, paused=None))
        await self._performer.plan(schedule)
        return view

    async def trigger(self, schedule: str) -> str:
        """Start a run now, as if a tick had come, also while it is paused; return the run's id."""
        run = new_run()
        view = await self._change(schedule, lambda state, now: run_now(state, run, now))
        # It is decided and stored: whatever happens to this process, the scheduler carries it out too.
        await self._performer.plan(schedule)
        await self._performer.run(carry_out(replace(view.state, cancelling=())))
        return run

    async def _change(
        self, schedule: str, change: Callable[[ScheduleState, float], ScheduleState]
    ) -> ScheduleView:
        for _ in range(_TRIES):
            view = await self.get(schedule)
            if view.problem:
                raise ConflictError(
                    f"{schedule} can't be changed: {view.problem}", hint="update the process that you asked"
                )
            stored = await self._broker.schedules.get(escape(schedule))
            before = ScheduleState.from_json(stored.value) if stored else None
            wanted = self._definitions.schedules().get(schedule)
            state = (adopt(before, wanted, view.now) if wanted else before) or view.state
            after = change(state, view.now)
            if after == before or await self._performer.store(after, stored.revision if stored else 0):
                return replace(view, state=after)
        raise ConflictError(f"{schedule} is being changed by others all the time", hint="try again")

    def _view(
        self, schedule: str, stored: bytes | None, wanted: Wanted | None, now: float
    ) -> ScheduleView | None:
        try:
            before = ScheduleState.from_json(stored) if stored is not None else None
            unknown = schedule.partition(":")[0] in self._definitions.unknown
            state = before if unknown else adopt(before, wanted, now)
        except DefinitionError as error:
            if wanted is None:
                return None
            state = ScheduleState(task=wanted.task, rule=wanted.rule, since=wanted.since, cursor=now)
            return ScheduleView(state, now, problem=error.sentence)
        if state is None or state.removed is not None:
            return None
        try:
            ticks = tuple(islice(state.rule.rhythm.after(max(now, state.cursor)), UPCOMING))
        except DefinitionError as error:
            return ScheduleView(state, now, problem=error.sentence)
        return ScheduleView(state, now, ticks)
