"""The log of requests, read from the broker itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from gateway.redaction import Redaction
from gateway.sources import recipe_of
from tidemill.cli.remote import Row
from tidemill.kernel.errors import NotFoundError
from tidemill.kernel.services.deliveries import Deliveries, Query
from tidemill.kernel.services.delivery_log import Cursor

if TYPE_CHECKING:
    from tidemill.kernel.services.broker import Broker
    from tidemill.kernel.services.events import Events
    from tidemill.kernel.settings.model import Settings


class DirectDeliveries:
    """What `DirectRemote` says of deliveries."""

    def __init__(self, broker: Broker, events: Events, settings: Settings) -> None:
        recipes = {name: recipe_of(name, source) for name, source in settings.sources.items()}
        self._deliveries = Deliveries(broker.bus, events, Redaction(recipes).show)

    async def list(self, wanted: Mapping[str, str], limit: int) -> Row:
        """Return the newest requests."""
        before = Cursor.parse(wanted["before"]) if "before" in wanted else None
        listing = await self._deliveries.list(Query.parse(wanted), before=before, limit=limit)
        return listing.document()

    async def show(self, delivery: str) -> Row:
        """Return one with headers and body."""
        return await self._deliveries.document(await self._deliveries.find(delivery))

    async def body(self, delivery: str) -> bytes:
        """Return the body of one."""
        entry = await self._deliveries.find(delivery)
        body = await self._deliveries.body(entry)
        if body is None:
            raise NotFoundError(
                f"the body of the delivery {entry.id} isn't kept",
                hint="it stands on the delivery's events, as long as they are kept",
            )
        return body

    async def replay(self, delivery: str) -> Row:
        """Store a delivery's events again."""
        return await self._deliveries.replay(await self._deliveries.find(delivery))
