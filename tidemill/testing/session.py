"""Direct calls: a task is called like the function that it is, without a run behind it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tidemill.client import Client, use_everywhere
from tidemill.direct import supplying
from tidemill.durable.children import Ok
from tidemill.injection import Overrides, overriding
from tidemill.kernel import clock, subjects
from tidemill.kernel.clock import Duration, seconds
from tidemill.kernel.errors import ConflictError
from tidemill.kernel.trigger import TriggerRequest
from tidemill.run_context import Attempt
from tidemill.testing.answers import Answers
from tidemill.testing.direct import DirectPort, DirectScript, Prepared
from tidemill.transport import RunOutcome, Transport

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from tidemill.durable.port import Child
    from tidemill.kernel.decision import Decision
    from tidemill.testing.replied import Replied
    from tidemill.testing.words import Stand, Word


@dataclass(frozen=True, slots=True)
class Triggered:
    """A run that the code under test has triggered.

    Attributes:
        run_id: the id that its handle has.
        task_id: the task.
        payload: the payload as JSON text.
        options: delay, at, ttl and tags, where they were given.
        idempotency_key: the key, where one was given.
    """

    run_id: str
    task_id: str
    payload: bytes
    options: dict[str, Any]
    idempotency_key: str | None


@dataclass(frozen=True, slots=True)
class Cancelled:
    """A run whose end the code under test has asked for."""

    run_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Signalled:
    """A signal that the code under test has sent; `data` are JSON text."""

    run_id: str
    name: str
    data: bytes
    key: str | None


@dataclass
class Session(Answers, Transport):
    """What happened while testing was active, and the answers that were prepared.

    Attributes:
        number: the attempt's number that contexts show.
        fixed_now: what `ctx.now()` begins with; None is the real time.
        stopping: what `SyncContext.cancelled` says.
        triggered: the runs that were triggered or called, in order.
        cancelled: the cancellations that were asked for, in order.
        signalled: the signals that were sent, in order.
        answered: the tokens that were answered, with the answers, in order.
    """

    number: int = 1
    fixed_now: datetime | None = None
    stopping: bool = False
    triggered: list[Triggered] = field(default_factory=list)
    cancelled: list[Cancelled] = field(default_factory=list)
    signalled: list[Signalled] = field(default_factory=list)
    answered: list[tuple[str, Decision]] = field(default_factory=list)
    prepared: Prepared = field(default_factory=Prepared)

    @property
    def replies(self) -> Sequence[Replied]:
        """What the code under test has answered its events' senders, in order."""
        return tuple(self.prepared.replies)

    def nobody_waits(self) -> None:
        """Let `ctx.reply` find nobody: it returns false."""
        self.prepared.sender_waits = False

    def attempt(self, task_id: str) -> Attempt:
        """Return the attempt that a direct call stands for."""
        run = subjects.new_run()
        script = DirectScript(DirectPort(run, task_id, self.prepared, self._now, self._note))
        return Attempt(run, task_id, self.number, self._now, lambda: self.stopping, script)

    def _stands(self, task_id: str, stand: Stand) -> None:
        self.prepared.stands[task_id] = stand

    def _say(self, word: Word, after: Duration) -> None:
        """Keep a word; how long `after` now it comes makes no difference where no time passes."""
        seconds(after)
        self.prepared.words.append(word)

    def _note(self, child: Child) -> None:
        self.triggered.append(Triggered(child.run, child.task, child.payload, dict(child.options), None))

    def _now(self) -> datetime:
        return self.fixed_now or clock.now()

    async def trigger(self, request: TriggerRequest) -> str:
        """Record a run; a key that was used before gives the first one's id and records nothing."""
        key = request.idempotency_key
        run_id = subjects.run_of_key(request.task_id, key) if key else subjects.new_run()
        if all(seen.run_id != run_id for seen in self.triggered):
            self.triggered.append(Triggered(run_id, request.task_id, request.payload, request.options(), key))
        return run_id

    async def outcome(self, run_id: str, timeout: float | None) -> RunOutcome:  # noqa: ARG002 - the seam's
        """Return the prepared outcome.

        Raises:
            ConflictError: none was prepared for the run's task.
        """
        seen = next((seen for seen in self.triggered if seen.run_id == run_id), None)
        task_id = seen.task_id if seen is not None else "?"
        stand = self.prepared.stands.get(task_id)
        if seen is None or stand is None:
            raise ConflictError(
                f"no answer is prepared for runs of task {task_id!r}",
                hint=f"session.answer({task_id}, …) or session.fail({task_id}, …) prepares one",
            )
        outcome = stand.told(seen.payload)
        if isinstance(outcome, Ok):
            return RunOutcome("completed", stand.encode(outcome.value))
        return RunOutcome(stand.state, error=outcome.error)

    async def cancel(self, run_id: str, reason: str) -> None:
        """Record a cancellation."""
        self.cancelled.append(Cancelled(run_id, reason))

    async def send_signal(self, run_id: str, name: str, data: bytes, key: str | None) -> None:
        """Record a signal; one whose key was used before isn't recorded again."""
        signalled = Signalled(run_id, name, data, key)
        if key is None or all((seen.run_id, seen.key) != (run_id, key) for seen in self.signalled):
            self.signalled.append(signalled)

    async def send_answer(self, token_id: str, decision: Decision) -> None:
        """Record an answer to a token."""
        self.answered.append((token_id, decision))

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""


@contextlib.contextmanager
def active(
    *, attempt: int = 1, now: datetime | None = None, overrides: Overrides | None = None
) -> Iterator[Session]:
    """Make tasks callable like functions, in the whole process, until the block ends.

    Args:
        attempt: the attempt's number that contexts show.
        now: what `ctx.now()` returns; by default the real time.
        overrides: who provides in the place of the providers that handlers depend on.

    Raises:
        DefinitionError: one of `overrides` can't provide anything.
    """
    session = Session(attempt, now)
    with overriding(overrides or {}), supplying(session), use_everywhere(Client(session)):
        yield session
