"""Calling a task like a function: what stands in for a context, and when it may."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Protocol

from tidemill.binding import triggered_event
from tidemill.event import Event

if TYPE_CHECKING:
    from collections.abc import Iterator

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


def direct_arguments(
    definition: TaskDefinition,
    signature: HandlerSignature,
    codec: Codec[Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of a direct call, with a missing event or context supplied.

    Raises:
        TypeError: one is missing and nothing supplies it.
    """
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
    return bound.args, bound.kwargs


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
