"""Reaching Tidemill over its broker: for workers, and for application code that the broker trusts."""

from __future__ import annotations

import asyncio
import time
from typing import Final

import orjson

from tidemill.kernel.errors import ConflictError, NotFoundError
from tidemill.kernel.services.runs import Runs
from tidemill.kernel.trigger import TriggerRequest
from tidemill.transport import RunOutcome, Transport

_FIRST_PAUSE: Final = 0.02
_PAUSE_GROWTH: Final = 1.5
_LONGEST_PAUSE: Final = 1.0


class NatsTransport(Transport):
    """Creates runs and reads their journals on an open broker, which stays its owner's to close."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs

    async def open(self) -> None:
        """Nothing is left to open."""

    async def close(self) -> None:
        """Nothing is to be closed here."""

    async def trigger(self, request: TriggerRequest) -> str:
        """Create a run and return its id.

        Raises:
            NotFoundError: there is no such task.
            PayloadError: the payload doesn't fit the task.
            BrokerError: the run wasn't created, or it is unknown whether it was.
        """
        return (await self._runs.trigger(request)).id

    async def outcome(self, run_id: str, timeout: float | None) -> RunOutcome:
        """Look until the run has ended, less and less often.

        Raises:
            TimeoutError: the run hasn't ended in time; it goes on.
            NotFoundError: there is no such run, or its journal is closed already.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = _FIRST_PAUSE
        while True:
            view = await self._runs.get(run_id)
            if view.ended:
                break
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(f"run {run_id} hasn't ended in time; it goes on")
            await asyncio.sleep(pause)
            pause = min(_LONGEST_PAUSE, pause * _PAUSE_GROWTH)
        if view.state.status is None:
            raise NotFoundError(f"{run_id} has ended and is closed: its result is gone", hint="ask sooner")
        error = view.facts()["error"] or {"type": "", "message": ""}
        return RunOutcome(view.status, orjson.dumps(view.result), error["message"], error["type"])

    async def cancel(self, run_id: str, reason: str) -> None:
        """Ask for a run's end.

        Raises:
            ConflictError: there is no such run, or it has ended.
        """
        if await self._runs.signal(run_id, "cancel", reason) in ("gone", "refused"):
            raise ConflictError(f"{run_id} can't be cancelled: it has ended", hint="replay starts it anew")
