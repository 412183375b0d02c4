"""The scheduler: looks at schedules when their ticks come, and starts what is due.

The broker holds when the next look is due and hands it to one of the processes with this role. Besides, each
of them hears of changed definitions, and now and then searches for schedules whose look got lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import ClassVar, Final

from consumers.role import Role
from tidemill.kernel.errors import BrokerError, DefinitionError
from tidemill.kernel.jetstream.pull import Delivery
from tidemill.kernel.jetstream.topology import SCHEDULER
from tidemill.kernel.schedules.decide import Wanted, wake
from tidemill.kernel.schedules.look import look
from tidemill.kernel.schedules.state import ScheduleState
from tidemill.kernel.services.broker import Broker
from tidemill.kernel.services.broker_clock import BrokerClock
from tidemill.kernel.services.registry import Definitions
from tidemill.kernel.services.schedule_performer import SchedulePerformer
from tidemill.kernel.subjects import unescape

SEARCH_EVERY: Final = 60.0
"""Seconds between two searches for schedules that nothing wakes."""
OVERDUE: Final = 30.0
"""Seconds after which a look that hasn't come is lost."""
_LISTEN: Final = 0.5
_ANOTHER: Final = 30.0
_log = logging.getLogger(__name__)


class Scheduler(Role):
    """The role that starts the runs of schedules."""

    name: ClassVar[str] = SCHEDULER
    stream: ClassVar[str] = "TICKS"

    def __init__(
        self, broker: Broker, definitions: Definitions, *, search_every: float = SEARCH_EVERY
    ) -> None:
        super().__init__(broker)
        self._definitions = definitions
        self._schedules = SchedulePerformer(broker, definitions)
        self._clock = BrokerClock(broker.bus, broker.names.stream(self.stream))
        self._search_every = search_every
        self._known: dict[str, Wanted] = {}
        self._search_at = 0.0
        self._complained: dict[str, str] = {}
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Work until `stop`."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen(), name="listen for changed schedules")
            await super().run()

    async def stop(self) -> None:
        """Take no more looks, and finish those that are under way."""
        self._stopping.set()
        await super().stop()

    async def handle(self, delivery: Delivery) -> None:
        """Look at one schedule, and plan the next look."""
        schedule = unescape(self.broker.names.tokens(delivery.subject)[1])
        await self._definitions.settle()
        if schedule not in self._definitions.schedules():
            # Nothing negative is decided on an old view.
            await self._definitions.refresh(newer_than=delivery.stored_at)
        now = max(await self._clock.now(), delivery.stored_at)
        if not self._readable(schedule):
            await delivery.nak(_ANOTHER)
            return
        try:
            await self._schedules.run(look(schedule, self._definitions.schedules().get(schedule), now))
        except DefinitionError as error:
            self._complain(schedule, error)
            await delivery.nak(_ANOTHER)
            return
        self._complained.pop(schedule, None)
        await delivery.ack()

    def _readable(self, schedule: str) -> bool:
        """Say whether this version can read the definition; else a process of the newer one looks."""
        return schedule.partition(":")[0] not in self._definitions.unknown

    def _complain(self, schedule: str, error: DefinitionError) -> None:
        """Say what keeps a schedule from being looked at, once."""
        if self._complained.get(schedule) != error.sentence:
            self._complained[schedule] = error.sentence
            _log.error("schedule %s isn't looked at: %s", schedule, error)

    async def _listen(self) -> None:
        pause = _LISTEN
        while not self._stopping.is_set():
            try:
                await self._plan_looks()
                pause = _LISTEN
            except BrokerError as error:
                _log.warning("changed schedules wait: %s", error.sentence)
                pause = min(2 * pause, self._search_every)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)

    async def _plan_looks(self) -> None:
        """Ask for a look at every schedule that has changed, or that nothing wakes any more."""
        await self._definitions.settle()
        wanted = self._definitions.schedules()
        due = {
            name for name in wanted.keys() | self._known.keys() if wanted.get(name) != self._known.get(name)
        }
        searched = time.monotonic() >= self._search_at
        if searched:
            due |= await self._lost(wanted)
        for schedule in sorted(due):
            await self._schedules.plan(schedule)
        self._known = wanted
        if searched:
            self._search_at = time.monotonic() + self._search_every

    async def _lost(self, wanted: dict[str, Wanted]) -> set[str]:
        now = await self._clock.now()
        stored = await self.broker.schedules.items()
        known = {unescape(key): value for key, value in stored.items()}
        found = {name for name, value in known.items() if self._is_lost(name, value, wanted, now)}
        return found | (wanted.keys() - known.keys())

    def _is_lost(self, schedule: str, stored: bytes, wanted: dict[str, Wanted], now: float) -> bool:
        try:
            state = ScheduleState.from_json(stored)
            due = wake(state)
        except DefinitionError as error:
            self._complain(schedule, error)
            return False
        if (state.removed is None) != (schedule in wanted):
            return self._readable(schedule)
        return bool(state.starting or state.cancelling) or (due is not None and due + OVERDUE < now)
