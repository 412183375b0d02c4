"""Middleware: async functions around every attempt of a task."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

CallNext = Callable[[], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What a middleware is told of the attempt that it goes around.

    Attributes:
        run_id: the run's id.
        task_id: the task's id.
        attempt: the attempt's number, from 1.
        payload: what the handler's first parameter gets; None where it takes nothing.
    """

    run_id: str
    task_id: str
    attempt: int
    payload: Any = None


Middleware = Callable[[RunInfo, CallNext], Awaitable[Any]]
"""`async def timed(run: RunInfo, call_next: CallNext) -> Any`: returns what `await call_next()` returns."""


async def around(layers: Sequence[Middleware], run: RunInfo, innermost: CallNext) -> Any:
    """Call middleware, the first outermost, around something that is executed once at most."""
    call_next: CallNext = _Once(innermost, run)
    for layer in reversed(layers):
        call_next = functools.partial(layer, run, call_next)
    return await call_next()


class _Once:
    """The handler, for the middleware around it."""

    def __init__(self, call: CallNext, run: RunInfo) -> None:
        self._call = call
        self._run = run
        self._called = False

    def __call__(self) -> Awaitable[Any]:
        if self._called:
            raise RuntimeError(f"a middleware of {self._run.task_id} has called call_next() twice")
        self._called = True
        return self._call()
