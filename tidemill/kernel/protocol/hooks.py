"""A run that has ended tells its task's hooks: in a durable run of their own, whoever has ended it.

So they are executed also where no worker had the run: cancelled while it waited, expired, crashed.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from tidemill.kernel.protocol.records import Created, Fault, Parent
from tidemill.kernel.protocol.state import State

HOOKS_SUFFIX: Final = "~hooks"
"""What the id of the task that executes hooks ends with: no user can give it to a task."""


def hooks_task(task: str) -> str:
    """Return the id of the task that executes a task's hooks."""
    return f"{task}{HOOKS_SUFFIX}"


def told_task(task: str) -> str:
    """Return the task that a task belongs to: that whose runs its hooks are told of, or itself."""
    return task.removesuffix(HOOKS_SUFFIX)


def hooks_record(run: str, state: State) -> Created:
    """Return the first record of the run that executes the hooks of a run that has ended.

    It belongs to that run, so that it stays known until nobody can ask for it again, but tells it nothing.
    """
    return Created(
        rid=f"hooks-{run}-{state.end_seq}",
        task=hooks_task(state.task),
        parent=Parent(run=run, box=""),
        raw=orjson.dumps(_ended(run, state)),
    )


def _ended(run: str, state: State) -> dict[str, Any]:
    """Return how a run has ended, as the input of its hooks; a large result is read from where it lies."""
    end = state.end
    if end is None:
        raise AssertionError("a run that goes on has no hooks to tell")
    fault = end.fault or Fault("", "")
    return {
        "run": run,
        "attempt": state.attempt,
        "outcome": end.outcome,
        "result": end.result,
        "blob": end.blob,
        "error": fault.message or end.reason,
        "error_type": fault.type or end.outcome,
    }
