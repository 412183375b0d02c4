"""Worker and engine as processes: they open the broker, work until a signal, and leave in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable, Collection, Iterator, Sequence

from consumers.endings import report_endings
from consumers.engine import Engine
from consumers.loader import AnyTask
from consumers.worker import Worker
from tidemill.kernel.broker import Broker, open_broker
from tidemill.kernel.settings import Settings

_log = logging.getLogger(__name__)
Report = Callable[[str], None]


async def serve_worker(settings: Settings, tasks: Sequence[AnyTask], *, engine: bool, report: Report) -> None:
    """Execute tasks until SIGTERM or SIGINT; with `engine` its roles run in this process too.

    Raises:
        BrokerError: the broker can't be reached or prepared.
        ExceptionGroup: a part of the worker died.
    """
    async with open_broker(settings, name="worker", patient=True) as broker:
        with stop_signals() as stopping:
            worker = Worker(broker, tasks, settings.worker)
            ready = asyncio.Event()
            async with asyncio.TaskGroup() as group:
                group.create_task(worker.run(stopping, ready), name="worker")
                group.create_task(_exit_when_closed(broker, stopping), name="watch the connection")
                group.create_task(report_endings(broker, stopping), name="report endings")
                await ready.wait()
                if engine:
                    group.create_task(
                        Engine(broker, settings, settings.engine.roles).run(stopping), name="engine"
                    )
                report(f"worker {worker.identity.id} serves {', '.join(task.id for task in tasks)}")


async def serve_engine(settings: Settings, roles: Collection[str], *, report: Report) -> None:
    """Run engine roles until SIGTERM or SIGINT.

    Raises:
        BrokerError: the broker can't be reached or prepared.
        ExceptionGroup: a role died.
    """
    async with open_broker(settings, name="engine", patient=True) as broker:
        with stop_signals() as stopping:
            async with asyncio.TaskGroup() as group:
                group.create_task(Engine(broker, settings, roles).run(stopping), name="engine")
                group.create_task(report_endings(broker, stopping), name="report endings")
                group.create_task(_exit_when_closed(broker, stopping), name="watch the connection")
                report(f"engine runs {', '.join(sorted(roles))}")


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
