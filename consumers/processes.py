"""Processes for handlers that compute: each executes one at a time, and can be killed with it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import multiprocessing
import os
import signal
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any, Final

from consumers.process_child import Job, Outcome, serve
from tidemill.kernel.protocol.records import Fault

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

GRACE_SECONDS: Final = 2.0
"""How long a handler that was asked to stop may go on before its process is killed."""
_SPAWN: Final = multiprocessing.get_context("spawn")


class RemoteError(Exception):
    """What a handler has raised in its process: its fault, and what the task's policy makes of it."""

    def __init__(self, fault: Fault, *, final: bool, delay: float | None) -> None:
        super().__init__(fault.message)
        self.fault = fault
        self.final = final
        self.delay = delay


class ProcessDiedError(Exception):
    """The process that executed a handler has died with it."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A result that was encoded in the handler's process."""

    json: bytes


class HandlerProcesses:
    """Up to `size` processes; what finds none free waits."""

    def __init__(self, size: int | None = None) -> None:
        self._places = asyncio.Semaphore(size or os.cpu_count() or 1)
        self._idle: list[_Child] = []
        self._closed = False

    async def execute(self, job: Job, begun: asyncio.Event) -> Encoded:
        """Execute a handler in a process; when this is cancelled, the handler is stopped, or killed.

        Raises:
            RemoteError: the handler has raised something.
            ProcessDiedError: its process has died.
        """
        async with self._places:
            child = self._idle.pop() if self._idle else await self._start()
            begun.set()
            try:
                outcome = await child.execute(job)
            finally:
                if child.usable and not self._closed:
                    self._idle.append(child)
                else:
                    child.kill()
        if outcome.fault is not None:
            raise RemoteError(outcome.fault, final=outcome.final, delay=outcome.delay)
        return Encoded(outcome.result)

    async def _start(self) -> _Child:
        """Start a process; one that comes too late for whoever wanted it is kept."""
        starting = asyncio.create_task(asyncio.to_thread(_Child), name="start a process")
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            starting.add_done_callback(self._keep)
            raise

    def _keep(self, started: asyncio.Task[_Child]) -> None:
        if started.cancelled() or started.exception() is not None:
            return
        if self._closed:
            started.result().kill()
        else:
            self._idle.append(started.result())

    def close(self) -> None:
        """End all idle processes; those that execute something end with it."""
        self._closed = True
        while self._idle:
            self._idle.pop().kill()


class _Child:
    """One process and the pipe to it."""

    def __init__(self) -> None:
        self._pipe, theirs = _SPAWN.Pipe()
        self._process: SpawnProcess = _SPAWN.Process(target=serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        self.usable = True

    async def execute(self, job: Job) -> Outcome:
        """Have a handler executed and return what came of it."""
        self.usable = False
        with contextlib.suppress(OSError):  # it has died meanwhile: nothing will be read from it
            self._pipe.send(job)
        reading = asyncio.create_task(self._read(), name=f"process {self._process.pid} of {job.run_id}")
        try:
            outcome = await asyncio.shield(reading)
        except asyncio.CancelledError:
            outcome = await self._stop(reading)
        self.usable = True
        return outcome

    async def _stop(self, reading: asyncio.Task[Outcome]) -> Outcome:
        """Ask the handler to stop, and kill its process when it goes on; what it completes counts."""
        with contextlib.suppress(OSError):
            self._pipe.send(None)
        done, _ = await asyncio.wait({reading}, timeout=GRACE_SECONDS)
        if not done:
            self.kill()
        with contextlib.suppress(ProcessDiedError):
            return await reading
        raise asyncio.CancelledError

    async def _read(self) -> Outcome:
        """Read what the process says until that is an outcome; what it logs is logged here."""
        loop = asyncio.get_running_loop()
        while True:
            readable = asyncio.Event()
            loop.add_reader(self._pipe.fileno(), readable.set)
            try:
                await readable.wait()
            finally:
                loop.remove_reader(self._pipe.fileno())
            message = await asyncio.to_thread(_receive, self._pipe)
            if isinstance(message, Outcome):
                return message
            if message is None:
                raise ProcessDiedError(await asyncio.to_thread(self._obituary))
            logging.getLogger(message.name).handle(message)

    def _obituary(self) -> str:
        self._process.join(GRACE_SECONDS)
        code = self._process.exitcode
        if code is not None and code < 0:
            how = f"was killed by {signal.Signals(-code).name}"
            return f"the handler's process {how}{' (out of memory?)' if -code == signal.SIGKILL else ''}"
        return f"the handler's process ended with exit code {code}"

    def kill(self) -> None:
        """End the process at once."""
        self.usable = False
        self._process.kill()


def _receive(pipe: Connection) -> Any:
    """Return what comes through a pipe; None where its other end is gone."""
    try:
        return pipe.recv()
    except (EOFError, OSError):
        return None
