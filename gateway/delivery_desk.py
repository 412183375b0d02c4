"""All that a gateway has to do with requests that were answered: their log, and the API that shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.api.deliveries import DeliveriesApi
from gateway.events.endpoint import SOURCE as EVENTS
from gateway.logbook import Logbook
from gateway.redaction import Redaction
from tidemill.kernel.services.deliveries import Deliveries
from tidemill.kernel.services.events import Events

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.routing import Route

    from gateway.intake import Intake
    from gateway.metrics import Metrics
    from tidemill.kernel.services.broker import Broker


class DeliveryDesk:
    """Keeps the log.

    Attributes:
        logbook: where entries are made.
    """

    def __init__(self, broker: Broker, metrics: Metrics, intakes: Mapping[str, Intake]) -> None:
        self._broker = broker
        self._redaction = Redaction({name: intake.recipe for name, intake in intakes.items()})
        self.logbook = Logbook(broker.bus, metrics, self._redaction, (*intakes, EVENTS))

    def routes(self) -> list[Route]:
        """Return the routes of the control API."""
        events = Events(self._broker.bus, self._broker.blobs)
        return DeliveriesApi(Deliveries(self._broker.bus, events, self._redaction.show)).routes()
