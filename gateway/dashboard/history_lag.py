"""How far the history is behind the journals."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tidemill.kernel.jetstream.inspection import stream_info

if TYPE_CHECKING:
    from gateway.dashboard.services import Services


async def history_lag(services: Services) -> int:
    """Return how many records of journals the history hasn't taken in yet.

    Raises:
        HistoryError: the history can't be asked.
        BrokerError: the broker doesn't say.
    """
    names = services.broker.names
    info, positions = await asyncio.gather(
        stream_info(services.broker.bus, names.stream("JOURNAL")), services.history.positions()
    )
    taken = next((position.seq for position in positions if position.stream == "JOURNAL"), 0)
    return max(0, int(info["state"]["last_seq"]) - taken)
