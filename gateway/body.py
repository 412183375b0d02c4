"""Reading a request's body under a cap, chunk by chunk, and turning away what is over it.

What counts is bytes that arrive: a declared length refuses at once, a chunked body is refused with the
chunk that passes the cap. All bodies together stay under a budget, so that many large ones at the same
time can't exhaust the memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from enum import Enum, auto
from typing import Any, Final

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

LINGER_SECONDS: Final = 2.0
BUDGET: Final = 256 * 1024 * 1024
_MAX_DIGITS: Final = 18


class Fault(Enum):
    """Why there is no body."""

    TOO_LARGE = auto()
    GONE = auto()
    BUSY = auto()


class Budget:
    """Bytes that all bodies in flight may hold together."""

    def __init__(self, total: int = BUDGET) -> None:
        self._left = total

    def take(self, size: int) -> bool:
        """Take bytes; False where there aren't enough left."""
        if size > self._left:
            return False
        self._left -= size
        return True

    def give(self, size: int) -> None:
        """Give bytes back."""
        self._left += size


def declared_length(headers: Sequence[tuple[bytes, bytes]]) -> int:
    """Return the request's Content-Length, 0 where it declares none; the HTTP server refuses a second one."""
    for name, value in headers:
        if name == b"content-length":
            if not value.isdigit():
                return 0
            return int(value) if len(value) <= _MAX_DIGITS else 10**_MAX_DIGITS
    return 0


async def read_body(receive: Receive, declared: int, limit: int, budget: Budget) -> bytes | Fault:
    """Read a body of at most `limit` bytes.

    A body that came in one piece is in memory already and costs no budget.
    """
    if declared > limit:
        return Fault.TOO_LARGE
    message = await receive()
    if message["type"] != "http.request":
        return Fault.GONE
    body: bytes = message.get("body", b"")
    if len(body) > limit:
        return Fault.TOO_LARGE
    return await _read_on(receive, body, limit, budget) if message.get("more_body") else body


async def _read_on(receive: Receive, first: bytes, limit: int, budget: Budget) -> bytes | Fault:
    chunks, size, more = [first], len(first), True
    if not budget.take(size):
        return Fault.BUSY
    try:
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return Fault.GONE
            chunk = message.get("body", b"")
            if size + len(chunk) > limit:
                return Fault.TOO_LARGE
            if not budget.take(len(chunk)):
                return Fault.BUSY
            size += len(chunk)
            chunks.append(chunk)
            more = message.get("more_body", False)
        return b"".join(chunks)
    finally:
        budget.give(size)


async def discard(receive: Receive) -> None:
    """Throw away what a client still sends, for a while.

    A connection that is closed on unread bytes is reset, and the reset can overtake the answer (RFC 9112,
    9.6): the client would see a broken connection instead of the status.
    """
    try:
        async with asyncio.timeout(LINGER_SECONDS):
            while True:
                message = await receive()
                if message["type"] != "http.request" or not message.get("more_body"):
                    return
    except TimeoutError:
        return  # it goes on sending: the answer has had its time to arrive
