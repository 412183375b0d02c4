"""A stage's engine: what is at hand happens, one thing after the other, and then the clock moves."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from typing import TYPE_CHECKING, Any, Final

from tidemill.kernel.protocol import mailman
from tidemill.kernel.protocol.attempt import work
from tidemill.kernel.protocol.conclusions import Policy
from tidemill.kernel.protocol.records import Created, decode
from tidemill.kernel.protocol.tickets import Ticket
from tidemill.testing.memory import Crashed, Memory, TicketMessage
from tidemill.testing.performance import Performance

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidemill.kernel.protocol.attempt import Session
    from tidemill.kernel.protocol.conclusions import Conclusion
    from tidemill.task import FnTask
    from tidemill.testing.outside import Outside

    AnyTask = FnTask[Any, Any, Any, Any]

_TICK: Final = 0.25
"""Seconds after which time goes on for code that needs real time: sockets, threads, locks."""


class Engine:
    """Mailman, timers and worker of a stage.

    Args:
        memory: the broker.
        outside: what is around the runs.
        linger: seconds for which a run that only waits for time stays in memory.
    """

    def __init__(self, memory: Memory, outside: Outside, linger: float) -> None:
        self._memory = memory
        self._outside = outside
        self._linger = linger
        self._changed = asyncio.Event()
        self._performances: dict[str, Performance] = {}
        self._work: set[asyncio.Task[None]] = set()
        self._broken: BaseException | None = None
        self._pumping = False
        self._surroundings = contextvars.copy_context()
        memory.on_change = self._changed.set
        memory.on_hint = self._hint

    async def close(self) -> None:
        """End what still executes."""
        left = list(self._work)
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)

    async def pump(self, over: Callable[[], bool], *, until: float | None) -> None:
        """Let things happen until something is over, the time is, or nothing is left to happen.

        A handler that waits for another run's result is inside of somebody else's pump, who goes on.
        """
        while not over():
            if self._pumping:
                await self._changed.wait()
                await asyncio.sleep(0)
                continue
            self._pumping = True
            try:
                if not await self._turn(until):
                    return
            finally:
                self._pumping = False
                self._changed.set()

    async def _turn(self, until: float | None) -> bool:
        """Let the next thing happen; False: there is none in this time."""
        self._changed.clear()
        problem = self._broken or self._outside.problem
        if problem is not None:
            self._broken = self._outside.problem = None
            raise problem
        self._memory.fire()
        self._outside.speak()
        if self._memory.mail:
            self._deliver()
        elif self._memory.tickets:
            self._admit(self._memory.tickets.popleft())
        elif self._work:
            await self._let_work()
        else:
            return self._move_clock(until)
        return True

    async def _let_work(self) -> None:
        try:
            async with asyncio.timeout(_TICK):
                await self._changed.wait()
        except TimeoutError:
            self._memory.now += _TICK

    def _move_clock(self, until: float | None) -> bool:
        """Move the clock to the next thing that happens; False: there is none in this time."""
        moments = (self._memory.next_timer(), self._outside.next_word())
        coming = min((moment for moment in moments if moment is not None), default=None)
        if coming is None or (until is not None and coming > until):
            return False
        self._memory.now = max(self._memory.now, coming)
        return True

    def _deliver(self) -> None:
        """Deliver what is first in the mail, and all items for the same run with it."""
        run, letter = self._memory.mail[0]
        if isinstance(letter, mailman.Signal):
            with contextlib.suppress(Crashed):  # it lies there still, and comes again
                self._memory.run(mailman.deliver(letter))
                self._memory.mail.popleft()
            return
        items = self._memory.take_items(run)
        try:
            self._memory.run(mailman.bring(run, items))
        except Crashed:
            self._memory.put_back(run, items)

    def _admit(self, message: TicketMessage) -> None:
        message.delivered += 1
        task = asyncio.get_running_loop().create_task(
            self._carry(message), name=f"ticket of {message.run}", context=self._surroundings.copy()
        )
        self._work.add(task)
        task.add_done_callback(self._worked)

    def _worked(self, task: asyncio.Task[None]) -> None:
        self._work.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._broken = self._broken or error
        self._changed.set()

    async def _carry(self, message: TicketMessage) -> None:
        """Do what a ticket calls for; where its process dies it comes again."""
        ticket = _ticket(message, self._memory.now)
        procedure = work(ticket, _policy(self._outside.tasks[message.task]), "stage")
        try:
            done = await self._memory.work(procedure, self._execute)
        except Crashed:
            done = False
        if not done:
            self._memory.tickets.append(message)

    async def _execute(self, session: Session) -> Conclusion:
        run = session.ticket.run
        task = self._outside.tasks[session.ticket.task]
        performance = Performance(task, session, self._memory, self._outside, self._linger)
        self._performances[run] = performance
        try:
            return await performance.conclude()
        finally:
            del self._performances[run]

    def _hint(self, run: str) -> None:
        if run in self._performances:
            self._performances[run].heard(self._memory.state(run))


def _ticket(message: TicketMessage, now: float) -> Ticket:
    created = decode(message.created) if message.created is not None else None
    return Ticket(
        run=message.run,
        task=message.task,
        seq=message.seq,
        q=message.q,
        delivered=message.delivered,
        delivery=f"stage-{message.q}-{message.delivered}",
        kind=message.kind,
        created=created if isinstance(created, Created) else None,
        at=message.at,
        now=now,
    )


def _policy(task: AnyTask) -> Policy:
    retry = task.definition.retry
    return Policy(
        retry.max_attempts,
        retry.factor,
        retry.min_delay,
        retry.max_delay,
        jitter=False,
        max_duration=task.definition.max_duration,
    )
