"""Would this code fit a run's journal? It is executed up to the first part that isn't recorded.

No step, no wait and no child begins, and nothing is written. The handler's own lines between its steps are
executed, as they are whenever a run is resumed.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from consumers import handler
from tidemill.durable.leaving import unfinished
from tidemill.durable.minder import left_by
from tidemill.durable.port import Child, Listening, OpenToken, Port
from tidemill.durable.script import Script
from tidemill.kernel import clock
from tidemill.kernel.errors import NotFoundError, PayloadError
from tidemill.kernel.protocol.conclusions import Failed, Parked
from tidemill.kernel.protocol.state import State
from tidemill.run_context import Attempt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from consumers.loader import AnyTask
    from tidemill.durable.branch import Branch, Place
    from tidemill.kernel.protocol.records import Record
    from tidemill.kernel.reply import Reply
    from tidemill.kernel.services.performer import Performer
    from tidemill.kernel.services.run_view import RunView

T = TypeVar("T")
Verdict = Literal["fits", "breaks", "undecided", "unreadable"]
SECONDS: Final = 10.0
"""How long a handler may take to come to what isn't recorded."""


class Reached(BaseException):
    """The code has come to something that the journal doesn't have."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a rehearsal has shown.

    Attributes:
        run: the run.
        task: its task.
        verdict: whether the code fits the journal; `undecided` where it didn't come far enough in time,
            `unreadable` where the journal says nothing, its task neither.
        reason: a sentence about it.
    """

    run: str
    task: str
    verdict: Verdict
    reason: str


class RehearsalPort(Port):
    """A journal that is only read: whoever wants to write has come to its end."""

    def __init__(self, run: str, task: str, state: State, performer: Performer) -> None:
        self.run_id = run
        self.task_id = task
        self._state = state
        self._performer = performer

    @property
    def state(self) -> State:
        """The run as its journal has it."""
        return self._state

    def next_rid(self) -> str:
        """Return an id that stands in no journal."""
        return "rehearsal"

    async def remember(self, record: Record, unless: Callable[[State], bool] | None = None) -> bool:  # noqa: ARG002 - the seam's
        """Write nothing."""
        raise Reached(getattr(record, "key", record.KIND))

    def now(self) -> float:
        """Return the present time in seconds since the epoch."""
        return clock.now().timestamp()

    async def in_thread(self, function: Callable[[], T]) -> T:
        """Execute nothing."""
        raise Reached(getattr(function, "__name__", "a function"))

    async def put_blob(self, data: bytes) -> str:
        """Store nothing."""
        raise Reached(f"a value of {len(data)} bytes")

    async def get_blob(self, name: str) -> bytes:
        """Return a large value."""
        return await self._performer.get_blob(name)

    async def create_children(self, children: Sequence[Child]) -> None:
        """Create nothing."""
        raise Reached(f"children of {self.task_id}" if not children else f"children of {children[0].task}")

    async def result_of(self, run: str) -> bytes:
        """Return the result of a child that has completed, as JSON text."""
        return await self._performer.result_of(run)

    async def cancel_runs(self, runs: Sequence[str], reason: str) -> None:
        """Ask nobody to end: whoever should was asked when this was executed."""

    async def listen(self, wait: Listening) -> None:
        """Enter nothing: the wait is known."""

    async def open_token(self, token: OpenToken) -> None:
        """Enter nothing: the token is known."""

    async def reply(self, answer: Reply) -> bool:
        """Answer nobody."""
        raise Reached(f"a reply of {len(answer.body)} bytes")

    def token_url(self, key: str, until: float, by: str = "") -> str:  # noqa: ARG002 - the seam's
        """Return no address."""
        return ""


class RehearsalScript(Script):
    """A script in which nothing new begins.

    Attributes:
        reached: what isn't recorded and was asked for first; None as long as nothing was.
    """

    reached: str | None = None

    async def begin(self, place: Place) -> None:
        """Wait until all that the journal has was asked for; then this is as far as it goes."""
        await super().begin(place)
        if place.key in self.state.waits:
            return  # it has begun, and isn't over
        self.reached = self.reached or place.key
        raise Reached(place.key)

    def adopt(self, task: asyncio.Task[Any], branch: Branch) -> None:
        """Take in a task of the handler, whose way out interests nobody."""
        super().adopt(task, branch)
        task.add_done_callback(_retrieve)


def _retrieve(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()


async def rehearse(
    task: AnyTask, view: RunView, performer: Performer, threads: Executor, *, seconds: float = SECONDS
) -> Finding:
    """Execute a task's code against a run's journal, up to the first part that isn't recorded."""
    state = view.state

    def finding(verdict: Verdict, reason: str) -> Finding:
        return Finding(view.id, task.id, verdict, reason)

    if not (state.steps or state.spawned or state.waits or state.tries):
        return finding("fits", "its journal has no step, wait or child yet")
    script = RehearsalScript(RehearsalPort(view.id, task.id, state, performer))
    attempt = Attempt(run_id=view.id, task_id=task.id, number=state.attempt, script=script)
    try:
        raw = await _input(state, performer)
        call = task.bind(state.created.event if state.created else None, raw, None, attempt)
        executing = handler.start(call, threads, f"rehearse {view.id}", script)
        if not await handler.is_done_within(executing.done, seconds):
            executing.cancel()
            return finding("undecided", f"it didn't come to anything new within {seconds:g} s")
        return finding(*_judged(script, task, executing.done))
    except (PayloadError, NotFoundError) as error:
        return finding("breaks", f"its input can't be read: {error.sentence}")
    finally:
        await script.close()


def _judged(script: RehearsalScript, task: AnyTask, done: asyncio.Future[Any]) -> tuple[Verdict, str]:
    if script.drift is not None:
        return "breaks", script.drift.message
    if done.cancelled():
        return "undecided", "its handler was cancelled"
    error = done.exception()
    if script.reached is not None or isinstance(error, Reached):
        return "fits", f"it goes on with {script.reached or str(error)!r}"
    return _raised(script, error) if error is not None else _returned(script, task)


def _raised(script: RehearsalScript, error: BaseException) -> tuple[Verdict, str]:
    if not left_by(error) or script.waits is None:
        return "breaks", f"it raises {type(error).__name__}: {error}"
    return "fits", f"it waits for {', '.join(repr(wait.key) for wait in script.waits)}"


def _returned(script: RehearsalScript, task: AnyTask) -> tuple[Verdict, str]:
    left = unfinished(script, task.source_location)
    if isinstance(left, Failed | Parked):
        return "breaks", left.fault.message
    return "fits", "it comes to its end"


async def _input(state: State, performer: Performer) -> bytes:
    created = state.created
    if created is None:
        return b"null"
    return await performer.get_blob(created.blob) if created.blob is not None else created.raw
