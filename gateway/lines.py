"""An answer that goes on: lines of JSON, as long as its client listens and takes them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any, Final

import orjson
from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from starlette.types import Receive, Scope, Send

MEDIA_TYPE: Final = "application/x-ndjson"
WRITE_SECONDS: Final = 60.0
"""A client that takes nothing for so long is given up."""
_log = logging.getLogger(__name__)


class Lines(Response):
    """Sends what an iterator yields, a line each; None only asks whether the client still listens.

    The next line is asked for when the one before has gone to the socket: a client that reads slowly slows
    the iterator down, and what waits for it is one line and what the socket holds.
    """

    def __init__(self, lines: AsyncIterator[Mapping[str, Any] | None]) -> None:
        super().__init__(media_type=MEDIA_TYPE, headers={"cache-control": "no-store"})
        del self.headers["content-length"]
        self._lines = lines

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Send lines until the iterator ends, or the client goes."""
        gone = asyncio.create_task(_gone(receive), name="listener-gone")
        try:
            await self._send_all(send, gone)
        except TimeoutError:
            _log.warning("a listener took nothing for %d s: its stream ends", WRITE_SECONDS)
        finally:
            gone.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await gone

    async def _send_all(self, send: Send, gone: asyncio.Task[None]) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async with contextlib.aclosing(self._lines) as lines:  # type: ignore[type-var] # it is a generator
            async for line in lines:
                if gone.done():
                    return
                if line is not None:
                    body = orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
                    async with asyncio.timeout(WRITE_SECONDS):
                        await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def _gone(receive: Receive) -> None:
    """Return when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
