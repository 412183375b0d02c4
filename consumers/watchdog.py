"""The watchdog: notices when a handler blocks the worker's event loop, and names it in the log."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback
from types import FrameType
from typing import Final

_INTERVAL: Final = 0.5
_BACKLOG_SECONDS: Final = 0.5
"""How long a loop that was blocked is taken to read what has waited in its sockets."""
_log = logging.getLogger(__name__)


class Watchdog:
    """Watches one event loop from a thread of its own; blocks longer than `patience` seconds are logged."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *, patience: float = 2.0) -> None:
        self._loop = loop
        self._patience = patience
        self._loop_thread = threading.get_ident()
        self._beat = time.monotonic()
        self._blocked_from = self._awake_since = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._main, name="tidemill-watchdog", daemon=True)

    def start(self) -> None:
        """Start watching; call it from the loop's own thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop watching."""
        self._stopping.set()

    def arrival(self) -> float:
        """Return the earliest moment (monotonic seconds) at which what the loop reads now may have come in.

        Right after a block, or after the whole process was frozen, that is when it began.
        """
        now = time.monotonic()
        if now - self._beat > self._patience + _INTERVAL:  # it has begun to read before its first beat
            return self._beat
        return self._blocked_from if now - self._awake_since < _BACKLOG_SECONDS else now

    def _mark(self) -> None:
        now = time.monotonic()
        if now - self._beat > self._patience:
            self._blocked_from, self._awake_since = self._beat, now
        self._beat = now

    def _main(self) -> None:
        blamed: float | None = None
        looked = time.monotonic()
        while not self._stopping.wait(_INTERVAL):
            frozen = time.monotonic() - looked > self._patience  # then the whole process was
            looked = time.monotonic()
            try:
                self._loop.call_soon_threadsafe(self._mark)
            except RuntimeError:  # the loop has been closed: nothing is left to watch
                return
            blocked = time.monotonic() - self._beat
            if blocked > self._patience + _INTERVAL and blamed is None and not frozen:
                blamed = self._beat
                self._blame(blocked)
            elif blocked <= self._patience and blamed is not None:
                _log.warning("the event loop runs again after %.1f s", self._awake_since - blamed)
                blamed = None

    def _blame(self, blocked: float) -> None:
        task = asyncio.current_task(self._loop)
        name = task.get_name() if task is not None else "no task"
        frame = sys._current_frames().get(self._loop_thread)  # noqa: SLF001 - the documented way
        _log.warning(
            "%s has blocked the event loop for %.1f s: use await, or a handler without async\n%s",
            name,
            blocked,
            _stack(frame),
        )


def _stack(frame: FrameType | None) -> str:
    return "".join(traceback.format_stack(frame, limit=6)) if frame is not None else "  (no stack)"
