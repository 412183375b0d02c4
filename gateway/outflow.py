"""What is sent to a client, and whether it takes it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


class Outflow:
    """The writing side of a connection.

    Args:
        transport: writes.
        now: the loop's time, in seconds.
    """

    __slots__ = ("_lines", "_taken", "_taken_at", "_transport", "_writable", "_written")

    def __init__(self, transport: asyncio.Transport, now: float) -> None:
        self._transport = transport
        self._written = self._taken = 0
        self._taken_at = now
        self._lines: tuple[object, bytes] = (None, b"")
        self._writable: asyncio.Event | None = None

    @property
    def choked(self) -> bool:
        """Whether the client takes more slowly than is written."""
        return self._writable is not None

    def pause(self) -> None:
        """Let who drains wait."""
        self._writable = asyncio.Event()

    def resume(self) -> None:
        """Let who drains go on."""
        if self._writable is not None:
            self._writable.set()
            self._writable = None

    async def drain(self) -> None:
        """Wait until the client has taken enough."""
        if self._writable is not None:
            await self._writable.wait()

    def lines(self, fields: Sequence[tuple[bytes, bytes]]) -> bytes:
        """Return field lines as they are sent; the same list again costs nothing."""
        if self._lines[0] is not fields:
            self._lines = fields, b"".join(b"%b: %b\r\n" % field for field in fields)
        return self._lines[1]

    def write(self, data: bytes) -> None:
        """Send bytes, unless the client has gone: uvloop raises on a late write."""
        if not self._transport.is_closing():
            self._written += len(data)
            self._transport.write(data)

    def waited(self, now: float) -> float | None:
        """Return for how many seconds the client has been seen to take nothing, None where all is sent."""
        unsent = self._transport.get_write_buffer_size()
        taken = self._written - unsent
        if not unsent or taken != self._taken:
            self._taken, self._taken_at = taken, now
        return now - self._taken_at if unsent else None
