"""What the commands that serve have in common: their log, their event loop, their line when ready."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine, Iterator
from typing import TYPE_CHECKING, Any

from tidemill.cli.logs import set_up_logs
from tidemill.kernel.errors import TidemillError

if TYPE_CHECKING:
    from tidemill.kernel.settings.model import Settings


def report(line: str) -> None:
    """Print the line that says that a service is ready, at once, so that a script can wait for it."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def serve(settings: Settings, service: Coroutine[Any, Any, None]) -> None:
    """Run a service to its end on uvloop, where there is one.

    Raises:
        TidemillError: all that went wrong is something that users can mend; the first of it.
    """
    set_up_logs(settings.log)
    try:
        with asyncio.Runner(loop_factory=_new_loop) as runner:
            runner.run(service)
    except BaseExceptionGroup as group:
        mendable, rest = group.split(TidemillError)
        if mendable is None or rest is not None:
            raise
        raise next(_leaves(mendable)) from group


def _new_loop() -> asyncio.AbstractEventLoop:
    if sys.platform == "win32":
        return asyncio.new_event_loop()
    import uvloop  # noqa: PLC0415 - it isn't there on every platform

    return uvloop.new_event_loop()


def _leaves(group: BaseExceptionGroup[TidemillError]) -> Iterator[TidemillError]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
