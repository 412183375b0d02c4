"""How a durable handler has left its run: what an exception or a return says about the script behind it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tidemill.durable.minder import left_by
from tidemill.kernel.protocol.conclusions import Conclusion, Failed, Parked, Waiting
from tidemill.kernel.protocol.records import Fault

if TYPE_CHECKING:
    from tidemill.durable.script import Script
    from tidemill.source import Place


def left(script: Script, error: BaseException) -> Conclusion | None:
    """Return how a handler that has raised has left its run, None where it raised an error of its own."""
    if not left_by(error):
        return None
    if script.drift is not None:
        return Parked(script.drift)
    return Waiting(script.waits) if script.waits is not None else None


def unfinished(script: Script, where: Place) -> Conclusion | None:
    """Return what is wrong with a handler that has returned, or never will; None where nothing is.

    Args:
        script: the run.
        where: the handler's file and line.
    """
    if script.waits is not None:
        keys = ", ".join(repr(wait.key) for wait in script.waits)
        what = "goes on and on" if script.stuck else "returned"
        sentence = f"{where}: the handler {what} while it was suspended for {keys}: it swallowed that"
        fault = Fault("SwallowedSuspension", f"{sentence} (`except BaseException` or a bare `except`)")
        return Failed(replace(fault, attempt=script.state.attempt), final=True)
    if script.drift is None and script.replaying:
        script.park_for_unasked()
    return Parked(script.drift) if script.drift is not None else None
