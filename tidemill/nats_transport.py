"""Reaching Tidemill over its broker: for workers, and for application code that the broker trusts."""

from __future__ import annotations

import asyncio
import time
from math import inf
from typing import Final

import orjson

from tidemill.kernel.decision import Decision
from tidemill.kernel.errors import BrokerUnavailableError, ConflictError, NotFoundError
from tidemill.kernel.services.run_signals import RunSignals
from tidemill.kernel.services.run_view import RunView
from tidemill.kernel.services.runs import Runs
from tidemill.kernel.services.tokens import Tokens
from tidemill.kernel.trigger import TriggerRequest
from tidemill.transport import RunOutcome, Transport

_FIRST_PAUSE: Final = 0.02
_HINTED_PAUSE: Final = 0.001
_PAUSE_GROWTH: Final = 1.5
_LONGEST_PAUSE: Final = 1.0
_AWAY_SECONDS: Final = 60.0


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
        """Look until the run has ended, less and less often; a broker that is away for a while is waited for.

        Raises:
            TimeoutError: the run hasn't ended in time; it goes on.
            NotFoundError: there is no such run, or its journal is closed already.
            BrokerError: the broker has been away for a minute.
        """
        view = await self._ended(run_id, inf if timeout is None else time.monotonic() + timeout)
        if view.state.status is None:
            raise NotFoundError(f"{run_id} has ended and is closed: its result is gone", hint="ask sooner")
        error = view.facts()["error"] or {"type": "", "message": ""}
        return RunOutcome(view.status, orjson.dumps(view.result), error["message"], error["type"])

    async def _ended(self, run_id: str, deadline: float) -> RunView:
        pause, last_seen = _FIRST_PAUSE, time.monotonic()
        async with self._runs.watching(run_id) as ending:
            while True:
                ending.clear()
                try:
                    view = await self._runs.get(run_id)
                except BrokerUnavailableError:
                    if time.monotonic() - last_seen > _AWAY_SECONDS:
                        raise
                else:
                    last_seen = time.monotonic()
                    if view.ended:
                        return view
                rest = deadline - time.monotonic()
                if rest <= 0:
                    raise TimeoutError(f"run {run_id} hasn't ended in time; it goes on")
                hinted = await _is_set_within(ending, min(pause, rest))
                pause = _HINTED_PAUSE if hinted else min(_LONGEST_PAUSE, pause * _PAUSE_GROWTH)

    async def send_signal(self, run_id: str, name: str, data: bytes, key: str | None) -> None:
        """Send a run a signal.

        Raises:
            NotFoundError: there is no such run.
            ConflictError: it has ended, or the key was used with other data.
            PayloadError: name, key or data can't be used.
            BrokerError: it wasn't stored, or it is unknown whether it was.
        """
        await RunSignals(self._runs.broker, self._runs).send(run_id, name, data, key)

    async def send_answer(self, token_id: str, decision: Decision) -> None:
        """Answer a token or an approval.

        Raises:
            NotFoundError: there is no such token.
            NotAllowedError: somebody else is asked.
            ConflictError: it was decided before, or nobody waits for it any more.
            PayloadError: the answer doesn't fit what is asked for.
            BrokerError: it wasn't stored, or it is unknown whether it was.
        """
        await Tokens(self._runs.broker).complete(token_id, decision)

    async def cancel(self, run_id: str, reason: str) -> None:
        """Ask for a run's end.

        Raises:
            ConflictError: there is no such run, or it has ended.
        """
        if await self._runs.signal(run_id, "cancel", reason) in ("gone", "refused"):
            raise ConflictError(f"{run_id} can't be cancelled: it has ended", hint="replay starts it anew")


async def _is_set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
