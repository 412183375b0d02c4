"""Calling a task like a function: what stands in for a context, and when it may."""

from __future__ import annotations

import contextlib
import inspect
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from tidemill.binding import Frame, in_private_loop, triggered_event
from tidemill.durable.branch import enter, leave
from tidemill.event import Event
from tidemill.middleware import RunInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tidemill.durable.branch import Branch
    from tidemill.durable.script import Script
    from tidemill.kernel.codec import Codec
    from tidemill.kernel.definition import TaskDefinition
    from tidemill.run_context import Attempt
    from tidemill.signature import HandlerSignature


class Supplier(Protocol):
    """Supplies what a run would have: `tidemill.testing` is one while it is active."""

    def attempt(self, task_id: str) -> Attempt:
        """Return the attempt that a direct call stands for."""


_suppliers: list[Supplier] = []


@contextlib.contextmanager
def supplying(supplier: Supplier) -> Iterator[None]:
    """Let direct calls in the whole process have a context meanwhile."""
    _suppliers.append(supplier)
    try:
        yield
    finally:
        _suppliers.remove(supplier)


@dataclass(frozen=True, slots=True)
class DirectCall:
    """The arguments of a direct call, and the script behind the context that was supplied for it.

    `frame` provides what the handler depends on and wasn't given; None where that is nothing.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    script: Script | None = None
    frame: Frame | None = None

    def __call__(self, function: Callable[..., Any]) -> Any:
        """Call a function; what it asks its context for is asked of the script."""
        if self.frame is not None:
            return self._framed(self.frame, function)
        if self.script is None:
            return function(*self.args, **self.kwargs)
        if inspect.iscoroutinefunction(function):
            return self._await(function, self.script.main)
        token = enter(self.script.main)
        try:
            return function(*self.args, **self.kwargs)
        finally:
            leave(token)

    def _framed(self, frame: Frame, function: Callable[..., Any]) -> Any:
        is_async = inspect.iscoroutinefunction(function)

        async def call(values: dict[str, Any]) -> Any:
            value = replace(self, kwargs=self.kwargs | values, frame=None)(function)
            return await value if is_async else value

        coroutine = frame.around(call)
        return coroutine if is_async else in_private_loop(coroutine)

    async def _await(self, function: Callable[..., Any], branch: Branch) -> Any:
        token = enter(branch)
        try:
            return await function(*self.args, **self.kwargs)
        finally:
            leave(token)


def direct_call(
    definition: TaskDefinition,
    signature: HandlerSignature,
    codec: Codec[Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> DirectCall:
    """Return a direct call, with a missing event or context supplied.

    Raises:
        TypeError: one is missing and nothing supplies it.
    """
    script = None
    bound = signature.parameters.bind_partial(*args, **kwargs)
    attempt = _suppliers[-1].attempt(definition.id) if _suppliers else None
    event = None
    if signature.takes == "event":
        first = next(iter(signature.parameters.parameters))
        if first in bound.arguments:
            event = bound.arguments[first] = _event(definition, codec, bound.arguments[first], attempt)
    name = signature.context_name
    if name is not None and name not in bound.arguments:
        if attempt is None:
            raise _missing(definition.id, "a context, which only a run has")
        bound.arguments[name] = signature.new_context(attempt, lambda: event)
        script = attempt.script
    wanted = {name: one for name, one in signature.dependencies.items() if name not in bound.arguments}
    if not wanted:
        return DirectCall(bound.args, bound.kwargs, script)
    if attempt is None:
        raise _missing(definition.id, f"{next(iter(wanted))!r}, which its runs are provided with")
    run = RunInfo(attempt.run_id, definition.id, attempt.number)
    return DirectCall(bound.args, bound.kwargs, script, Frame(run, (), wanted, attempt, lambda: event))


def _event(
    definition: TaskDefinition, codec: Codec[Any], given: object, attempt: Attempt | None
) -> Event[Any]:
    if isinstance(given, Event):
        return given
    if attempt is None:
        raise _missing(definition.id, "an Event as its first argument")
    return triggered_event(attempt, given, codec.encode(given))


def _missing(task_id: str, what: str) -> TypeError:
    return TypeError(
        f"task {task_id!r} needs {what}: start a run with {task_id}.trigger(…); in a unit test call it "
        "inside of `with tidemill.testing.active():`"
    )
