"""Control API: a new run goes on from a point of another one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import JSONResponse
from starlette.routing import Route

from gateway.access.changes import note
from gateway.api.parameters import MAX_SEQUENCE, json_object, only, run_id
from tidemill.kernel.errors import PayloadError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from tidemill.kernel.protocol.forking import At
    from tidemill.kernel.services.forks import Forks

_ACCEPTED: Final = 202
_HINT: Final = "write a part's key, a child's id or a record's number; leave it out for all that is finished"


@dataclass(frozen=True, slots=True)
class ForksApi:
    """The endpoint `/api/v1/runs/{run}/fork`."""

    forks: Forks

    def routes(self) -> list[Route]:
        """Return the route."""
        return [Route("/api/v1/runs/{run}/fork", self.fork, methods=["POST"])]

    async def fork(self, request: Request) -> Response:
        """Start a run that takes over what another one had finished before a point."""
        run, document = run_id(request), await json_object(request)
        only(document, "at")
        at = point_of(document.get("at"))
        view = await self.forks.fork(run, at, key=request.headers.get("idempotency-key"))
        note(request, at="" if at is None else str(at), fork=view.id)
        told = {"run_id": view.id, "status": view.status, "forkof": view.facts()["forkof"]}
        return JSONResponse(told, _ACCEPTED, {"Location": f"/api/v1/runs/{view.id}"})


def point_of(given: Any) -> At:
    """Return where a run is to be forked.

    Raises:
        PayloadError: that can't be a point.
    """
    if given is None or isinstance(given, str):
        return given
    if isinstance(given, int) and not isinstance(given, bool) and 0 < given <= MAX_SEQUENCE:
        return given
    raise PayloadError(f"at is {given!r}", hint=_HINT)
