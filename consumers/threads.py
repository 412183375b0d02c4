"""Threads for sync handlers: so many at most, and none of them keeps the process from ending.

`ThreadPoolExecutor` joins its threads when the interpreter ends, so that one handler that never returns
would hold a stopping worker for ever. These are daemons: what they execute has lost its ticket by then.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class _Job(NamedTuple):
    future: Future[Any]
    call: Callable[[], Any]


class HandlerThreads(Executor):
    """Executes calls in up to `size` daemon threads; what finds none free waits, and can be cancelled."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._lock = threading.Lock()
        self._started = 0
        self._closed = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Execute a call as soon as a thread is free.

        Raises:
            RuntimeError: it has been shut down.
        """
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("the worker's threads have been shut down")
            self._jobs.put(_Job(future, lambda: fn(*args, **kwargs)))
            if not self._idle.acquire(blocking=False) and self._started < self._size:
                self._started += 1
                name = f"tidemill-handler-{self._started}"
                threading.Thread(target=self._work, name=name, daemon=True).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002, ARG002 - the signature of Executor
        """Let the idle threads go; those that execute something go when it is done, nobody waits for them."""
        with self._lock:
            self._closed = True
            if cancel_futures:
                self._cancel_waiting()
            for _ in range(self._started):
                self._jobs.put(None)

    def _cancel_waiting(self) -> None:
        while True:
            try:
                job = self._jobs.get_nowait()
            except Empty:
                return
            if job is not None:
                job.future.cancel()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            if job.future.set_running_or_notify_cancel():
                _execute(job)
            del job  # an idle thread keeps no result alive
            self._idle.release()


def _execute(job: _Job) -> None:
    try:
        result = job.call()
    except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits for the result
        job.future.set_exception(error)
    else:
        job.future.set_result(result)
