"""What runs in a process for handlers that compute: it is sent jobs, one at a time."""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import signal
import threading
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from typing import Any, Final

from consumers.faults import fault_of
from consumers.loader import AnyTask, load
from tidemill.injection import WorkerScope, serving
from tidemill.kernel import clock
from tidemill.kernel.errors import PayloadError
from tidemill.kernel.protocol.records import Fault
from tidemill.retry import RetryAfter
from tidemill.run_context import Attempt

_HINT: Final = 'this one is executed in a process: leave out executor="process" for steps, waits and children'


@dataclass(frozen=True, slots=True)
class Job:
    """A handler's execution: where its task is found, and its input. Nothing else is shipped."""

    module: str
    file: str
    task_id: str
    run_id: str
    attempt: int
    facts: dict[str, Any] | None
    raw: bytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a job: the encoded result, or a fault and what the task's policy makes of it."""

    result: bytes = b""
    fault: Fault | None = None
    final: bool = False
    delay: float | None = None


class _Forward(logging.Handler):
    """Sends log records to the worker."""

    def __init__(self, pipe: Connection, sending: threading.Lock) -> None:
        super().__init__()
        self._pipe = pipe
        self._sending = sending

    def emit(self, record: logging.LogRecord) -> None:
        record.msg, record.args = record.getMessage(), None
        if record.exc_info:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
            record.exc_info = None
        try:
            with self._sending:
                self._pipe.send(record)
        except Exception:  # noqa: BLE001 - what can't be pickled must not end the handler
            self.handleError(record)


def serve(pipe: Connection) -> None:
    """Execute jobs until the worker has gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the worker, which stops its handlers
    threading.Thread(target=_end_with_parent, name="end with the worker", daemon=True).start()
    sending = threading.Lock()
    logging.basicConfig(level=logging.INFO, handlers=[_Forward(pipe, sending)])
    jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
    stop = threading.Event()
    threading.Thread(target=_listen, args=(pipe, jobs, stop), name="listen", daemon=True).start()
    asyncio.run(_serve(pipe, sending, jobs, stop))


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _listen(pipe: Connection, jobs: queue.SimpleQueue[Job | None], stop: threading.Event) -> None:
    """Take in jobs, and the word that the present one is to stop."""
    while True:
        try:
            message = pipe.recv()
        except (EOFError, OSError):
            os._exit(0)
        if message is None:
            stop.set()
        else:
            stop.clear()
            jobs.put(message)


async def _serve(
    pipe: Connection, sending: threading.Lock, jobs: queue.SimpleQueue[Job | None], stop: threading.Event
) -> None:
    scope = WorkerScope(lambda call: asyncio.get_running_loop().run_in_executor(None, call))
    tasks: dict[tuple[str, str], AnyTask] = {}
    with serving(scope):
        while (job := await asyncio.to_thread(jobs.get)) is not None:
            outcome = await _execute(job, tasks, stop)
            with sending:
                pipe.send(outcome)


async def _execute(job: Job, tasks: dict[tuple[str, str], AnyTask], stop: threading.Event) -> Outcome:
    task: AnyTask | None = None
    try:
        task = tasks.get((job.module, job.task_id)) or _find(job)
        tasks[job.module, job.task_id] = task
        attempt = Attempt(job.run_id, job.task_id, job.attempt, cancelled=stop.is_set, hint=_HINT)
        call = task.bind(job.facts, job.raw, None, attempt)

        async def at_once(invoke: Any) -> Any:
            return invoke()

        return Outcome(call.encode_result(await call.within(at_once)))
    except BaseException as error:  # noqa: BLE001 - sys.exit too belongs to the attempt
        return _failed(error, job, task)


def _find(job: Job) -> AnyTask:
    found = load([job.module if _importable(job) else job.file])
    return next(task for task in found if task.id == job.task_id)


def _importable(job: Job) -> bool:
    """Say whether the name of a task's module leads to its file here too."""
    try:
        spec = find_spec(job.module)
    except (ImportError, ValueError):
        return False
    return spec is not None and spec.origin == job.file


def _failed(error: BaseException, job: Job, task: AnyTask | None) -> Outcome:
    now = clock.now()
    fault = fault_of(error, attempt=job.attempt, at=now.timestamp())
    if isinstance(error, RetryAfter):
        return Outcome(fault=fault, delay=error.seconds_from(now))
    applies = task is None or not isinstance(error, Exception) or task.retry.applies_to(error)
    return Outcome(fault=fault, final=isinstance(error, PayloadError) or not applies)
