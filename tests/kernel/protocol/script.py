"""A scripted performer: it knows which operations come, and what each results in."""

from __future__ import annotations

from typing import Any

from tidemill.kernel.protocol.operations import Operation, Procedure
from tidemill.kernel.protocol.records import Claim, Created, End, Entry, Record, Suspend
from tidemill.kernel.protocol.state import State, fold

RUN, TASK = "run_1", "deploy"
CREATED = Created(rid="c", task=TASK)
CLAIM = Claim(rid="w1", q=5, n=1, worker="w")
SUSPEND = Suspend(rid="w1.1", q=5, wait="retry", until=60.0)
FAILED = End(rid="w1.1", outcome="failed", task=TASK, lasting=True)
COMPLETED = End(rid="w1.1", outcome="completed", task=TASK)


def play(procedure: Procedure[Any], *exchanges: tuple[Operation | type[Any], Any]) -> Any:
    """Drive a procedure; each exchange is the operation (or its class) that must come, and its result."""
    result: Any = None
    for expected, answer in exchanges:
        operation = procedure.send(result)
        if isinstance(expected, type):
            assert isinstance(operation, expected), f"{expected.__name__} was due, not {operation!r}"
        else:
            assert operation == expected
        result = answer
    try:
        operation = procedure.send(result)
    except StopIteration as stop:
        return stop.value
    raise AssertionError(f"it goes on with {operation!r}")


def journal(*records: Record | None, at: float = 0.0) -> list[Entry]:
    """Return a journal of these records, numbered from 1; None is a tombstone."""
    return [Entry(seq, record, at) for seq, record in enumerate(records, 1)]


def folded(*records: Record | None, at: float = 0.0) -> State:
    return fold(journal(*records, at=at))
