"""Procedures as data: what a procedure has been told so far decides what it asks for next.

Generators can't be copied, so a place in a procedure is a node in a tree of the results that led there,
and a second way on from a node replays them. Equal places are the same object.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

from tests.model.journal import NOW, Log
from tests.model.parts import Perform
from tidemill.kernel.protocol.operations import Clock, Execute, Hint, Isolate, Operation, Procedure, Publish

_SILENT = (Clock, Hint, Publish)
_numbers = count()


class Step:
    """A place in a procedure: `operation` is what it asks for next, None where it has returned.

    `failures` is how many attempts had failed when the operation executes user code, for the scenario's
    script; `claim` the id of the claim behind it. `alone` says that the procedure has waited for suspects.
    """

    __slots__ = (
        "_children",
        "_generator",
        "_make",
        "_past",
        "alone",
        "claim",
        "failures",
        "number",
        "operation",
        "value",
    )

    def __init__(
        self,
        make: Callable[[], Procedure[Any]],
        past: tuple[Any, ...],
        live: Procedure[Any] | None = None,
        *,
        alone: bool = False,
    ) -> None:
        self._make = make
        self._past = past
        self._children: dict[Any, Step] = {}
        self._generator: Procedure[Any] | None = live or make()
        self.number = next(_numbers)
        self.value: Any = None
        self.operation: Operation | None = None
        try:
            self.operation = _to_next(self._generator, *past[-1:])
        except StopIteration as stop:
            self.value = stop.value
        self.failures, self.claim = 0, ""
        self.alone = alone or isinstance(self.operation, Isolate)
        if isinstance(self.operation, Execute):
            # The session changes as the procedure goes on: what the model needs of it is taken now.
            self.failures = len(self.operation.session.state.faults)
            self.claim = self.operation.session.claim.rid
        elif isinstance(self.operation, Perform):
            self.claim = self.operation.claim

    def __lt__(self, other: Step) -> bool:
        return self.number < other.number

    def after(self, result: Any) -> Step:
        """Return the place where the procedure stands when its operation has had this result."""
        child = self._children.get(result)
        if child is None:
            child = self._children[result] = Step(
                self._make, (*self._past, result), self._hand_over(), alone=self.alone
            )
        return child

    def _hand_over(self) -> Procedure[Any]:
        """Return a generator that stands here: the first child takes it over, others replay the past."""
        generator, self._generator = self._generator, None
        if generator is None:
            generator = self._make()
            for number in range(len(self._past) + 1):
                _to_next(generator, *self._past[number - 1 : number] if number else ())
        return generator


def _to_next(generator: Procedure[Any], *result: Any) -> Operation:
    """Send a result and return the next operation that others can see or that can have several results."""
    operation = generator.send(_sent(result[0]) if result else None)
    while isinstance(operation, _SILENT):
        operation = generator.send(NOW)
    return operation


def _sent(result: Any) -> Any:
    """Return what a procedure is sent for a result: logs are read, names of conclusions are replaced."""
    return result.entries if isinstance(result, Log) else result
