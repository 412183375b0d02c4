"""The stored events of a type, from which drift is learned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from tidemill.kernel.clock import now

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tidemill.kernel.services.events import Events, StoredEvent

NEWEST: Final = 100
PAGE: Final = 20
MAX_BYTES: Final = 4 << 20


class StoredHistory:
    """Reads the newest events of a type that were stored before it was made."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._since = now()

    async def __call__(self, event_type: str) -> list[Any]:
        """Return the data of events of a full type: at most `NEWEST`, fewer where they are large.

        Those whose body lies in a blob are left out.

        Raises:
            BrokerError: they can't be read.
        """
        found: list[StoredEvent] = []
        before = None
        while len(found) < NEWEST and sum(len(event.raw) for event in found) < MAX_BYTES:
            page = await self._events.list(event_type=event_type, before=before, limit=PAGE)
            found += page
            if len(page) < PAGE:
                break
            before = page[-1].seq
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
