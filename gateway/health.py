"""Health of a gateway process: is it alive, and can it do its work."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

from starlette.responses import JSONResponse
from starlette.routing import Route

from tidemill.kernel.errors import BrokerError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from tidemill.kernel.services.broker import Broker

FRESH_SECONDS: Final = 2.0
CHECK_TIMEOUT: Final = 1.5
PATHS: Final = ("/healthz", "/readyz")
_STREAMS: Final = ("EVENTS", "QUARANTINE", "RECORDS")

Check = Callable[[], Awaitable[dict[str, str]]]


class Readiness:
    """Says what keeps the gateway from working; looks at the broker at most every two seconds."""

    def __init__(self, broker: Broker, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._bus = broker.bus
        self._monotonic = monotonic
        self._problems: dict[str, str] = {}
        self._fresh_until = float("-inf")

    async def problems(self) -> dict[str, str]:
        """Return what is wrong, by what it is wrong with; empty when all is well."""
        if not self._bus.connected:
            return {"broker": "not connected"}
        if self._monotonic() >= self._fresh_until:
            self._problems = await self._look()
            self._fresh_until = self._monotonic() + FRESH_SECONDS
        return self._problems

    async def _look(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for name in _STREAMS:
            stream = self._bus.names.stream(name)
            try:
                await self._bus.api(f"STREAM.INFO.{stream}", timeout=CHECK_TIMEOUT)
            except BrokerError as error:
                found[f"stream {stream}"] = error.sentence
        return found


def health_routes(check: Check) -> list[Route]:
    """Return `/healthz`, which only says that the process answers, and `/readyz`."""

    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def readyz(_: Request) -> Response:
        problems = await check()
        body = {"status": "not ready" if problems else "ready", "problems": problems}
        return JSONResponse(body, 503 if problems else 200)

    return [Route(path, endpoint) for path, endpoint in zip(PATHS, (healthz, readyz), strict=True)]
