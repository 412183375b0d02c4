"""One execution of a handler: it is called, watched, stopped where it must be, and concluded."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from consumers import handler
from consumers.faults import fault_of
from consumers.journal_port import JournalPort, Surroundings
from consumers.loader import AnyTask
from consumers.process_child import Job
from consumers.processes import Encoded, HandlerProcesses, ProcessDiedError, RemoteError
from consumers.run_logs import RunLogs
from tidemill.binding import BoundCall
from tidemill.durable.leaving import left, unfinished
from tidemill.durable.minder import left_by
from tidemill.durable.scribe import Scribe, attend, dismiss
from tidemill.durable.script import Script
from tidemill.hooks import tell_of_start
from tidemill.kernel import backoff, clock
from tidemill.kernel.errors import ContextError, DefinitionError, NotFoundError, PayloadError
from tidemill.kernel.jetstream.blobs import INLINE_LIMIT
from tidemill.kernel.protocol.attempt import Session
from tidemill.kernel.protocol.conclusions import (
    Cancelled,
    Completed,
    Conclusion,
    Failed,
    Interrupted,
    Lost,
)
from tidemill.kernel.protocol.records import Created
from tidemill.kernel.services.performer import Performer
from tidemill.kernel.services.traces import Attribute, traceparent
from tidemill.retry import RetryAfter
from tidemill.run_context import Attempt

STUBBORN_SECONDS: Final = 10.0
"""After so long a handler that was asked to stop, and goes on, is named in the log."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Tools:
    """What executions share: threads for sync handlers, blobs, what durable runs need, and their logs."""

    threads: Executor
    performer: Performer
    surroundings: Surroundings
    processes: HandlerProcesses = field(default_factory=HandlerProcesses)
    logs: RunLogs | None = None


class TimedOutError(Exception):
    """The attempt used up its executing time."""


class OverdueError(TimedOutError):
    """The run used up its whole time while it was executed."""


class Execution:
    """Runs one session's handler; `stop` may be called from the outside at any time."""

    def __init__(self, task: AnyTask, session: Session, tools: Tools) -> None:
        self.session = session
        self._task = task
        self._tools = tools
        self._handler: handler.Handler | None = None
        self._script: Script | None = None
        self._port: JournalPort | None = None
        self._scribe: Scribe | None = None
        self._verdict: Cancelled | Interrupted | Lost | None = None
        self._reminder: asyncio.TimerHandle | None = None

    @property
    def name(self) -> str:
        """What it is called in the log."""
        return f"task {self._task.id}, run {self.session.ticket.run}"

    @property
    def stopping(self) -> bool:
        """Whether the handler was asked to stop."""
        return self._verdict is not None

    @property
    def lost(self) -> bool:
        """Whether somebody else owns the run."""
        return isinstance(self._verdict, Lost)

    @property
    def going_on(self) -> bool:
        """Whether the handler's code still executes."""
        return self._handler is not None and not self._handler.done.done()

    def stop(self, verdict: Cancelled | Interrupted | Lost) -> None:
        """Ask the handler to stop; the execution concludes with `verdict`, unless the handler completes."""
        if self._verdict is None or isinstance(verdict, Lost):
            self._verdict = verdict
        if self._handler is not None:
            self._stop_handler(self._handler)

    async def ends_within(self, seconds: float) -> bool:
        """Say whether the handler's task ends in time; a thread needs nobody to wait for it."""
        if self._handler is None or not self._handler.stoppable:
            return True
        await asyncio.wait({self._handler.done}, timeout=seconds)
        return not self.going_on

    async def lingering(self) -> None:
        """Wait for the thread of a sync handler that outlived its attempt: it still holds the ticket."""
        if self._handler is not None:
            await handler.is_done_within(self._handler.done, None)

    async def conclude(self) -> Conclusion:
        """Call the handler and say what came of it."""
        traces = self._tools.surroundings.traces
        if not traces.enabled:
            return await self._conclude()
        with traces.span(
            f"run {self._task.id}", kind="consumer", parent=self._trace(), **self._facts()
        ) as span:
            conclusion = await self._conclude()
            span.set("tidemill.conclusion", type(conclusion).__name__.lower())
            if isinstance(conclusion, Failed):
                span.fail(f"{conclusion.fault.type}: {conclusion.fault.message}")
            return conclusion

    def _trace(self) -> str | None:
        """Return the `traceparent` of what has started the run."""
        created = self.session.state.created
        if created is None:
            return None
        return created.trace or traceparent((created.event or {}).get("traceparent"))

    def _facts(self) -> dict[str, Attribute]:
        return {
            "tidemill__run__id": self.session.ticket.run,
            "tidemill__task__id": self._task.id,
            "tidemill__attempt": self.session.state.attempt,
        }

    async def _conclude(self) -> Conclusion:
        conclusion: Conclusion
        try:
            call = await self._bind()
            if self._verdict is not None:
                return self._verdict
            value = await self._result_of(call)
            conclusion = self._unfinished() or await self._completed(call, value)
        except KeyboardInterrupt:  # Ctrl-C for the second time: the process ends
            raise
        except BaseException as error:
            if _own_task_is_cancelled(error):
                self.stop(Lost())
                raise
            conclusion = self._left(error) or self._stopped(error)
            error.__traceback__ = None  # it holds this frame, which holds it: neither could be freed
            return conclusion
        finally:
            if self._reminder is not None:
                self._reminder.cancel()
            if self._scribe is not None:
                self._scribe.close()
            if self._script is not None:
                await self._script.close()
        return Lost() if self.lost else conclusion

    def heard(self) -> None:
        """Look at the session's state, which has become newer."""
        if self._script is not None:
            self._script.news()

    def _left(self, error: BaseException) -> Conclusion | None:
        """Return how a durable handler has left its run, None where it has raised an error of its own."""
        if self._script is None or self.lost:
            return None
        if self._port is not None and self._port.lost and left_by(error):
            return Lost()
        return left(self._script, error)

    def _unfinished(self) -> Conclusion | None:
        """Return what is wrong with a durable handler that has returned: it can't have, by its journal."""
        if self._script is None:
            return None
        if self._port is not None and self._port.lost:
            return Lost()
        return unfinished(self._script, self._task.source_location)

    async def _bind(self) -> BoundCall:
        created = self.session.state.created
        if created is None:
            raise AssertionError("an owned run has a created record")
        if self._task.signature.context != "none" or self._task.hooks.start:
            self._port = JournalPort(self.session, self._task.id, self._tools.surroundings)
            self._script = Script(self._port, linger=self._tools.surroundings.linger)
        self._scribe = self._taking_down()
        attempt = self._attempt(self._script)
        return self._task.bind(created.event, await self._input(created), None, attempt)

    def _taking_down(self) -> Scribe | None:
        """Return who takes down what the handler says."""
        if self._tools.logs is None:
            return None
        session, repeating = self.session, self._script is not None and self._script.repeating
        return self._tools.logs.scribe(
            session.ticket.run, session.state.attempt, self._is_repeating if repeating else None
        )

    def _is_repeating(self) -> bool:
        return self._script is not None and self._script.repeating

    def _attempt(self, script: Script | None) -> Attempt:
        return Attempt(
            run_id=self.session.ticket.run,
            task_id=self._task.id,
            number=self.session.state.attempt,
            cancelled=lambda: self.stopping,
            script=script,
        )

    async def _job(self) -> Job:
        created, handler_task = self.session.state.created, self._task
        if created is None:
            raise AssertionError("an owned run has a created record")
        return Job(
            handler_task.__module__,
            handler_task.source_location.file,
            handler_task.id,
            self.session.ticket.run,
            self.session.state.attempt,
            created.event,
            await self._input(created),
        )

    async def _input(self, created: Created) -> bytes:
        if created.blob is None:
            return created.raw
        try:
            return await self._tools.performer.get_blob(created.blob)
        except NotFoundError as error:
            raise PayloadError(f"the run's input is gone: {error.sentence}", hint=error.hint) from error

    async def _result_of(self, call: BoundCall) -> Any:
        """Execute the handler within its timeout, which counts from its first line on."""
        script = self._script if self._task.signature.context != "none" else None
        if self._task.hooks.start:
            await self._tell_of_start()
        job = await self._job() if self._task.executor == "process" else None
        token = attend(self._scribe)
        try:
            executing = self._start(call, job, script)
        finally:
            dismiss(token)
        self._handler = executing
        await executing.begun()
        limit, error = self._limit()
        if not await handler.is_done_within(executing.done, limit, script):
            await self._give_up(executing, error)
        if not executing.done.done():
            self._abandon()
            return None
        return executing.done.result()

    def _abandon(self) -> None:
        """Do without a handler that swallows whatever is raised in it, and asks for more and more."""
        _log.error("%s is given up: it swallows that its run is left, again and again", self.name)
        self._handler = None

    def _start(self, call: BoundCall, job: Job | None, script: Script | None) -> handler.Handler:
        if job is None:
            return handler.start(call, self._tools.threads, self.name, script)
        return handler.InProcess(lambda begun: self._tools.processes.execute(job, begun), self.name)

    async def _tell_of_start(self) -> None:
        """Execute the hooks that hear of the run's start, within the same limits as the handler."""
        script = self._script
        if script is None:
            raise AssertionError("hooks are remembered by a script")
        attempt = self._attempt(None)
        token = attend(self._scribe)
        try:
            hooks = self._task.hooks.start
            telling = handler.OnLoop(lambda: tell_of_start(hooks, script, attempt), self.name)
        finally:
            dismiss(token)
        self._handler = telling
        limit, error = self._limit()
        if not await handler.is_done_within(telling.done, limit):
            await self._give_up(telling, error)
        telling.done.result()
        if self._verdict is not None:
            raise asyncio.CancelledError

    def _limit(self) -> tuple[float | None, TimedOutError]:
        """Return how many seconds the handler may execute now, and what is wrong when it takes longer."""
        timeout, policy = self._task.definition.timeout, self.session.policy
        if (deadline := policy.deadline(self.session.state)) is not None:
            rest = max(0.0, deadline - clock.now().timestamp())
            if timeout is None or rest < timeout:
                return rest, OverdueError(
                    f"it took longer than its max_duration of {policy.max_duration:g} s"
                )
        return timeout, TimedOutError(f"the attempt took longer than its timeout of {timeout or 0.0:g} s")

    async def _give_up(self, executing: handler.Handler, error: TimedOutError) -> None:
        """End an attempt that takes too long; a thread can't be stopped, so it lingers."""
        if not executing.stoppable:
            raise type(error)(f"{error}; its thread can't be stopped and isn't tried again beside it")
        self._stop_handler(executing)
        await asyncio.wait({executing.done})
        raise error

    def _stop_handler(self, executing: handler.Handler) -> None:
        executing.cancel()
        if executing.stoppable and self._reminder is None:
            self._remind(STUBBORN_SECONDS)

    def _remind(self, pause: float) -> None:
        """Name a handler that goes on though it was asked to stop, less and less often."""
        self._reminder = asyncio.get_running_loop().call_later(pause, self._complain, pause)

    def _complain(self, pause: float) -> None:
        if self.going_on:
            _log.warning(
                "%s goes on %g s after it was asked to stop: it swallows CancelledError", self.name, pause
            )
            self._remind(pause * 2)

    async def _completed(self, call: BoundCall, value: Any) -> Completed:
        encoded = value.json if isinstance(value, Encoded) else call.encode_result(value)
        if len(encoded) > INLINE_LIMIT:
            return Completed(blob=await self._tools.performer.put_blob(self.session.ticket.run, encoded))
        return Completed(None if encoded == b"null" else orjson.Fragment(encoded))

    def _stopped(self, error: BaseException) -> Conclusion:
        """Say what an exception means for a handler that may have been asked to stop before.

        A worker that shuts down has disturbed the attempt, whatever the handler made of it; what a
        cancelled handler raises of its own is kept.
        """
        verdict = self._verdict
        if isinstance(verdict, Lost):
            return verdict
        if isinstance(verdict, Interrupted) and not isinstance(error, TimedOutError):
            return verdict
        if isinstance(verdict, Cancelled) and isinstance(error, asyncio.CancelledError):
            return verdict
        return self._failed(error)

    def _failed(self, error: BaseException) -> Failed:
        if isinstance(error, RemoteError):
            return Failed(error.fault, final=error.final, delay=error.delay, roll=backoff.spread())
        now = clock.now()
        fault = fault_of(error, attempt=self.session.state.attempt, at=now.timestamp())
        if isinstance(error, TimedOutError):
            in_thread = self._handler is not None and not self._handler.stoppable
            final = in_thread or isinstance(error, OverdueError)
            return Failed(fault, "timed_out", final=final, roll=backoff.spread())
        if isinstance(error, ProcessDiedError):
            return Failed(fault, "crashed", roll=backoff.spread())
        if isinstance(error, PayloadError | ContextError | DefinitionError):  # the next attempt would too
            return Failed(fault, final=True)
        if isinstance(error, RetryAfter):
            return Failed(fault, delay=error.seconds_from(now))
        expected = not isinstance(error, Exception) or self._task.retry.applies_to(error)
        return Failed(fault, final=not expected, roll=backoff.spread())


def _own_task_is_cancelled(error: BaseException) -> bool:
    own = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and own is not None and bool(own.cancelling())
