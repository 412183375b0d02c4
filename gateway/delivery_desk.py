"""All that a gateway has to do with requests that were answered: their log, their feed, and what is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.again import Again
from gateway.api.deliveries import DeliveriesApi
from gateway.api.listening import ListenApi
from gateway.api.reverify import ReverifyApi
from gateway.events.endpoint import SOURCE as EVENTS
from gateway.keeping import Keeper
from gateway.logbook import Logbook
from gateway.redaction import Redaction
from gateway.reverification import Reverification
from tidemill.kernel.services.deliveries import Deliveries
from tidemill.kernel.services.events import Events
from tidemill.kernel.services.kept import KeptRequests
from tidemill.kernel.services.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.routing import Route

    from gateway.depot import Depot
    from gateway.intake import Intake
    from gateway.judge import Judge
    from gateway.masking import Masks
    from gateway.metrics import Metrics
    from tidemill.kernel.services.broker import Broker
    from tidemill.kernel.settings.model import Settings


class DeliveryDesk:
    """Writes the log, keeps what is refused, and lets in what of that turns out to be genuine.

    Attributes:
        logbook: where entries are made.
        keeper: keeps refused requests, None where no source wants that.
        redaction: hides what is secret of requests' headers.
        deliveries: reads the log.

    Raises:
        SettingsError: a data key can't be resolved, or is none.
    """

    def __init__(
        self, settings: Settings, broker: Broker, metrics: Metrics, intakes: Mapping[str, Intake]
    ) -> None:
        self._broker = broker
        self._vault = Vault.of(settings, broker.secrets)
        self.redaction = Redaction({name: intake.recipe for name, intake in intakes.items()})
        self._events = Events(broker.bus, broker.blobs)
        self.deliveries = Deliveries(broker.bus, self._events, self.redaction.show)
        self._listen = ListenApi(broker.bus, self._events)
        sizes = kept_sizes(settings)
        self._keeping = {name: intakes[name] for name in sizes}
        self.logbook = Logbook(broker.bus, metrics, self.redaction, (*intakes, EVENTS))
        self.keeper = Keeper(broker.bus, sizes, self._vault) if sizes else None

    def reverification(self, judge: Judge, depot: Depot) -> Reverification:
        """Return what verifies kept requests again."""
        kept = KeptRequests(self._broker.bus, self._vault)
        return Reverification(kept, self._keeping, judge, depot, self.logbook)

    def routes(self, reverification: Reverification, masks: Masks) -> list[Route]:
        """Return the routes of the control API."""
        self._listen.masks = masks
        again = ReverifyApi(reverification, Again(self.deliveries, reverification))
        return [*again.routes(), *self._listen.routes(), *DeliveriesApi(self.deliveries, masks).routes()]

    def stop(self) -> None:
        """End the streams of those who listen."""
        self._listen.stop()


def kept_sizes(settings: Settings) -> dict[str, int]:
    """Return the sources that keep what they refuse, with the bytes that each may keep."""
    found = {name: source.keep_refused for name, source in settings.sources.items()}
    return {name: keeping.max_bytes for name, keeping in found.items() if keeping is not None}
