"""The stored events of a type, from which drift is learned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from tidemill.kernel.clock import now

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tidemill.kernel.services.events import Events, StoredEvent

NEWEST: Final = 100


class StoredHistory:
    """Reads the newest events of a type that were stored before it was made."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._since = now()

    async def __call__(self, event_type: str) -> list[Any]:
        """Return the data of events of a full type; those whose body lies in a blob are left out.

        Raises:
            BrokerError: they can't be read.
        """
        found = await self._events.list(event_type=event_type, limit=NEWEST)
        return list(_documents([event for event in found if event.at < self._since]))


def _documents(events: Sequence[StoredEvent]) -> Iterator[Any]:
    for event in events:
        if "value" in event.facts:
            yield event.facts["value"]
            continue
        try:
            yield orjson.loads(event.raw)
        except orjson.JSONDecodeError:
            continue
