"""Suspects of one worker, executed one at a time, so that a death tells whose fault it was."""

from __future__ import annotations

import asyncio
from typing import Final

from consumers.held import Held


class Isolation:
    """Lets one suspect in at a time, in the order in which they came; others are executed beside it.

    A suspect is a run whose owners died so often that the next one is the last. Whoever has entered or waits
    must `leave` in the end; the next one is inside at once, also when its wait is cancelled in that moment.
    """

    def __init__(self) -> None:
        self._inside: Held | None = None
        self._waiting: Final[dict[Held, asyncio.Future[None]]] = {}
        self._lifted = False

    async def enter(self, suspect: Held) -> None:
        """Wait until no other suspect is inside; whoever is inside already has nothing to wait for."""
        if self._lifted or self._inside is suspect:
            return
        if self._inside is None:
            self._inside = suspect
            return
        turn = self._waiting[suspect] = asyncio.get_running_loop().create_future()
        await turn

    def leave(self, suspect: Held) -> None:
        """Let the next one in, if this one was inside; wait no more, if it waited."""
        self._waiting.pop(suspect, None)
        if self._inside is suspect:
            self._inside = next(iter(self._waiting), None)
            if self._inside is not None:
                _wake(self._waiting.pop(self._inside))

    def lift(self) -> None:
        """Let everybody in, now and later: nothing is executed any more, all runs go back."""
        self._lifted = True
        for turn in self._waiting.values():
            _wake(turn)
        self._waiting.clear()


def _wake(turn: asyncio.Future[None]) -> None:
    if not turn.done():  # its task was cancelled, and will leave
        turn.set_result(None)
