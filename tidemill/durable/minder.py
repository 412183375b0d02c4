"""Minds a run whose code waits: wakes what can go on, and lets the run go when nothing in it can."""

from __future__ import annotations

import asyncio
import contextvars
import ctypes
from typing import TYPE_CHECKING, Any, Final

from tidemill.durable.port import LostRun
from tidemill.durable.stillness import nothing_moves, quiet_joins

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from tidemill.durable.port import Port
    from tidemill.kernel.protocol.records import Wait

_FIRST_LOOK, _LAST_LOOK = 0.02, 0.5
_TURNS: Final = 3
_CLOSE_SECONDS: Final = 5.0
MOST_SWALLOWED: Final = 100
"""So often code may ask for something while its run is being left; then it is held for good."""
_HELD: Final[set[asyncio.Task[Any]]] = set()
"""Tasks that never end."""
_HELD_SECONDS: Final = 1.0


class Suspended(BaseException):
    """The run is let go: it unwinds, and goes on from its beginning when what it waits for is there."""


class Drifted(BaseException):
    """The code asks for something else than it did when the journal was written."""


class Minder:
    """The tasks of a handler, and what they wait for.

    Attributes:
        waits: what the run was suspended for, None as long as it wasn't.
        unwinding: whether the code is on its way out, for that or another reason.
        stuck: whether the code goes on and on although it is on its way out.
        on_stuck: called when that has turned out.
    """

    def __init__(self, port: Port, linger: float, unasked: Collection[str]) -> None:
        """Prepare.

        Args:
            port: the run's journal and what goes with it.
            linger: seconds for which a run that only waits for time stays in memory.
            unasked: what the journal has and the code hasn't asked for yet; it shrinks.
        """
        self.waits: tuple[Wait, ...] | None = None
        self.unwinding = False
        self.stuck = False
        self.on_stuck: Callable[[], object] | None = None
        self._refused = 0
        self._port = port
        self._linger = linger
        self._unasked = unasked
        self._handler: asyncio.Task[Any] | None = None
        self._tasks: set[asyncio.Task[Any]] = set()
        self._pending: dict[asyncio.Future[None], Wait] = {}
        self._held: set[asyncio.Future[None]] = set()
        self._changed = asyncio.Event()
        self._minding: asyncio.Task[None] | None = None

    @property
    def holding(self) -> bool:
        """Whether something new waits until the code has asked for all that the journal has."""
        return bool(self._held)

    def adopt(self, task: asyncio.Task[Any], *, handler: bool) -> None:
        """Take in a task of the handler: its own, or one that it has started."""
        self._tasks.add(task)
        if handler:
            self._handler = task
        task.add_done_callback(self._let_go)

    def stir(self) -> None:
        """Say that something has changed: it is looked at again."""
        self._changed.set()

    async def hold(self) -> None:
        """Wait until the code has asked for all that the journal has.

        Raises:
            Drifted: nothing can move, and it hasn't.
        """
        held: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._held.add(held)
        self._begin()
        try:
            await held
        finally:
            self._held.discard(held)

    async def wait(self, wait: Wait) -> None:
        """Wait, in memory or not, until a mailbox decides or time is over.

        Raises:
            Suspended: nothing in the run can move, and nothing will soon.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending[future] = wait
        self._begin()
        try:
            await future
        finally:
            del self._pending[future]

    async def refuse(self) -> None:
        """Count a question of code that is on its way out; who doesn't stop asking is held here for good.

        Such code swallows whatever is raised in it, cancellation too: it would keep the loop from everything
        else.
        """
        self._refused += 1
        task = asyncio.current_task()
        if self._refused <= MOST_SWALLOWED or task is None:
            return
        tell, self.on_stuck, self.stuck = self.on_stuck, None, True
        if tell is not None:
            tell()
        if task not in self._tasks:  # it asks for a thread, which nothing can hold
            await asyncio.sleep(_HELD_SECONDS)
            return
        _keep_for_ever(task)
        await asyncio.get_running_loop().create_future()

    async def close(self) -> None:
        """End what the handler has left running."""
        left = [task for task in self._tasks if not task.done() and task not in _HELD]
        if self._minding is not None:
            self._minding.cancel()
            left.append(self._minding)
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=_CLOSE_SECONDS)
        self._handler = None  # whose context knows the script: neither could be freed

    def _let_go(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        self._changed.set()
        if self.unwinding and not task.cancelled():
            task.exception()  # it unwound with the others, and nobody may be awaiting it any more

    def _begin(self) -> None:
        self._changed.set()
        if self._minding is None or self._minding.done():
            # Made past the loop's factory and in a context of its own: it isn't a task of the handler.
            self._minding = asyncio.Task(
                self._mind(), name=f"mind {self._port.run_id}", context=contextvars.Context()
            )

    async def _mind(self) -> None:
        """Wake what can go on, and let the run go when nothing in it can."""
        pause = _FIRST_LOOK
        while self._waiting():
            self._changed.clear()
            if self._wake():
                pause = _FIRST_LOOK
            still = await self._is_still()
            if self._changed.is_set() or not self._waiting():
                continue
            if still and self._settle():
                return
            await self._look_again(pause)
            pause = min(_LAST_LOOK, pause * 2)

    async def _is_still(self) -> bool:
        """Say whether nothing moves: who waits for a future hears of it some turns of the loop later."""
        for _ in range(_TURNS):
            await asyncio.sleep(0)
            if not nothing_moves(self._tasks, {*self._pending, *self._held}):
                return False
        return True

    def _waiting(self) -> bool:
        """Say whether the handler goes on, and something in it waits."""
        ended = self._handler is not None and self._handler.done()
        return not ended and bool(self._pending or self._held)

    def _wake(self) -> bool:
        """Let go on what waits for nothing any more."""
        now, state = self._port.now(), self._port.state
        woken = [
            future
            for future, wait in self._pending.items()
            if state.decided(wait) or (wait.until is not None and wait.until <= now)
        ]
        if not self._unasked:
            woken += self._held
        for future in woken:
            if not future.done():
                future.set_result(None)
        return bool(woken)

    def _settle(self) -> bool:
        """Decide about a run in which nothing moves; say whether its code unwinds now."""
        if self._held:
            for future in self._held:
                _fail(future, Drifted())
            return False
        soonest = self._soonest()
        if soonest is not None and soonest - self._port.now() <= self._linger:
            return False
        self.waits = tuple({wait.key: wait for wait in self._pending.values()}.values())
        self.unwinding = True
        for future in (*self._pending, *quiet_joins(self._tasks)):
            _fail(future, Suspended())
        return True

    def _soonest(self) -> float | None:
        """Return the first moment at which a wait is over by itself."""
        return min((wait.until for wait in self._pending.values() if wait.until), default=None)

    async def _look_again(self, pause: float) -> None:
        soonest = self._soonest()
        if soonest is not None:
            pause = max(0.001, min(pause, soonest - self._port.now()))
        try:
            async with asyncio.timeout(pause):
                await self._changed.wait()
        except TimeoutError:
            return


def _keep_for_ever(task: asyncio.Task[Any]) -> None:
    """Keep a task that never ends from everybody who would end it: loop, collector, the process's exit.

    Each of them would throw something into its code, which swallows that and goes on and on.
    """
    if task not in _HELD:
        _HELD.add(task)
        asyncio._unregister_task(task)  # noqa: SLF001 - documented for those who extend asyncio
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(task))


def left_by(error: BaseException) -> bool:
    """Say whether an exception is nothing but the way in which a handler leaves its run."""
    if isinstance(error, BaseExceptionGroup):
        return all(left_by(one) for one in error.exceptions)
    return isinstance(error, Suspended | Drifted | LostRun)


def _fail(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # nobody may be awaiting it any more
