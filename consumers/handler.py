"""A handler that executes: a task on the event loop, or a call in a thread."""

from __future__ import annotations

import asyncio
import contextvars
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Executor
from typing import Any

from consumers.faults import told
from tidemill.binding import BoundCall
from tidemill.durable.branch import enter
from tidemill.durable.script import Script


class Handler(ABC):
    """A handler's call, begun or about to begin; `done` carries what comes of it.

    It sees the context variables of the moment at which it was made.
    """

    stoppable: bool
    """Whether `cancel` reaches it now."""
    done: asyncio.Future[Any]

    @abstractmethod
    async def begun(self) -> None:
        """Wait until the user's code executes, or never will."""

    @abstractmethod
    def cancel(self) -> None:
        """Ask it to stop."""


def start(call: BoundCall, threads: Executor, name: str, script: Script | None = None) -> Handler:
    """Start a handler; `name` is what its task is called in the log, `script` what its context stands for."""
    surroundings = contextvars.copy_context()
    if script is not None:
        surroundings.run(enter, script.main)
    handler: Handler
    if call.is_async:
        handler = OnLoop(call.invoke, name, surroundings)
    elif call.frame is None:
        handler = InThread(call.invoke, threads, surroundings)
    else:
        handler = FramedInThread(call, threads, name, surroundings)
    if script is not None and isinstance(handler, OnLoop):
        script.adopt(handler.done, script.main)
    return handler


class OnLoop(Handler):
    """An async handler."""

    stoppable = True
    done: asyncio.Task[Any]

    def __init__(
        self,
        invoke: Callable[[], Coroutine[Any, Any, Any]],
        name: str,
        surroundings: contextvars.Context | None = None,
    ) -> None:
        self.done = asyncio.create_task(_contained(invoke), name=name, context=surroundings)
        self.done.add_done_callback(_retrieve)

    async def begun(self) -> None:
        """Return at once: it begins with the loop's next turn."""

    def cancel(self) -> None:
        """Cancel its task."""
        self.done.cancel()


class InThread(Handler):
    """A sync handler, which waits for a free thread first. Once it has begun nothing stops it."""

    stoppable = False

    def __init__(
        self, invoke: Callable[[], Any], threads: Executor, surroundings: contextvars.Context
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._begun = asyncio.Event()
        self._work = threads.submit(surroundings.run, self._invoke, invoke)
        self.done = asyncio.wrap_future(self._work)
        self.done.add_done_callback(lambda _: self._begun.set())
        self.done.add_done_callback(_retrieve)

    async def begun(self) -> None:
        """Wait for a thread: what a timeout counts begins there."""
        await self._begun.wait()

    def cancel(self) -> None:
        """Take it back if no thread has begun with it."""
        self.take_back()

    def take_back(self) -> bool:
        """Take it back, and say whether no thread had begun with it."""
        return self._work.cancel()

    def _invoke(self, invoke: Callable[[], Any]) -> Any:
        self._loop.call_soon_threadsafe(self._begun.set)
        return _contained_sync(invoke)


class FramedInThread(Handler):
    """A sync handler with something around it: that is executed on the loop, the handler in a thread."""

    def __init__(
        self, call: BoundCall, threads: Executor, name: str, surroundings: contextvars.Context
    ) -> None:
        self.stoppable = True
        self._threads = threads
        self._begun = asyncio.Event()
        whole = _contained(lambda: call.within(self._execute))
        self.done = asyncio.create_task(whole, name=name, context=surroundings)
        self.done.add_done_callback(lambda _: self._begun.set())
        self.done.add_done_callback(_retrieve)

    async def begun(self) -> None:
        """Wait for a thread, behind all that is provided: what a timeout counts begins there."""
        await self._begun.wait()

    def cancel(self) -> None:
        """Stop what is around the handler; nothing while a thread executes that."""
        if self.stoppable:
            self.done.cancel()

    async def _execute(self, invoke: Callable[[], Any]) -> Any:
        inner = InThread(invoke, self._threads, contextvars.copy_context())
        try:
            await inner.begun()
        except asyncio.CancelledError:
            if inner.take_back():
                raise
            # A thread has begun with it in this very moment: nothing stops that.
        self.stoppable = False
        self._begun.set()
        try:
            return await inner.done
        finally:
            self.stoppable = True


class InProcess(Handler):
    """A sync handler in a process of its own: `execute` sets the event when it begins."""

    stoppable = True

    def __init__(self, execute: Callable[[asyncio.Event], Coroutine[Any, Any, Any]], name: str) -> None:
        self._begun = asyncio.Event()
        self.done = asyncio.create_task(execute(self._begun), name=name)
        self.done.add_done_callback(lambda _: self._begun.set())
        self.done.add_done_callback(_retrieve)

    async def begun(self) -> None:
        """Wait for a process: what a timeout counts begins there."""
        await self._begun.wait()

    def cancel(self) -> None:
        """Ask the handler to stop; its process is killed when it goes on."""
        self.done.cancel()


async def is_done_within(
    future: asyncio.Future[Any], timeout: float | None, script: Script | None = None
) -> bool:
    """Wait until a future is done, for `timeout` seconds at most, and leave it alone in any case.

    Where there is a script it is done, too, when its code is given up: that never ends.

    It is `asyncio.wait` for one future, at a fraction of its cost: every run passes here.
    """
    if future.done():
        return True
    loop = asyncio.get_running_loop()
    waiter = loop.create_future()

    def wake(_: object = None) -> None:
        if not waiter.done():
            waiter.set_result(None)

    future.add_done_callback(wake)
    if script is not None:
        script.when_stuck(wake)
    timer = loop.call_later(timeout, wake) if timeout is not None else None
    try:
        await waiter
    finally:
        future.remove_done_callback(wake)
        if timer is not None:
            timer.cancel()
    return future.done() or (script is not None and script.stuck)


async def _contained(invoke: Callable[[], Awaitable[Any]]) -> Any:
    """Keep a handler's `sys.exit` from ending the event loop."""
    try:
        return await invoke()
    except SystemExit as error:
        raise _exited(error) from error


def _contained_sync(invoke: Callable[[], Any]) -> Any:
    """Turn exceptions that can't travel through a future into one that can."""
    try:
        return invoke()
    except SystemExit as error:
        raise _exited(error) from error
    except (StopIteration, KeyboardInterrupt, asyncio.CancelledError) as error:
        raise RuntimeError(f"the handler raised {type(error).__name__}") from error


def _exited(error: SystemExit) -> RuntimeError:
    code = told("its code", lambda: repr(error.code))
    return RuntimeError(f"the handler called sys.exit({code})")


def _retrieve(done: asyncio.Future[Any]) -> None:
    """Look at an outcome that nobody may wait for any more, so that asyncio doesn't complain of it."""
    if not done.cancelled():
        done.exception()
