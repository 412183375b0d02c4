"""Health of a gateway process: is it alive, and can it do its work."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import JSONResponse
from starlette.routing import Route

from tidemill.kernel.errors import BrokerError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.spool.spool import Spool
    from gateway.storing import Storing
    from tidemill.kernel.services.broker import Broker

FRESH_SECONDS: Final = 2.0
CHECK_TIMEOUT: Final = 1.5
PATHS: Final = ("/healthz", "/readyz")
_STREAMS: Final = ("EVENTS", "QUARANTINE", "RECORDS")
_SPARE: Final = 64 * 1024
"""Bytes that must be free in a stream that refuses what doesn't fit."""

Check = Callable[[], Awaitable[dict[str, str]]]
Facts = Callable[[], Mapping[str, Any]]


class Readiness:
    """Says what keeps the gateway from working; looks at the broker at most every two seconds."""

    def __init__(
        self,
        broker: Broker,
        storing: Storing,
        spool: Spool | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._bus = broker.bus
        self._storing = storing
        self._spool = spool
        self._monotonic = monotonic
        self._problems: dict[str, str] = {}
        self._fresh_until = float("-inf")

    async def problems(self) -> dict[str, str]:
        """Return what is wrong, by what it is wrong with; empty when all is well.

        With a spool that takes deliveries nothing is wrong with a broker that doesn't.
        """
        found = await self._of_broker()
        if self._spool is None:
            return found
        if self._spool.problem:
            return found | {"spool": self._spool.problem} if found else {}
        away = not self._bus.connected or self._spool.holds
        return {} if away else found

    async def _of_broker(self) -> dict[str, str]:
        if not self._bus.connected:
            return {"broker": "not connected"}
        if self._monotonic() >= self._fresh_until:
            self._problems = await self._look()
            self._fresh_until = self._monotonic() + FRESH_SECONDS
        if self._storing.trial_due():
            await self._try_to_store()
        refusal = self._storing.problem
        return self._problems if refusal is None else self._problems | {"events": refusal}

    async def _try_to_store(self) -> None:
        """Store a few bytes under a subject that nobody reads; the broker removes them with old records."""
        try:
            await self._bus.publish(self._bus.names.subject("records", "probe"), timeout=CHECK_TIMEOUT)
        except BrokerError as error:
            self._storing.failed(error)
        else:
            self._storing.succeeded()

    async def _look(self) -> dict[str, str]:
        streams = [self._bus.names.stream(name) for name in _STREAMS]
        found = await asyncio.gather(*(self._problem_of(stream) for stream in streams))
        return {f"stream {stream}": said for stream, said in zip(streams, found, strict=True) if said}

    async def _problem_of(self, stream: str) -> str | None:
        """Say what is wrong with a stream: it can't be asked, or is about to refuse what comes next."""
        try:
            info = await self._bus.api(f"STREAM.INFO.{stream}", timeout=CHECK_TIMEOUT)
        except BrokerError as error:
            return error.sentence
        config, used = info["config"], info["state"]["bytes"]
        limit = config.get("max_bytes", 0)
        if config.get("discard") != "new" or limit <= 0 or used + min(_SPARE, limit // 8) < limit:
            return None
        return f"it is full: {used} of {limit} bytes"


def health_routes(check: Check, spool: Facts | None = None) -> list[Route]:
    """Return `/healthz`, which only says that the process answers, and `/readyz`, with facts of the spool."""

    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def readyz(_: Request) -> Response:
        problems = await check()
        body: dict[str, Any] = {"status": "not ready" if problems else "ready", "problems": problems}
        if spool is not None:
            body["spool"] = dict(spool())
        return JSONResponse(body, 503 if problems else 200)

    return [Route(path, endpoint) for path, endpoint in zip(PATHS, (healthz, readyz), strict=True)]
