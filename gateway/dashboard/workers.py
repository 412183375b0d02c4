"""Workers that are alive: what they serve, and which runs they hold."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from starlette.routing import Route

from gateway.dashboard.part import part

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from gateway.dashboard.services import Services

PATH: Final = "/workers"


@dataclass(frozen=True, slots=True)
class Workers:
    """`GET /workers`."""

    services: Services

    def routes(self) -> list[Route]:
        """Return the route."""
        return [Route(PATH, self.list_workers)]

    async def list_workers(self, request: Request) -> Response:
        """Processes with their tasks and runs, and the versions of the tasks."""
        services = self.services
        pulse, _ = await asyncio.gather(part(services.pulses.take()), part(services.definitions.refresh()))
        tasks = sorted(services.definitions.active(), key=lambda definition: definition.id)
        return services.frame.page(
            request,
            "workers.html",
            title="Workers",
            active="workers",
            live="/live?streams=JOURNAL",
            pulse=pulse,
            workers=pulse.content.workers if pulse.content is not None else (),
            tasks=tasks,
        )
