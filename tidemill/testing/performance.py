"""One execution of a handler on a stage: it is called, told of news, and concluded."""

from __future__ import annotations

import asyncio
import contextvars
import traceback
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson

from tidemill.durable.branch import enter
from tidemill.durable.leaving import left, unfinished
from tidemill.durable.script import Script
from tidemill.hooks import tell_of_start
from tidemill.kernel.errors import PayloadError
from tidemill.kernel.protocol.conclusions import Cancelled, Completed, Conclusion, Failed, Lost
from tidemill.kernel.protocol.records import Fault
from tidemill.retry import RetryAfter
from tidemill.run_context import Attempt
from tidemill.testing.memory import Crashed
from tidemill.testing.memory_port import MemoryPort

if TYPE_CHECKING:
    from tidemill.binding import BoundCall
    from tidemill.kernel.protocol.attempt import Session
    from tidemill.kernel.protocol.state import State
    from tidemill.task import FnTask
    from tidemill.testing.memory import Memory
    from tidemill.testing.outside import Outside

    AnyTask = FnTask[Any, Any, Any, Any]


class TimedOutError(Exception):
    """The attempt used up its executing time."""


class Performance:
    """Executes one session's handler."""

    def __init__(
        self, task: AnyTask, session: Session, memory: Memory, outside: Outside, linger: float
    ) -> None:
        self.session = session
        self._task = task
        self._memory = memory
        self._port = MemoryPort(session, memory, outside)
        self._script: Script | None = None
        self._linger = linger
        self._verdict: Cancelled | None = None
        self._done: asyncio.Future[Any] | None = None

    async def conclude(self) -> Conclusion:
        """Call the handler and say what came of it.

        Raises:
            Crashed: its process has died meanwhile.
        """
        if self._task.signature.context != "none" or self._task.hooks.start:
            self._script = Script(self._port, linger=self._linger)
        try:
            conclusion = await self._conclude()
        finally:
            if self._done is not None:
                self._done.cancel()
            if self._script is not None:
                await self._script.close()
        if self._port.died:
            raise Crashed(self._port.run_id)
        return Lost() if self._port.lost else conclusion

    async def _conclude(self) -> Conclusion:
        script = self._script
        try:
            call = self._bind()
            value = await self._result_of(call)
            wrong = unfinished(script, self._task.source_location) if script is not None else None
            return wrong or self._completed(call, value)
        except BaseException as error:
            own = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and own is not None and own.cancelling():
                raise
            if self._port.lost:
                return Lost()
            return (left(script, error) if script is not None else None) or self._failed(error)

    def heard(self, state: State) -> None:
        """Take in a newer state of the run's journal."""
        if state.tail > self.session.state.tail:
            self.session.state = state
        if state.cancel is not None:
            self._verdict = Cancelled(state.cancel.reason)
            if self._done is not None:
                self._done.cancel()
        if self._script is not None:
            self._script.news()

    def _bind(self) -> BoundCall:
        created = self.session.state.created
        if created is None:
            raise AssertionError("an owned run has a created record")
        return self._task.bind(created.event, created.raw, None, self._attempt(self._script))

    def _attempt(self, script: Script | None) -> Attempt:
        return Attempt(
            run_id=self.session.ticket.run,
            task_id=self._task.id,
            number=self.session.state.attempt,
            now=lambda: datetime.fromtimestamp(self._memory.now, UTC),
            cancelled=lambda: self._verdict is not None,
            script=script,
        )

    async def _result_of(self, call: BoundCall) -> Any:
        """Execute the handler within its timeout."""
        loop = asyncio.get_running_loop()
        name = f"task {self._task.id}, run {self.session.ticket.run}"
        if self._task.hooks.start and self._script is not None:
            telling = tell_of_start(self._task.hooks.start, self._script, self._attempt(None))
            self._done = loop.create_task(telling, name=name)
            await self._done
        script = self._script if self._task.signature.context != "none" else None
        surroundings = contextvars.copy_context()
        if script is not None:
            surroundings.run(enter, script.main)
        if call.is_async:
            executing = loop.create_task(call.invoke(), name=name, context=surroundings)
            if script is not None:
                script.adopt(executing, script.main)
            self._done = executing
        else:
            self._done = loop.run_in_executor(None, surroundings.run, call.invoke)
        timeout = self._task.definition.timeout
        given_up = loop.create_future()
        if script is not None:
            script.when_stuck(lambda: given_up.set_result(None))
        await asyncio.wait({self._done, given_up}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if given_up.done() and not self._done.done():
            return None
        if not self._done.done():
            self._done.cancel()
            await asyncio.wait({self._done})
            raise TimedOutError(f"the attempt took longer than its timeout of {timeout:g} s")
        return self._done.result()

    def _completed(self, call: BoundCall, value: Any) -> Completed:
        encoded = call.encode_result(value)
        return Completed(None if encoded == b"null" else orjson.Fragment(encoded))

    def _failed(self, error: BaseException) -> Conclusion:
        if self._verdict is not None and isinstance(error, asyncio.CancelledError):
            return self._verdict
        trace = "".join(traceback.format_exception(error))
        fault = Fault(_name(error), str(error), trace, self.session.state.attempt, self._memory.now)
        if isinstance(error, TimedOutError):
            return Failed(fault, "timed_out")
        if isinstance(error, PayloadError):
            return Failed(fault, final=True)
        if isinstance(error, RetryAfter):
            return Failed(fault, delay=error.seconds_from(datetime.fromtimestamp(self._memory.now, UTC)))
        return Failed(fault, final=not self._task.retry.applies_to(error))


def _name(error: BaseException) -> str:
    kind = type(error)
    ours = kind.__module__.partition(".")[0] in ("tidemill", "builtins")
    return kind.__name__ if ours else f"{kind.__module__}.{kind.__qualname__}"
