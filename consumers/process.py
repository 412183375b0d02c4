"""Worker and engine as processes: they open the broker, work until a signal, and leave in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence

from consumers.endings import report_endings
from consumers.engine import Engine
from consumers.loader import AnyTask
from consumers.worker import Worker
from tidemill.kernel.collector import spare_collector
from tidemill.kernel.services.broker import Broker, open_broker
from tidemill.kernel.settings.model import Settings

_log = logging.getLogger(__name__)
Report = Callable[[str], None]


async def serve_worker(
    settings: Settings, tasks: Sequence[AnyTask], *, engine: bool, report: Report, republish: bool = False
) -> bool:
    """Execute tasks until SIGTERM or SIGINT; with `engine` its roles run in this process too.

    Returns True if it has stopped by itself, because of its memory, and is to be replaced.

    With `republish` the tasks' definitions are put in force also where newer versions of them are.

    A handler that can't be stopped doesn't keep the process: it ends at once then, with exit code 1.

    Raises:
        BrokerError: the broker can't be reached or prepared.
        ExceptionGroup: a part of the worker died.
    """
    left_behind: tuple[str, ...] = ()
    try:
        async with open_broker(settings, name="worker", patient=True) as broker:
            worker = Worker(broker, tasks, settings.worker, republish=republish, run_logs=settings.run_logs)
            try:
                mover = Engine(broker, settings, settings.engine.roles) if engine else None
                await _serve(broker, lambda stopping: _work(worker, mover, stopping, report))
            finally:
                left_behind = worker.left_behind
        return worker.outgrown
    finally:
        if left_behind:
            _end_at_once(left_behind)


async def serve_engine(settings: Settings, roles: Collection[str], *, report: Report) -> None:
    """Run engine roles until SIGTERM or SIGINT.

    Raises:
        BrokerError: the broker can't be reached or prepared.
        ExceptionGroup: a role died.
    """
    async with open_broker(settings, name="engine", patient=True) as broker:

        async def move(stopping: asyncio.Event) -> None:
            spare_collector()
            report(f"engine runs {', '.join(sorted(roles))}")
            await Engine(broker, settings, roles).run(stopping)

        await _serve(broker, move)


async def _serve(broker: Broker, part: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Run a part of the product until a signal, with what every process has beside it."""
    ended = asyncio.Event()
    with stop_signals() as stopping:
        async with asyncio.TaskGroup() as group:
            group.create_task(_exit_when_closed(broker, stopping), name="watch the connection")
            group.create_task(report_endings(broker, ended), name="report endings")
            try:
                await part(stopping)
            finally:
                ended.set()  # now there will be no more endings


async def _work(worker: Worker, engine: Engine | None, stopping: asyncio.Event, report: Report) -> None:
    ready = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.run(stopping, ready), name="worker")
        await ready.wait()
        if engine is not None:
            group.create_task(engine.run(stopping), name="engine")
        spare_collector()
        report(f"worker {worker.identity.id} serves {', '.join(worker.task_ids)}")


def _end_at_once(left_behind: Sequence[str]) -> None:
    """End a process whose event loop would wait for handlers that swallow their cancellation."""
    _log.error("%s swallowed CancelledError and can't be stopped: the process ends", ", ".join(left_behind))
    if (error := sys.exception()) is not None:
        _log.error("the worker had died before", exc_info=error)
    logging.shutdown()
    os._exit(1)


@contextlib.contextmanager
def stop_signals() -> Iterator[asyncio.Event]:
    """Yield an event that SIGTERM and SIGINT set; a second one ends the process as usual."""
    loop, stopping = asyncio.get_running_loop(), asyncio.Event()

    def stop(number: signal.Signals) -> None:
        _log.info("%s: stopping", number.name)
        stopping.set()
        loop.remove_signal_handler(number)

    numbers = (signal.SIGTERM, signal.SIGINT)
    for number in numbers:
        loop.add_signal_handler(number, stop, number)
    try:
        yield stopping
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


async def _exit_when_closed(broker: Broker, stopping: asyncio.Event) -> None:
    """A connection that is closed for good can't be waited for: whoever supervises us starts us anew."""
    closed = asyncio.create_task(broker.bus.wait_closed(), name="wait for the end of the connection")
    stopped = asyncio.create_task(stopping.wait(), name="wait for a signal")
    try:
        await asyncio.wait({closed, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if closed.done() and not stopping.is_set():
            raise ConnectionError("the broker has closed the connection for good")
    finally:
        closed.cancel()
        stopped.cancel()
