"""One execution of a handler: it is called, watched, stopped where it must be, and concluded."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Final

import orjson

from consumers.faults import fault_of
from consumers.loader import AnyTask
from tidemill.binding import BoundCall
from tidemill.client import Client, use
from tidemill.context import Attempt
from tidemill.kernel import backoff, clock
from tidemill.kernel.blobs import INLINE_LIMIT, Blobs
from tidemill.kernel.errors import PayloadError
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
from tidemill.retry import RetryAfter

STUBBORN_SECONDS: Final = 10.0
"""After so long a handler that was asked to stop, and goes on, is named in the log."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Tools:
    """What executions share: threads for sync handlers, blobs for large values, the client of handlers."""

    threads: Executor
    blobs: Blobs
    client: Client


class _TimedOutError(Exception):
    """The attempt used up its executing time."""


class Execution:
    """Runs one session's handler; `stop` may be called from the outside at any time."""

    def __init__(self, task: AnyTask, session: Session, tools: Tools) -> None:
        self.session = session
        self._task = task
        self._tools = tools
        self._handler: asyncio.Future[Any] | None = None
        self._verdict: Cancelled | Interrupted | Lost | None = None
        self._in_thread = False

    @property
    def stopping(self) -> bool:
        """Whether the handler was asked to stop."""
        return self._verdict is not None

    def stop(self, verdict: Cancelled | Interrupted | Lost) -> None:
        """Ask the handler to stop; the execution concludes with `verdict`, unless the handler completes."""
        if self._verdict is None or isinstance(verdict, Lost):
            self._verdict = verdict
        if self._handler is not None and not self._in_thread:
            self._handler.cancel()

    async def lingering(self) -> None:
        """Wait for the thread of a sync handler that outlived its attempt: it still holds the ticket."""
        if self._in_thread and self._handler is not None and not self._handler.done():
            await asyncio.wait({self._handler})

    async def conclude(self) -> Conclusion:
        """Call the handler and say what came of it."""
        try:
            if self._verdict is not None:
                return self._verdict
            conclusion: Conclusion = await self._completed(await self._call())
        except asyncio.CancelledError as error:
            own = asyncio.current_task()
            if own is not None and own.cancelling():
                raise
            return self._verdict or self._failed(error)
        except (Exception, SystemExit, GeneratorExit) as error:  # noqa: BLE001 - user code raises anything
            conclusion = self._failed(error)
        return self._verdict if isinstance(self._verdict, Lost) else conclusion

    async def _call(self) -> tuple[BoundCall, Any]:
        state = self.session.state
        if state.created is None:
            raise AssertionError("an owned run has a created record")
        call = await self._bind(state.created)
        timeout = self._task.definition.timeout
        with use(self._tools.client):
            self._handler = self._start(call)
        done, _ = await asyncio.wait({self._handler}, timeout=timeout)
        if not done:
            await self._give_up(timeout or 0.0)
        return call, self._handler.result()

    def _start(self, call: BoundCall) -> asyncio.Future[Any]:
        """Start the handler: a task of its own, or a thread; both see the context of this moment."""
        if call.is_async:
            own = asyncio.current_task()
            return asyncio.create_task(_contained(call), name=own.get_name() if own else None)
        self._in_thread = True
        context = contextvars.copy_context()
        return asyncio.get_running_loop().run_in_executor(self._tools.threads, context.run, call.invoke)

    async def _bind(self, created: Created) -> BoundCall:
        raw = created.raw if created.blob is None else await self._tools.blobs.get(created.blob)
        attempt = Attempt(
            run_id=self.session.ticket.run,
            task_id=self._task.id,
            number=self.session.state.attempt,
            cancelled=lambda: self.stopping,
        )
        return self._task.bind(created.event, raw, None, attempt)

    async def _give_up(self, timeout: float) -> None:
        """End an attempt that takes too long; a thread can't be stopped, so it lingers."""
        sentence = f"the attempt took longer than its timeout of {timeout:g} s"
        if self._in_thread or self._handler is None:
            raise _TimedOutError(f"{sentence}; its thread can't be stopped and isn't tried again beside it")
        self._handler.cancel()
        while not (await asyncio.wait({self._handler}, timeout=STUBBORN_SECONDS))[0]:
            _log.warning("%s goes on after its timeout: it swallows CancelledError", self._handler)
        raise _TimedOutError(sentence)

    async def _completed(self, returned: tuple[BoundCall, Any]) -> Completed:
        call, value = returned
        encoded = call.encode_result(value)
        if len(encoded) > INLINE_LIMIT:
            return Completed(blob=await self._tools.blobs.put(self.session.ticket.run, encoded))
        return Completed(None if encoded == b"null" else orjson.Fragment(encoded))

    def _failed(self, error: BaseException) -> Failed:
        now = clock.now()
        fault = fault_of(error, attempt=self.session.state.attempt, at=now.timestamp())
        if isinstance(error, _TimedOutError):
            return Failed(fault, "timed_out", final=self._in_thread, roll=backoff.spread())
        if isinstance(error, PayloadError):
            return Failed(fault, final=True)
        if isinstance(error, RetryAfter):
            return Failed(fault, delay=error.seconds_from(now))
        expected = not isinstance(error, Exception) or self._task.retry.applies_to(error)
        return Failed(fault, final=not expected, roll=backoff.spread())


async def _contained(call: BoundCall) -> Any:
    """Keep a handler's `sys.exit` from ending the event loop."""
    try:
        return await call.invoke()
    except SystemExit as error:
        raise RuntimeError(f"the handler called sys.exit({error.code!r})") from error
