"""A run's code and what is known of it: each call is looked up in the journal, done once, and written down.

A handler that is executed again asks for the same parts in the same order within each branch. What the
journal has is given back; what it hasn't begins when everything that it has was asked for. Where that never
happens the code has changed under the run, which is parked for a person to look at: guessing would repeat
what is done.
"""

from __future__ import annotations

import asyncio
import contextvars
import itertools
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final, TypeVar

from tidemill.durable.branch import Branch, enter, inside
from tidemill.durable.port import LostRun
from tidemill.durable.stillness import nothing_moves, quiet_joins
from tidemill.kernel.errors import ContextError
from tidemill.kernel.protocol.records import Fault, Step

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable

    from tidemill.durable.branch import Place
    from tidemill.durable.port import Port
    from tidemill.kernel.protocol.records import Wait
    from tidemill.kernel.protocol.state import State

T = TypeVar("T")
LINGER: Final = 1.0
"""Seconds for which a run that only waits for time stays in memory: leaving and coming back costs more."""
ON_START: Final = "on_start/"
"""What the keys of hooks begin with that are told of a run's start: the handler never asks for them."""
_FIRST_LOOK, _LAST_LOOK = 0.02, 0.5
_TURNS: Final = 3
_CLOSE_SECONDS: Final = 5.0
_SHOWN: Final = 5


class Suspended(BaseException):
    """The run is let go: it unwinds, and goes on from its beginning when what it waits for is there."""


class Drifted(BaseException):
    """The code asks for something else than it did when the journal was written."""


class Script:
    """What one execution of a handler asks for, and has been told.

    Attributes:
        port: the run's journal and what goes with it.
        main: the main line of the handler's code.
        waits: what the run was suspended for, None as long as it wasn't.
        drift: why the run must be parked, None as long as it needn't.
    """

    def __init__(self, port: Port, *, linger: float = LINGER) -> None:
        self.port = port
        state = port.state
        self.main = Branch(self, time=state.attempt_at or state.began_at or port.now())
        self.waits: tuple[Wait, ...] | None = None
        self.drift: Fault | None = None
        self._linger = linger
        demanded = {*state.steps, *state.spawned} - state.loose
        self._unasked = {key for key in demanded if not key.startswith(ON_START)}
        self._taken: defaultdict[str, set[int]] = defaultdict(set)
        self._tasks: dict[asyncio.Task[Any], Branch] = {}
        self._pending: dict[asyncio.Future[None], Wait] = {}
        self._held: set[asyncio.Future[None]] = set()
        self._owed: list[Callable[[], Awaitable[object]]] = []
        self._changed = asyncio.Event()
        self._minder: asyncio.Task[None] | None = None
        self._over = False
        self._handler: asyncio.Task[Any] | None = None
        self._loop = _running_loop()

    def wait(self, branch: Branch, coroutine: Coroutine[Any, Any, T]) -> T:
        """Have the loop execute a coroutine for a branch of the code; wait for it in the thread that calls.

        Raises:
            ContextError: the thread is the loop's own.
        """
        if self._loop is None or self._loop is _running_loop():
            coroutine.close()
            raise ContextError(
                "a SyncContext waits in the thread of an event loop, which it would block",
                hint="use it in the handler's own thread",
            )

        async def in_branch() -> T:
            enter(branch)
            return await coroutine

        return asyncio.run_coroutine_threadsafe(in_branch(), self._loop).result()

    @property
    def state(self) -> State:
        """The run as far as its journal is known."""
        return self.port.state

    def adopt(self, task: asyncio.Task[Any], branch: Branch) -> None:
        """Take in a task of the handler: its own, or one that it has started."""
        self._tasks[task] = branch
        if branch is self.main:
            self._handler = task
        task.add_done_callback(self._let_go)

    def branch_of(self, task: asyncio.Task[Any]) -> Branch:
        """Return the branch of a task that the handler has started."""
        return self._tasks[task]

    def recall(self, place: Place) -> Step | None:
        """Return what the journal has of a part; None where it is to be done now.

        Raises:
            ContextError: the run is being left, or is over.
            Drifted: the part came after another one when it was written down.
        """
        self.ask(place)
        step = self.state.steps.get(place.key)
        if step is not None:
            self.check(place, step.after)
            self.told(place, step.at)
        return step

    def ask(self, place: Place) -> None:
        """Note that the code asks for a part.

        Raises:
            ContextError: the run is being left, or is over.
        """
        if self._over:
            raise ContextError(
                f"{place.key!r} is asked for after the run's handler has ended",
                hint="await what the handler starts",
            )
        if self.waits is not None:
            raise ContextError(
                f"{place.key!r} is asked for while the run is being left to wait",
                hint="`finally` and `async with` run at every suspension: put what belongs to failures "
                "into `except Exception`",
            )
        self._unasked.discard(place.key)
        branch = inside()
        if branch is not None:
            branch.asked.add(place.key)
        if self._held:
            self._changed.set()

    def asked(self, keys: Iterable[str]) -> None:
        """Note that the code would have asked for parts, had a race not been decided."""
        self._unasked.difference_update(keys)
        self._changed.set()

    def check(self, place: Place, after: str) -> None:
        """Hold a part against the one before it.

        Raises:
            Drifted: it was another one when this was written down.
        """
        if after != place.after and place.key not in self.state.loose:
            raise self._park(
                f"{place.key!r} came after {_named(after)} when it was written down, and comes after "
                f"{_named(place.after)} now"
            )

    def told(self, place: Place, at: float = 0.0) -> None:
        """Note that the code has been told of a part: it is what its branch has done last."""
        branch = inside()
        if branch is not None:
            branch.last = place.key
            branch.time = max(branch.time, at)

    @property
    def replaying(self) -> bool:
        """Whether the journal has parts that the code hasn't asked for yet."""
        return bool(self._unasked)

    async def begin(self, place: Place) -> None:
        """Wait until all that the journal has was asked for; then something new may be done.

        Raises:
            Drifted: nothing can move, and some of it wasn't.
        """
        if self._unasked:
            held: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._held.add(held)
            self._stir()
            try:
                await held
            except Drifted:
                raise self._park(f"it asks for {place.key!r} instead") from None
            finally:
                self._held.discard(held)
        await self.settle_debts()

    async def settle_debts(self) -> None:
        """Do what is owed."""
        while self._owed:
            await self._owed.pop(0)()

    def owe(self, deed: Callable[[], Awaitable[object]]) -> None:
        """Have something done before anything new begins, or the run is left."""
        self._owed.append(deed)

    def forget_debts(self) -> None:
        """Do without what is owed."""
        self._owed.clear()

    async def remember(
        self,
        place: Place,
        *,
        unless: Callable[[State], bool] | None = None,
        **facts: Any,
    ) -> bool:
        """Write down what has come of a part; False where news make `unless` true.

        Raises:
            LostRun: somebody else owns the run.
        """
        at = self.port.now()
        step = Step(rid=self.port.next_rid(), key=place.key, after=place.after, at=at, **facts)
        if not await self.port.remember(step, unless):
            return False
        if step.outcome != "again":
            self.told(place, at)
        return True

    async def pend(self, wait: Wait) -> bool:
        """Wait, in memory or not, until a mailbox decides or time is over; say whether the mailbox did.

        Raises:
            Suspended: nothing in the run can move, and nothing will soon.
        """
        if self.state.decided(wait):
            return True
        if wait.until is None or wait.until > self.port.now():
            await self.settle_debts()
            future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._pending[future] = wait
            self._stir()
            try:
                await future
            finally:
                del self._pending[future]
        return self.state.decided(wait)

    def next_item(self, box: str) -> int:
        """Return the number of the first item of a mailbox that the code hasn't taken."""
        return next(number for number in itertools.count() if number not in self._taken[box])

    def take(self, box: str, number: int) -> None:
        """Note that the code has taken an item of a mailbox."""
        self._taken[box].add(number)

    def news(self) -> None:
        """Say that the journal has changed from outside."""
        self._changed.set()

    async def close(self) -> None:
        """End what the handler has left running; nothing may be asked for any more."""
        self._over = True
        left = [task for task in self._tasks if not task.done()]
        if self._minder is not None:
            self._minder.cancel()
            left.append(self._minder)
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left, timeout=_CLOSE_SECONDS)

    def unasked(self) -> list[str]:
        """Return what the journal has and the code didn't ask for."""
        return sorted(self._unasked)

    def park_for_unasked(self) -> Drifted:
        """Return what parks a run whose code didn't ask for all that the journal has."""
        return self._park("it has ended without them")

    def _park(self, what: str) -> Drifted:
        missed = self.unasked()
        told = f": it has {', '.join(map(repr, missed[:_SHOWN]))}" if missed else ""
        more = f" and {len(missed) - _SHOWN} more" if len(missed) > _SHOWN else ""
        sentence = f"the code doesn't fit what the journal has{told}{more}; {what}"
        self.drift = self.drift or Fault("CodeChanged", sentence, at=self.port.now())
        return Drifted(sentence)

    def _let_go(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)
        self._changed.set()
        if (self.waits is not None or self.drift is not None) and not task.cancelled():
            task.exception()  # it unwound with the others, and nobody may be awaiting it any more

    def _stir(self) -> None:
        self._changed.set()
        if self._minder is None or self._minder.done():
            # Made past the loop's factory and in a context of its own: it isn't a task of the handler.
            self._minder = asyncio.Task(
                self._mind(), name=f"mind {self.port.run_id}", context=contextvars.Context()
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
        now, state = self.port.now(), self.state
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
        soonest = min((wait.until for wait in self._pending.values() if wait.until), default=None)
        if soonest is not None and soonest - self.port.now() <= self._linger:
            return False
        self.waits = tuple({wait.key: wait for wait in self._pending.values()}.values())
        for future in (*self._pending, *quiet_joins(self._tasks)):
            _fail(future, Suspended())
        return True

    async def _look_again(self, pause: float) -> None:
        soonest = min((wait.until for wait in self._pending.values() if wait.until), default=None)
        if soonest is not None:
            pause = max(0.001, min(pause, soonest - self.port.now()))
        try:
            async with asyncio.timeout(pause):
                await self._changed.wait()
        except TimeoutError:
            return


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def left_by(error: BaseException) -> bool:
    """Say whether an exception is nothing but the way in which a handler leaves its run."""
    if isinstance(error, BaseExceptionGroup):
        return all(left_by(one) for one in error.exceptions)
    return isinstance(error, Suspended | Drifted | LostRun)


def _fail(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # nobody may be awaiting it any more


def _named(key: str) -> str:
    return repr(key) if key else "the beginning"
