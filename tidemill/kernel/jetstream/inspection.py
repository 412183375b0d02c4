"""What the broker says about its streams and consumers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tidemill.kernel.jetstream.bus import Bus

TIMEOUT: Final = 5.0


async def stream_info(bus: Bus, stream: str, *, timeout: float = TIMEOUT) -> dict[str, Any]:
    """Return a stream's configuration and state (`STREAM.INFO`).

    Raises:
        BrokerError: there is no such stream, or the broker doesn't answer.
    """
    return await bus.api(f"STREAM.INFO.{stream}", timeout=timeout)


async def consumer_infos(bus: Bus, stream: str, *, timeout: float = TIMEOUT) -> AsyncIterator[dict[str, Any]]:
    """Yield what the broker knows of each consumer of a stream (`CONSUMER.LIST`, a page at a time).

    Raises:
        BrokerError: there is no such stream, or the broker doesn't answer.
    """
    seen, total = 0, 1
    while seen < total:
        page = await bus.api(f"CONSUMER.LIST.{stream}", {"offset": seen}, timeout=timeout)
        consumers, total = page["consumers"] or [], page["total"]
        if not consumers:
            return
        for info in consumers:
            yield info
        seen += len(consumers)
