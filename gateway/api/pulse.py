"""Control API: how the installation is at this moment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.responses import JSONResponse
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from tidemill.kernel.services.pulse import Pulses


@dataclass(frozen=True, slots=True)
class PulseApi:
    """`GET /api/v1/pulse`."""

    pulses: Pulses

    def routes(self) -> list[Route]:
        """Return the route."""
        return [Route("/api/v1/pulse", self.show_pulse)]

    async def show_pulse(self, _: Request) -> Response:
        """Queues, stores, roles and workers, as the broker knows them."""
        return JSONResponse((await self.pulses.take()).facts())
