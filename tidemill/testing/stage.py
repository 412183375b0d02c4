"""A stage: runs are executed on it as on a worker, over a broker in memory and a clock that is moved."""

from __future__ import annotations

import asyncio
import contextlib
import random
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar, overload

import orjson

from tidemill.client import Client, use_everywhere
from tidemill.durable.branch import follow_tasks
from tidemill.injection import Overrides, overriding
from tidemill.kernel import clock, subjects
from tidemill.kernel.clock import Duration, seconds
from tidemill.kernel.errors import ConflictError, NotFoundError
from tidemill.kernel.protocol.creation import create
from tidemill.kernel.protocol.forking import Refusal, fork_record, points_of, survey
from tidemill.kernel.protocol.operations import Append, Operation
from tidemill.kernel.protocol.records import Created, Step
from tidemill.task import FnTask
from tidemill.testing.answers import Answers
from tidemill.testing.engine import Engine
from tidemill.testing.memory import Memory, Moment
from tidemill.testing.outside import Outside
from tidemill.testing.words import Decision, Happened
from tidemill.transport import RunOutcome, Transport

In = TypeVar("In")
Out = TypeVar("Out")

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from typing import Unpack

    from tidemill.kernel.decision import Decision as Answer
    from tidemill.kernel.protocol.forking import At
    from tidemill.kernel.protocol.records import Record
    from tidemill.kernel.protocol.state import State
    from tidemill.kernel.trigger import TriggerOptions, TriggerRequest
    from tidemill.run import Run
    from tidemill.task import Task
    from tidemill.testing.replied import Replied
    from tidemill.testing.session import Triggered
    from tidemill.testing.words import Stand, Word

    AnyTask = FnTask[Any, Any, Any, Any]


class Stage(Answers, Transport):
    """Where runs are played: journals in memory, and a clock that jumps to the next thing to happen.

    Time moves only while something is waited for: `Run.result`, `advance`. What takes no time happens in
    `still`.
    """

    def __init__(self, now: datetime, seed: int | None, linger: float) -> None:
        chance = random.Random(seed) if seed is not None else None  # noqa: S311 - it must be repeatable
        self._memory = Memory(now.timestamp())
        self._outside = Outside(self._memory, chance)
        self._engine = Engine(self._memory, self._outside, linger)
        self._started = 0

    # What tests do

    @overload
    async def start(
        self, task: Task[None, Out], payload: None = None, /, **options: Unpack[TriggerOptions]
    ) -> Run[Out]: ...
    @overload
    async def start(
        self, task: Task[In, Out], payload: In, /, **options: Unpack[TriggerOptions]
    ) -> Run[Out]: ...
    async def start(
        self, task: Task[Any, Any], payload: Any = None, /, **options: Unpack[TriggerOptions]
    ) -> Run[Any]:
        """Start a run of a task; nothing is executed before something is awaited."""
        if isinstance(task, FnTask) and task.id not in self._outside.tasks:
            self._outside.serve(task)
        return await task.trigger(payload, **options)

    async def still(self) -> None:
        """Let everything happen that takes no time."""
        await self._engine.pump(lambda: False, until=self._memory.now)

    async def advance(self, duration: Duration) -> None:
        """Let time pass, and everything happen that belongs to it."""
        until = self._memory.now + seconds(duration)
        await self._engine.pump(lambda: False, until=until)
        self._memory.now = max(self._memory.now, until)

    def now(self) -> datetime:
        """Return what the stage's clock shows."""
        return datetime.fromtimestamp(self._memory.now, UTC)

    def crash_after(self, step: str) -> None:
        """Kill the process of the next run that has remembered this step, once; it is resumed elsewhere."""
        left = [step]

        def hazard(moment: Moment) -> bool:
            if left and moment.when == "after" and _key_of(moment.operation) == step:
                left.clear()
                return True
            return False

        self._memory.hazards.append(hazard)

    def crash_at(self, number: int) -> None:
        """Kill whoever gets to the moment of this number, counted from 0 for the stage's whole life."""
        self._memory.hazards.append(lambda moment: moment.number == number)

    def state(self, run: str) -> State:
        """Return a run as its journal has it."""
        return self._memory.state(run)

    def status(self, run: str) -> str:
        """Return a run's state as users see it: `waiting`, `completed` and so on.

        Raises:
            NotFoundError: there is no such run.
        """
        status = self.state(run).status
        if status is None:
            raise NotFoundError(f"{run} was never started", hint="stage.start(task, payload) starts one")
        return str(status)

    def journal(self, run: str) -> list[Record]:
        """Return a run's records, in order."""
        return [entry.record for entry in self._memory.read(run) if entry.record is not None]

    def executed(self, run: str) -> dict[str, int]:
        """Return how often the function of each of a run's steps was called."""
        return dict(self._outside.executed[run])

    @property
    def runs(self) -> list[str]:
        """The ids of all runs, children too, in the order of their creation."""
        return list(self._memory.runs())

    @property
    def asked(self) -> Sequence[Triggered]:
        """The runs that a prepared answer stood for, in order."""
        return tuple(self._outside.asked)

    @property
    def replies(self) -> Sequence[Replied]:
        """What runs have answered their events' senders, in order."""
        return tuple(self._outside.replies)

    def nobody_waits(self) -> None:
        """Let `ctx.reply` find nobody from now on: it returns false."""
        self._outside.sender_waits = False

    @property
    def moments(self) -> int:
        """How many moments there were at which a process could die."""
        return self._memory.moments

    @property
    def repeated(self) -> Sequence[tuple[str, str]]:
        """Runs and keys of finished steps that were executed again: there must be none."""
        return tuple(self._outside.repeated)

    def serve(self, *tasks: AnyTask) -> None:
        """Have the runs of tasks executed; what is served under the same id before is no more."""
        for task in tasks:
            self._outside.tasks.pop(task.id, None)
            self._outside.serve(task)

    async def retry(self, run: str, reason: str = "") -> None:
        """Let a run go on that is parked or has failed, as `tidemill runs retry` does."""
        self._memory.retry(run, reason)

    async def fork(self, run: str, at: At = None) -> str:
        """Start a run that takes over what another one had finished before a point; return its id.

        Args:
            run: the other one, as `tidemill runs fork` takes it.
            at: a part's key, a child's id or a record's number; None for all that it has finished.

        Raises:
            NotFoundError: there is no such run, or no such point in it.
        """
        found = self._memory.run(survey(run, at))
        if isinstance(found, Refusal):
            known = ", ".join(points_of(self._memory.read(run))) or "nothing"
            raise NotFoundError(f"{run} can't be forked at {at!r}", hint=f"it has {known}")
        self._started += 1
        fork = subjects.run_of_key(found.created.task, f"play {self._started}")
        created = fork_record(run, found, rid=f"fork-{fork}")
        self._memory.run(create(fork, created))
        return fork

    # What the code under test does, as a client

    async def trigger(self, request: TriggerRequest) -> str:
        """Create a run and return its id."""
        self._outside.require(request.task_id)
        key = request.idempotency_key
        self._started += 1
        run = subjects.run_of_key(request.task_id, key or f"play {self._started}")
        start_at = request.at.timestamp() if request.at is not None else None
        if request.delay is not None:
            start_at = self._memory.now + request.delay
        ttl = request.ttl
        created = Created(
            rid=f"trigger-{run}",
            task=request.task_id,
            hooks=self._outside.has_hooks(request.task_id),
            start_at=start_at,
            expires_at=(start_at or self._memory.now) + ttl if ttl is not None else None,
            key=key,
            tags=request.tags,
            raw=request.payload,
        )
        self._memory.run(create(run, created))
        return run

    async def outcome(self, run_id: str, timeout: float | None) -> RunOutcome:
        """Let time pass until a run has ended, and say how.

        Raises:
            ConflictError: it never will: nothing is left that could happen.
            TimeoutError: it hasn't in time.
        """
        until = None if timeout is None else self._memory.now + timeout
        await self._engine.pump(lambda: self._memory.ended(run_id), until=until)
        end = self.state(run_id).end
        if end is not None:
            fault = end.fault
            return RunOutcome(
                end.outcome,
                orjson.dumps(end.result),
                fault.message if fault is not None else end.reason,
                fault.type if fault is not None else "",
            )
        if until is not None:
            raise TimeoutError(f"{run_id} is {self.status(run_id)} after {timeout:g} s")
        raise self._stuck(run_id)

    async def cancel(self, run_id: str, reason: str) -> None:
        """Ask for a run's end."""
        self._memory.cancel(run_id, reason)

    async def send_signal(self, run_id: str, name: str, data: bytes, key: str | None) -> None:  # noqa: ARG002 - the seam's
        """Send a signal."""
        self.signal(name, orjson.loads(data), run=run_id)

    async def send_answer(self, token_id: str, decision: Answer) -> None:
        """Answer a token or an approval."""
        self._say(
            Decision(
                token_id.partition(".")[2],
                decision.by,
                approved=decision.approved,
                comment=decision.comment,
                data=decision.data,
            ),
            0,
        )

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """End what still executes."""
        await self._engine.close()

    # How it goes on

    def _stands(self, task_id: str, stand: Stand) -> None:
        self._outside.stands[task_id] = stand

    def _say(self, word: Word, after: Duration) -> None:
        at = self._memory.now + seconds(after)
        if isinstance(word, Happened):
            word.at = at
        self._outside.plan(word, at)

    def _stuck(self, run: str) -> ConflictError:
        state = self.state(run)
        if state.parked and state.wait is not None and state.wait.fault is not None:
            return ConflictError(
                f"{run} is parked: {state.wait.fault.message}", hint="stage.retry(run) lets it go on"
            )
        waits = state.wait.waits if state.wait is not None else ()
        named = ", ".join(f"{wait.kind} {wait.key!r}" for wait in waits) or "nothing that is known"
        return ConflictError(
            f"{run} waits for {named}, and nothing is left to happen",
            hint="stage.approve, .signal, .event, .complete and .answer prepare what comes from outside",
        )


@contextlib.asynccontextmanager
async def play(
    *tasks: AnyTask,
    now: datetime | None = None,
    seed: int | None = None,
    linger: float = 0.0,
    overrides: Overrides | None = None,
) -> AsyncIterator[Stage]:
    """Open a stage, on which runs are executed as on a worker, without a broker and without waiting.

    Tasks that are triggered while it is open run on it. Those that the code of a task names by a variable are
    found by themselves.

    Args:
        *tasks: those that are executed.
        now: what its clock shows first; by default the present time.
        seed: shuffles in which order things happen that happen at the same time.
        linger: seconds for which a run that only waits for time stays in memory, in real time.
        overrides: who provides in the place of the providers that handlers depend on.

    Raises:
        DefinitionError: one of `overrides` can't provide anything.
    """
    stage = Stage(now or clock.now(), seed, linger)
    stage.serve(*tasks)
    loop = asyncio.get_running_loop()
    factory = loop.get_task_factory()
    follow_tasks(loop)
    try:
        with overriding(overrides or {}), use_everywhere(Client(stage)):
            yield stage
    finally:
        await stage.close()
        loop.set_task_factory(factory)


def _key_of(operation: Operation) -> str | None:
    record = operation.record if isinstance(operation, Append) else None
    return record.key if isinstance(record, Step) else None
