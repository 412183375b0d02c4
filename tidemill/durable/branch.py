"""Branches of a handler's code: its main line, and the asyncio tasks that it starts.

What is remembered is found again by its key, and keys are counted within a branch: which of two branches
comes first to its second `fetch` may differ from one execution to the next, their own order doesn't.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import Counter
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tidemill.kernel.errors import ContextError

if TYPE_CHECKING:
    from collections.abc import Coroutine, Generator, Iterable

    from tidemill.durable.script import Script


@dataclass(slots=True)
class Place:
    """Where in the code a call on the context stands.

    Attributes:
        key: by which it is remembered.
        after: the key of what its branch had done before it.
    """

    key: str
    after: str


@dataclass(slots=True)
class Branch:
    """One line of a handler's code.

    Attributes:
        script: the run.
        path: what its keys begin with; empty for the main line.
        last: the key of what it has done last.
        time: the moment up to which it has been told of things, in seconds since the epoch.
        drawn: how many random numbers and ids it has asked for.
        asked: the keys that it has asked for.
        started: the branches that it has started.
    """

    script: Script
    path: str = ""
    last: str = ""
    time: float = 0.0
    drawn: int = 0
    asked: set[str] = field(default_factory=set)
    started: list[Branch] = field(default_factory=list)
    names: Counter[str] = field(default_factory=Counter)
    functions: Counter[str] = field(default_factory=Counter)

    def place(self, name: str) -> Place:
        """Return the next place of this name."""
        self.names[name] += 1
        number = self.names[name]
        return Place(f"{self.path}{name}" if number == 1 else f"{self.path}{name}#{number}", self.last)

    def child(self, function: str) -> Branch:
        """Return the branch of a task that is started from here."""
        self.functions[function] += 1
        path = f"{self.path}{function}.{self.functions[function]}/"
        branch = Branch(self.script, path, self.last, self.time)
        self.started.append(branch)
        return branch

    def keys(self) -> set[str]:
        """Return all keys that were asked for in it and in what it has started."""
        return self.asked.union(*(branch.keys() for branch in self.started))

    def catch_up(self, branches: Iterable[Branch]) -> None:
        """Take over the time of branches that this one has waited for."""
        for branch in branches:
            self.catch_up(branch.started)
            self.time = max(self.time, branch.time)


@dataclass(frozen=True, slots=True)
class InStep:
    """Stands for the branch while a step's function executes: nothing else may be remembered inside of it."""

    key: str


_here: ContextVar[Branch | InStep | None] = ContextVar("tidemill_branch", default=None)


def here(what: str) -> Branch:
    """Return the branch of the code that calls.

    Raises:
        ContextError: the code isn't a durable run's, or executes inside of a step; `what` it wanted.
    """
    found = _here.get()
    if isinstance(found, Branch) and found.script.is_reached_from_here():
        return found
    if isinstance(found, InStep):
        raise ContextError(
            f"{what} inside of step {found.key!r}: what is inside of a step isn't remembered by itself",
            hint="call it from the handler, before or after the step",
        )
    raise ContextError(
        f"{what} outside of its run",
        hint="call it from the handler or a task that it has started; another thread has to be told to",
    )


def inside() -> Branch | None:
    """Return the branch of the code that calls, None outside of durable runs and inside of steps."""
    found = _here.get()
    return found if isinstance(found, Branch) else None


def step_here() -> str:
    """Return the key of the step whose function calls, empty outside of steps."""
    found = _here.get()
    return found.key if isinstance(found, InStep) else ""


def enter(branch: Branch | InStep) -> contextvars.Token[Branch | InStep | None]:
    """Make a branch that of the code that follows."""
    return _here.set(branch)


def leave(token: contextvars.Token[Branch | InStep | None]) -> None:
    """Take `enter` back."""
    _here.reset(token)


def follow_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Have the tasks that durable handlers start known to their scripts; others cost one look."""
    loop.set_task_factory(_new_task)


def _new_task(
    loop: asyncio.AbstractEventLoop,
    coroutine: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
    **options: Any,
) -> asyncio.Task[Any]:
    parent = _here.get()
    if not isinstance(parent, Branch):
        return asyncio.Task(coroutine, loop=loop, **options)
    branch = parent.child(getattr(coroutine, "__name__", "task"))
    surroundings = options.pop("context", None) or contextvars.copy_context()
    surroundings.run(_here.set, branch)
    task = asyncio.Task(coroutine, loop=loop, context=surroundings, **options)
    parent.script.adopt(task, branch)
    return task
