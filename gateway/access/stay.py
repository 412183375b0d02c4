"""What somebody follows with their login, for as long as that counts: an event stream ends with the login."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from gateway.access.sessions import Sessions

_STREAMS: Final = (b"text/event-stream", b"application/x-ndjson")


class Stay:
    """One request of somebody's; it is ended in the middle only once it has begun to answer with a stream."""

    def __init__(self, sessions: Sessions, scope: Scope, send: Send) -> None:
        self._sessions = sessions
        self._scope = scope
        self._send = send
        self._limit = asyncio.timeout(None)
        self._streams = False

    async def serve(self, app: ASGIApp, receive: Receive) -> None:
        """Serve it; a stream whose login ends is ended in order."""
        try:
            async with self._limit:
                with self._sessions.revoked.telling(self._look):
                    await app(self._scope, receive, self._told)
        except TimeoutError:
            if not self._limit.expired():
                raise
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _told(self, message: Message) -> None:
        await self._send(message)
        if message["type"] == "http.response.start":
            kind = dict(message["headers"]).get(b"content-type", b"")
            self._streams = kind.partition(b";")[0] in _STREAMS
            self._look()

    def _look(self) -> None:
        """End the stream where the login has ended; what is no stream is over soon by itself."""
        if self._streams and self._sessions.read(self._scope["headers"]) is None:
            self._limit.reschedule(asyncio.get_running_loop().time())
