"""User code as data: a handler is made of parts, or comes to what its scenario says."""

from __future__ import annotations

from typing import Any

from tests.model.parts import Execution, Listen, Part, Stop, go
from tidemill.kernel.protocol.attempt import Session, refresh
from tidemill.kernel.protocol.conclusions import (
    Cancelled,
    Completed,
    Conclusion,
    Failed,
    Interrupted,
    Lost,
    Waiting,
)
from tidemill.kernel.protocol.operations import Execute, Procedure
from tidemill.kernel.protocol.records import Fault

CONCLUSIONS: dict[str, Conclusion] = {
    "ok": Completed(result=1),
    "fail": Failed(Fault("Error", "no")),
    "fatal": Failed(Fault("Error", "never"), final=True),
    "cancelled": Cancelled("asked"),
    "interrupted": Interrupted(),
}


def execute(procedure: Procedure[Any], parts: tuple[Part, ...], *, terse: bool) -> Procedure[Any]:
    """Drive an owner's procedure, and have user code that is made of these parts executed in it."""
    result: Any = None
    try:
        while True:
            operation = procedure.send(result)
            if isinstance(operation, Execute) and parts:
                result = yield from handle(operation.session, parts, terse=terse)
            elif isinstance(operation, Execute):
                result = CONCLUSIONS[(yield operation)]
            else:
                result = yield operation
    except StopIteration as stop:
        return stop.value


def handle(session: Session, parts: tuple[Part, ...], *, terse: bool) -> Procedure[Conclusion]:
    """Execute a handler that is made of these parts."""
    execution = Execution(session, terse)
    try:
        while waits := (yield from go(parts, execution)):
            if terse or not (yield Listen(execution.run, session.state.tail)):  # type: ignore[misc]  # the model's own operation
                return Waiting(waits)
            if not (yield from refresh(session)):
                return Lost()
            if session.state.cancel is not None:
                return Cancelled("asked")
    except Stop as stop:
        return stop.conclusion
    return Completed(result=1)
