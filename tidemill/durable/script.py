"""A run's code and what is known of it: each call is looked up in the journal, done once, and written down.

A handler that is executed again asks for the same parts in the same order within each branch. What the
journal has is given back; what it hasn't begins when everything that it has was asked for. Where that never
happens the code has changed under the run, which is parked for a person to look at: guessing would repeat
what is done.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final, TypeVar

from tidemill.durable.branch import Branch, enter, inside
from tidemill.durable.minder import Drifted, Minder
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
_SHOWN: Final = 5


class Script:
    """What one execution of a handler asks for, and has been told.

    Attributes:
        port: the run's journal and what goes with it.
        drift: why the run must be parked, None as long as it needn't.
        replied: whether this execution has answered the event's sender.
    """

    def __init__(self, port: Port, *, linger: float = LINGER) -> None:
        self.port = port
        state = port.state
        self._main: Branch | None = Branch(self, time=state.attempt_at or state.began_at or port.now())
        self.drift: Fault | None = None
        self.replied = False
        demanded = {*state.steps, *state.spawned} - state.loose
        self._unasked = {key for key in demanded if not key.startswith(ON_START)}
        self._taken: defaultdict[str, set[int]] = defaultdict(set)
        self._answered: dict[str, str] = {}
        self._branches: dict[asyncio.Task[Any], Branch] = {}
        self._minder = Minder(port, linger, self._unasked)
        self._owed: list[Callable[[], Awaitable[object]]] = []
        self._over = False
        self._loop = _running_loop()
        self._on_loop = False

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

    def is_reached_from_here(self) -> bool:
        """Say whether the code that calls can use the run: an async handler's has to be on its event loop.

        `asyncio.to_thread` gives the thread the handler's context variables, and so its branch, too.
        """
        return not self._on_loop or self._loop is _running_loop()

    @property
    def main(self) -> Branch:
        """The main line of the handler's code; when that has ended, one that nothing can be asked for in."""
        return self._main or Branch(self)

    @property
    def state(self) -> State:
        """The run as far as its journal is known."""
        return self.port.state

    @property
    def seed(self) -> str:
        """The run whose random numbers the code is given: its own, or the one that it was forked from."""
        created = self.state.created
        taken = created.taken if created is not None else None
        return taken.seed if taken is not None else self.port.run_id

    @property
    def repeating(self) -> bool:
        """Whether the code hasn't yet come to where it was the last time."""
        return bool(self._unasked)

    @property
    def waits(self) -> tuple[Wait, ...] | None:
        """What the run was suspended for, None as long as it wasn't."""
        return self._minder.waits

    def adopt(self, task: asyncio.Task[Any], branch: Branch) -> None:
        """Take in a task of the handler: its own, or one that it has started."""
        self._branches[task] = branch
        task.add_done_callback(lambda _: self._branches.pop(task, None))
        self._on_loop = self._on_loop or branch is self.main
        self._minder.adopt(task, handler=branch is self.main)

    def branch_of(self, task: asyncio.Task[Any]) -> Branch:
        """Return the branch of a task that the handler has started."""
        return self._branches[task]

    @property
    def stuck(self) -> bool:
        """Whether the code goes on and on although the run is being left: it never ends by itself."""
        return self._minder.stuck

    def when_stuck(self, tell: Callable[[], object]) -> None:
        """Have somebody told when the code turns out to go on and on."""
        self._minder.on_stuck = tell

    async def arrive(self) -> None:
        """Come to a part of the run; code that swallows being sent away is held here in the end."""
        if self._over or self.waits is not None or self.drift is not None:
            await self._minder.refuse()

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
        if self._minder.holding:
            self._minder.stir()

    def asked(self, keys: Iterable[str]) -> None:
        """Note that the code would have asked for parts, had a race not been decided."""
        self._unasked.difference_update(keys)
        self._minder.stir()

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
            try:
                await self._minder.hold()
            except Drifted:
                raise self._park(f"it asks for {place.key!r} instead") from None
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
            await self._minder.wait(wait)
        return self.state.decided(wait)

    def next_item(self, box: str) -> int:
        """Return the number of the first item of a mailbox that the code hasn't taken."""
        return next(number for number in itertools.count() if number not in self._taken[box])

    def take(self, box: str, number: int) -> None:
        """Note that the code has taken an item of a mailbox."""
        self._taken[box].add(number)

    def answered(self, box: str, place: Place) -> None:
        """Note for which question a token's answer was given.

        Raises:
            ContextError: it was given for another one before.
        """
        first = self._answered.setdefault(box, place.key)
        if first != place.key:
            raise ContextError(
                f"{place.key!r} asks again for what was answered as {first!r}",
                hint="an answer counts once: give each question a name of its own",
            )

    def news(self) -> None:
        """Say that the journal has changed from outside."""
        self._minder.stir()

    async def close(self) -> None:
        """End what the handler has left running; nothing may be asked for any more."""
        self._over = True
        await self._minder.close()
        self._main = None  # which knows the script: neither could be freed

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
        self._minder.unwinding = True
        self.drift = self.drift or Fault("CodeChanged", sentence, at=self.port.now())
        return Drifted(sentence)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _named(key: str) -> str:
    return repr(key) if key else "the beginning"
