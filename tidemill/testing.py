"""Unit tests of handlers: call a task like the function that it is, without broker, gateway or worker.

While `active` is in force a task that wants a context gets one, and `trigger` records instead of sending:

    @pytest.fixture
    def tidemill_session() -> Iterator[Session]:
        with tidemill.testing.active() as session:
            yield session

    async def test_deploy(tidemill_session: Session) -> None:
        report = await deploy(Push(after="f00", ref="refs/heads/main"))
        assert report.ok
        assert tidemill_session.triggered[0].task_id == "notify"

`sample` returns an event's data as its provider sends it.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from tidemill.client import Client, use_everywhere
from tidemill.direct import supplying
from tidemill.kernel import clock, subjects
from tidemill.kernel.errors import ConflictError
from tidemill.kernel.trigger import TriggerRequest
from tidemill.run_context import Attempt
from tidemill.samples import BUNDLED, find_sample
from tidemill.transport import RunOutcome, Transport

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from tidemill.task import Task

__all__ = ["Cancelled", "Session", "Triggered", "active", "sample"]

Out = TypeVar("Out")


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


@dataclass(slots=True)
class Session(Transport):
    """What happened while testing was active, and the answers that were prepared.

    Attributes:
        number: the attempt's number that contexts show.
        fixed_now: what `ctx.now()` returns; None is the real time.
        stopping: what `SyncContext.cancelled` says.
        triggered: the runs that were triggered, in order.
        cancelled: the cancellations that were asked for, in order.
    """

    number: int = 1
    fixed_now: datetime | None = None
    stopping: bool = False
    triggered: list[Triggered] = field(default_factory=list)
    cancelled: list[Cancelled] = field(default_factory=list)
    _outcomes: dict[str, RunOutcome] = field(default_factory=dict)

    def answer(self, task: Task[Any, Out], result: Out) -> None:
        """Prepare what `Run.result` returns for runs of a task.

        Raises:
            PayloadError: the result doesn't fit the task's return annotation.
        """
        self._outcomes[task.id] = RunOutcome("completed", task.encode_result(result))

    def fail(self, task: Task[Any, Any], error: str, *, state: str = "failed") -> None:
        """Prepare that `Run.result` raises for runs of a task, as if they had ended in `state`."""
        self._outcomes[task.id] = RunOutcome(state, error=error)

    def attempt(self, task_id: str) -> Attempt:
        """Return the attempt that a direct call stands for."""
        return Attempt(subjects.new_run(), task_id, self.number, self._now, lambda: self.stopping)

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
        task_id = next((seen.task_id for seen in self.triggered if seen.run_id == run_id), "?")
        if task_id not in self._outcomes:
            raise ConflictError(
                f"no answer is prepared for runs of task {task_id!r}",
                hint=f"session.answer({task_id}, …) or session.fail({task_id}, …) prepares one",
            )
        return self._outcomes[task_id]

    async def cancel(self, run_id: str, reason: str) -> None:
        """Record a cancellation."""
        self.cancelled.append(Cancelled(run_id, reason))

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""


@contextlib.contextmanager
def active(*, attempt: int = 1, now: datetime | None = None) -> Iterator[Session]:
    """Make tasks callable like functions, in the whole process, until the block ends.

    Args:
        attempt: the attempt's number that contexts show.
        now: what `ctx.now()` returns; by default the real time.
    """
    session = Session(attempt, now)
    with supplying(session), use_everywhere(Client(session)):
        yield session


def sample(source: str, event_type: str, *, directory: Path | None = None) -> Any:
    """Return the data of a golden sample: `sample("github", "issues.opened")`, a fresh one each time.

    Args:
        source: a preset, or a source that has samples of its own.
        event_type: the provider's type, with its action or without.
        directory: a folder of schemas of one's own, looked through first.

    Raises:
        NotFoundError: there is none of that type; the hint names those that there are.
    """
    return find_sample(source, event_type, (BUNDLED, directory) if directory else (BUNDLED,))
