"""Control API: what runs have logged, at once or as it comes (server-sent events, WHATWG HTML 9.2)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from gateway.api.parameters import MAX_SEQUENCE, digits, limit_of, number, run_id
from tidemill.kernel.errors import NotFoundError, PayloadError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.responses import Response

    from tidemill.kernel.services.run_logs import RunLogReader
    from tidemill.kernel.services.runs import Runs

_EVENT_STREAM: Final = "text/event-stream"
_BEAT: Final = b": still here\n\n"


@dataclass(frozen=True, slots=True)
class RunLogsApi:
    """The endpoint `/api/v1/runs/{run}/logs`; `stopping` ends what is being followed."""

    reader: RunLogReader
    runs: Runs
    stopping: asyncio.Event

    def routes(self) -> list[Route]:
        """Return the route."""
        return [Route("/api/v1/runs/{run}/logs", self.show_logs)]

    async def show_logs(self, request: Request) -> Response:
        """A run's lines; followed where `follow` or an event stream is asked for."""
        run, limit = run_id(request), limit_of(request)
        wants_stream = _EVENT_STREAM in request.headers.get("accept", "")
        if wants_stream or "follow" in request.query_params:
            stream = self._stream(run, _last_id(request) or _after(request))
            return StreamingResponse(stream, media_type=_EVENT_STREAM)
        after = _after(request)
        page = await self.reader.page(run, after=after, limit=limit)
        if not page.lines and not after:
            await self.runs.get(run)  # which says that there is no such run
        return JSONResponse({"logs": page.lines, "after": page.after, "more": page.more})

    async def _stream(self, run: str, after: int) -> AsyncIterator[bytes]:
        """Yield a run's lines as events until it has ended and all is told."""
        ending = False
        async for page in self.reader.follow(run, after=after):
            for line in page.lines:
                yield b"id: %d\nevent: line\ndata: %b\n\n" % (line["seq"], orjson.dumps(line))
            if page.lines or page.more:
                continue
            if ending or self.stopping.is_set():
                break
            ending = await self._has_ended(run)  # its last lines may still be on their way: look once more
            yield _BEAT
        yield b"event: end\ndata: {}\n\n"

    async def _has_ended(self, run: str) -> bool:
        try:
            return (await self.runs.get(run)).ended
        except NotFoundError:
            return True


def _after(request: Request) -> int:
    """Return the sequence after which lines are wanted, 0 for all.

    Raises:
        PayloadError: it is none.
    """
    if request.query_params.get("after") == "0":
        return 0
    return number(request, "after", 0, MAX_SEQUENCE) or 0


def _last_id(request: Request) -> int | None:
    """Return the event after which a browser that lost its connection goes on.

    Raises:
        PayloadError: it is none.
    """
    text = request.headers.get("last-event-id")
    if text is None:
        return None
    found = digits(text, 0, MAX_SEQUENCE)
    if found is None:
        raise PayloadError(f"Last-Event-ID {text!r} can't be used", hint="leave it to the browser")
    return found
