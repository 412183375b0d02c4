"""Can anything in a run move? Where all of its tasks wait for what only the future brings, nothing can.

A task that waits for something unknown (a socket, a thread, a lock) may move at any time: it keeps the run
in memory. Known are the waits of the script itself, other tasks of the run, and asyncio's ways to wait for
tasks.
"""

from __future__ import annotations

import asyncio
import inspect
from types import CodeType
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Collection


def _joins() -> frozenset[CodeType]:
    """Return the code of asyncio's coroutines that wait for tasks alone."""
    functions = (
        asyncio.TaskGroup.__aexit__,
        getattr(asyncio.TaskGroup, "_aexit", None),  # since Python 3.13
        getattr(asyncio.tasks, "_wait", None),
    )
    return frozenset(function.__code__ for function in functions if function is not None)


_JOINS: Final = _joins()
_WAIT: Final[CodeType | None] = getattr(getattr(asyncio.tasks, "_wait", None), "__code__", None)


def nothing_moves(tasks: Collection[asyncio.Task[Any]], pending: Collection[asyncio.Future[Any]]) -> bool:
    """Say whether every task of a run waits for a future in `pending` or for another one of the tasks.

    One that is done, and still among the tasks, is about to wake whoever waits for it.
    """
    return all(_is_still(task, tasks, pending) for task in tasks)


def quiet_joins(tasks: Collection[asyncio.Task[Any]]) -> list[asyncio.Future[Any]]:
    """Return what tasks await that may keep a suspension from them: `asyncio.gather` and `asyncio.wait`."""
    found = []
    for task in tasks:
        awaited: asyncio.Future[Any] | None = getattr(task, "_fut_waiter", None)
        if awaited is not None and (
            hasattr(awaited, "_children") or (_WAIT is not None and _code(task) is _WAIT)
        ):
            found.append(awaited)
    return found


def _is_still(
    task: asyncio.Task[Any],
    tasks: Collection[asyncio.Task[Any]],
    pending: Collection[asyncio.Future[Any]],
) -> bool:
    awaited: asyncio.Future[Any] | None = getattr(task, "_fut_waiter", None)
    if awaited is None or awaited.done():
        return False  # it is about to go on
    return _never_alone(awaited, tasks, pending) or _waits_for_tasks(task.get_coro(), tasks, pending)


def _never_alone(
    future: asyncio.Future[Any],
    tasks: Collection[asyncio.Task[Any]],
    pending: Collection[asyncio.Future[Any]],
) -> bool:
    """Say whether a future is done only when one of the tasks, or of what is pending, is."""
    if future in pending or future in tasks:
        return True
    children: Collection[asyncio.Future[Any]] | None = getattr(future, "_children", None)
    if children is None:
        return False
    left = [child for child in children if not child.done()]  # asyncio.gather
    return bool(left) and all(_never_alone(child, tasks, pending) for child in left)


def _waits_for_tasks(
    coroutine: Any,
    tasks: Collection[asyncio.Task[Any]],
    pending: Collection[asyncio.Future[Any]],
) -> bool:
    coroutine = _innermost_coroutine(coroutine)
    if not inspect.iscoroutine(coroutine) or coroutine.cr_code not in _JOINS:
        return False
    known = coroutine.cr_frame.f_locals if coroutine.cr_frame is not None else {}
    # asyncio.wait takes any future: one of a thread's is done without the run.
    left = (one for one in known.get("fs", ()) if not one.done())
    return known.get("timeout") is None and all(_never_alone(one, tasks, pending) for one in left)


def _innermost_coroutine(coroutine: Any) -> Any:
    while inspect.iscoroutine(coroutine) and inspect.iscoroutine(coroutine.cr_await):
        coroutine = coroutine.cr_await
    return coroutine


def _code(task: asyncio.Task[Any]) -> CodeType | None:
    """Return the code in which a task waits; None where that is no coroutine's."""
    coroutine = _innermost_coroutine(task.get_coro())
    return coroutine.cr_code if inspect.iscoroutine(coroutine) else None
