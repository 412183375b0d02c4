"""The log of requests, read from the broker itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from gateway.again import Again
from gateway.delivery_desk import DeliveryDesk
from gateway.depot import Depot
from gateway.introductions import Introductions, Visitor
from gateway.judge import Judge
from gateway.keys.https import HttpsFetch
from gateway.keys.store import KeyStore
from gateway.metrics import Metrics
from gateway.publisher import publisher_of
from gateway.recorder import Recorder
from gateway.redaction import Redaction
from gateway.reverification import Progress, Reverification
from gateway.sources import build_intakes, recipe_of
from gateway.tenants import TenantRings
from tidemill.cli.remote import Row
from tidemill.kernel.errors import NotFoundError
from tidemill.kernel.services.deliveries import Deliveries, Query
from tidemill.kernel.services.delivery_log import Cursor
from tidemill.kernel.services.learned import LearnedSecrets
from tidemill.kernel.services.tenants import Tenants
from tidemill.kernel.services.windows import Windows
from tidemill.kernel.settings.live import LiveSettings

if TYPE_CHECKING:
    from tidemill.kernel.services.broker import Broker
    from tidemill.kernel.services.events import Events
    from tidemill.kernel.services.vault import Vault
    from tidemill.kernel.settings.model import Settings


class DirectDeliveries:
    """What `DirectRemote` says of deliveries."""

    def __init__(self, broker: Broker, events: Events, settings: Settings, vault: Vault) -> None:
        self._broker = broker
        self._settings = settings
        self._vault = vault
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

    async def reverify(self, source: str | None, *, dry: bool, after: str | None) -> Row:
        """Verify kept requests again, with the secrets of the settings."""
        start = None if after is None else Progress.parse(after)
        async with self._reverification() as reverification:
            return await reverification.run(source, dry=dry, after=start)

    async def reverify_one(self, delivery: str, *, dry: bool) -> Row:
        """Verify one kept request again, with the secrets of the settings."""
        async with self._reverification() as reverification:
            return await Again(self._deliveries, reverification).run(delivery, dry=dry)

    @asynccontextmanager
    async def _reverification(self) -> AsyncIterator[Reverification]:
        """Yield what verifies again; behind it what was let in stands in the log."""
        broker, settings = self._broker, self._settings
        metrics, fetch = Metrics(), HttpsFetch(egress=settings.way_out())
        keys = KeyStore(fetch)
        learned = LearnedSecrets(broker.secrets, self._vault)
        await learned.refresh()
        rings = TenantRings(Tenants(broker.tenants, self._vault), self._vault)
        intakes = build_intakes(settings, LiveSettings(settings), learned, None, keys)
        depot = Depot(publisher_of(settings, broker), Recorder(broker.bus, metrics), Windows(broker.windows))
        desk = DeliveryDesk(settings, broker, metrics, intakes)
        judge = Judge(Introductions(learned, Visitor(fetch)), rings, keys)
        try:
            yield desk.reverification(judge, depot)
        finally:
            await desk.logbook.drain()

    async def replay(self, delivery: str) -> Row:
        """Store a delivery's events again."""
        return await self._deliveries.replay(await self._deliveries.find(delivery))
