"""Server-sent events: `GET /live` for pages, `GET /api/v1/live` for programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from gateway.answer import problem_response
from gateway.api.parameters import number
from gateway.live import BUCKETS, LIFETIME, STREAMS
from gateway.problem import RETRY_AFTER, Problem
from tidemill.kernel.errors import PayloadError
from tidemill.kernel.subjects import RUN_ID

if TYPE_CHECKING:
    from starlette.requests import Request

    from gateway.live import Live

_TYPE: Final = "text/event-stream"
_FULL: Final = Problem(503, "busy", "Too many listen at the same time.", headers=(RETRY_AFTER,))
_HINT: Final = f"streams are {', '.join((*STREAMS, *BUCKETS))}, with commas between them; or name one run"


@dataclass(frozen=True, slots=True)
class LiveApi:
    """Both addresses are one: with `run` about a run, else about streams."""

    live: Live

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [Route("/live", self.listen), Route("/api/v1/live", self.listen)]

    async def listen(self, request: Request) -> Response:
        """Hints that something has changed, for a minute; browsers then come again by themselves."""
        run, streams = request.query_params.get("run"), _streams(request.query_params.get("streams", ""))
        if run is not None and not RUN_ID.fullmatch(run):
            raise PayloadError(f"run={run!r} can't be used", hint=_HINT)
        seconds = number(request, "seconds", LIFETIME, LIFETIME) or LIFETIME
        if request.method == "HEAD":
            return Response(media_type=_TYPE)
        if self.live.full:
            return problem_response(_FULL)
        return StreamingResponse(
            self.live.listen(streams, run, seconds),
            media_type=_TYPE,
            headers={"X-Accel-Buffering": "no"},
        )


def _streams(text: str) -> frozenset[str]:
    """Return the streams that are named, all of them where none is.

    Raises:
        PayloadError: one doesn't exist.
    """
    named = frozenset(filter(None, text.split(",")))
    if unknown := named - {*STREAMS, *BUCKETS}:
        raise PayloadError(f"there is no stream {min(unknown)!r}", hint=_HINT)
    return named or frozenset(STREAMS)
