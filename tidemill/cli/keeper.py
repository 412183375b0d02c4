"""Keeps one child process running: starts it again when it dies, and anew when its code has changed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from tidemill.cli.child import Child
from tidemill.kernel.backoff import delay

WRONG_INPUT: Final = 2
"""Exit code of a command that can't work with what it was given: starting it again changes nothing."""
STEADY_SECONDS: Final = 60.0
"""A process that has lived so long and dies is started again as if it had never died before."""
_FIRST_PAUSE: Final = 0.5
_LONGEST_PAUSE: Final = 30.0
_log = logging.getLogger(__name__)


class Keeper:
    """Supervises one child.

    Args:
        launch: starts the child.
        patience: seconds that a child may take to stop.
        changed: set from outside when the code has changed; without it, code never changes.
    """

    def __init__(
        self, launch: Callable[[], Awaitable[Child]], *, patience: float, changed: asyncio.Event | None = None
    ) -> None:
        self._launch = launch
        self._patience = patience
        self._reloads = changed is not None
        self._changed = changed or asyncio.Event()
        self._retired: set[asyncio.Task[int]] = set()
        self._deaths = 0

    async def run(self, stopping: asyncio.Event) -> int:
        """Keep the child running until `stopping` is set; return 0 then.

        A child that can't work with what it was given is started again after a change of the code only;
        where there are no changes, its exit code is returned at once.
        """
        while not stopping.is_set():
            begun, child = time.monotonic(), await self._launch()
            await first_of(child.wait(), stopping.wait(), self._changed.wait())
            if stopping.is_set() or self._changed.is_set():
                self._retire(child)
                self._changed.clear()
                continue
            code = await child.stop(self._patience)
            if code == WRONG_INPUT and not self._reloads:
                return code
            await self._pause(child.name, code, time.monotonic() - begun, stopping)
        await asyncio.gather(*self._retired)
        return 0

    def _retire(self, child: Child) -> None:
        """Let a child finish what it has in work while its successor starts."""
        retired = asyncio.create_task(child.stop(self._patience), name=f"stop {child.name}")
        self._retired.add(retired)
        retired.add_done_callback(self._retired.discard)

    async def _pause(self, name: str, code: int, lived: float, stopping: asyncio.Event) -> None:
        if code == WRONG_INPUT:
            _log.warning("%s waits for a change", name)
            await first_of(stopping.wait(), self._changed.wait())
            self._changed.clear()
            return
        self._deaths = 1 if lived >= STEADY_SECONDS else self._deaths + 1
        pause = delay(self._deaths, factor=2, min_delay=_FIRST_PAUSE, max_delay=_LONGEST_PAUSE, jitter=None)
        _log.error("%s ended with exit code %d: it is started again in %g s", name, code, pause)
        await first_of(stopping.wait(), self._changed.wait(), asyncio.sleep(pause))
        self._changed.clear()


async def first_of(*waits: Coroutine[Any, Any, Any]) -> None:
    """Return as soon as one of some waits is over, and give the others up."""
    tasks = [asyncio.create_task(wait, name="one of several waits") for wait in waits]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
    for task in done:
        task.result()
