"""Control API: the feed of deliveries, which `tidemill listen` brings to another gateway."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from gateway.api.parameters import MAX_SEQUENCE, digits
from gateway.lines import MEDIA_TYPE, Lines
from tidemill.kernel.errors import BrokerError, PayloadError
from tidemill.kernel.services.feed import Feed, Interest
from tidemill.kernel.services.moments import parse_since

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

    from gateway.masking import Masks
    from tidemill.kernel.jetstream.bus import Bus
    from tidemill.kernel.services.events import Events

MOST_LISTENERS: Final = 16
LIFETIME: Final = 600.0
"""Seconds after which a stream ends, so that a key that was taken away soon counts no more."""
HEARTBEAT: Final = 10.0
"""Seconds in which at least one line is sent."""
POLL: Final = 0.25
_AWAY: Final = 1.0
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class ListenApi:
    """The endpoint `/api/v1/deliveries/stream`."""

    bus: Bus
    events: Events
    masks: Masks | None = None
    listeners: int = 0
    stopping: asyncio.Event = field(default_factory=asyncio.Event)

    def routes(self) -> list[Route]:
        """Return the route."""
        return [Route("/api/v1/deliveries/stream", self.stream)]

    def stop(self) -> None:
        """End all streams: a gateway that stops waits for its requests."""
        self.stopping.set()

    async def stream(self, request: Request) -> Response:
        """The deliveries of a source from now on, or from a place on, a line of JSON each.

        It goes on for ten minutes, or until somebody ends it. A line that only has a `position` comes first,
        and whenever there is nothing else to say.
        """
        given = request.query_params
        if self.masks is not None:
            self.masks.check_feed(request, given.get("source", ""))
        interest = Interest(given.get("source", ""), given.get("type"))
        feed = Feed(self.bus, self.events, interest)
        since = parse_since(given["since"]) if "since" in given else None
        after = _sequence(given["after"]) if "after" in given else None
        if request.method == "HEAD":
            return Response(media_type=MEDIA_TYPE)
        await feed.begin(after, since)
        if self.listeners >= MOST_LISTENERS:
            detail = f"{MOST_LISTENERS} others listen here already."
            raise HTTPException(HTTPStatus.TOO_MANY_REQUESTS, detail)
        return Lines(self._lines(feed))

    async def _lines(self, feed: Feed) -> AsyncIterator[dict[str, Any] | None]:
        self.listeners += 1
        try:
            yield {"position": feed.seq, "missed": feed.missed}
            loop = asyncio.get_running_loop()
            said, until = loop.time(), loop.time() + LIFETIME
            while not self.stopping.is_set() and loop.time() < until:
                before, pause = feed.seq, POLL
                try:
                    async for delivery in feed.next():
                        yield delivery
                        said = loop.time()
                except BrokerError as error:
                    _log.debug("the feed of deliveries waits: %s", error.sentence)
                    pause = _AWAY
                if loop.time() - said >= HEARTBEAT:
                    yield {"position": feed.seq}
                    said = loop.time()
                else:
                    yield None
                if feed.seq == before:
                    await self._pause(pause)
        finally:
            self.listeners -= 1

    async def _pause(self, seconds: float) -> None:
        """Wait, unless the gateway stops."""
        try:
            await asyncio.wait_for(self.stopping.wait(), seconds)
        except TimeoutError:
            return


def _sequence(text: str) -> int:
    found = digits(text, 0, MAX_SEQUENCE)
    if found is None:
        raise PayloadError(f"after={text!r} can't be used", hint="write the `seq` of the last delivery")
    return found
