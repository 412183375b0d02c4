"""The gateway process: both listeners on one event loop, and everything that stands behind them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from gateway.access.guard import check_exposure
from gateway.again import Again
from gateway.amendment import amendments_of
from gateway.clients import Clients
from gateway.delivery_desk import DeliveryDesk, kept_sizes
from gateway.depot import Depot
from gateway.events.endpoint import EventApi
from gateway.health import Readiness
from gateway.ingress import Ingress
from gateway.judge import Judge
from gateway.keys.https import HttpsFetch
from gateway.keys.store import KeyStore
from gateway.limits import Limits, gate_of
from gateway.listener import Listener, bind
from gateway.masking import Masks
from gateway.metrics import Metrics
from gateway.pages.token import TokenPages
from gateway.public import build_public
from gateway.publisher import publisher_of
from gateway.reception import Reception
from gateway.recorder import Recorder
from gateway.register import Register
from gateway.rehearsal import Rehearsals
from gateway.schemata.drift import DriftWatch
from gateway.schemata.history import StoredHistory
from gateway.schemata.registry import SchemaRegistry
from gateway.secret_keepers import SecretKeepers
from gateway.site import ControlSite
from gateway.sources import build_intakes, schema_store
from gateway.spool.shelter import Shelter
from gateway.traced import Traced
from gateway.waiting import Senders
from tidemill.history.database import locate
from tidemill.history.reader import HistoryReader
from tidemill.kernel.collector import spare_collector
from tidemill.kernel.errors import BrokerUnavailableError
from tidemill.kernel.services.answers import Answers
from tidemill.kernel.services.broker import Broker, open_broker
from tidemill.kernel.services.events import Events
from tidemill.kernel.services.registry import Definitions
from tidemill.kernel.services.tokens import Tokens
from tidemill.kernel.services.windows import Windows
from tidemill.kernel.settings.live import LiveSettings

if TYPE_CHECKING:
    from starlette.routing import Route
    from starlette.types import ASGIApp

    from gateway.publisher import Publisher
    from gateway.schemas import SchemaStore
    from tidemill.kernel.settings.model import Settings
    from tidemill.kernel.settings.sections import GatewaySettings
    from tidemill.kernel.settings.values import Address

_log = logging.getLogger(__name__)
_LONGEST_PAUSE = 5


class Gateway:
    """Two bound listeners, not serving yet; or `only` one of them, `public` or `control`.

    Raises:
        SettingsError: an address can't be bound, a source or a data key is wrong, or control would be open
            to anybody.
    """

    def __init__(self, settings: Settings, broker: Broker, only: str | None = None) -> None:
        if only != "public":
            check_exposure(settings.control)
        live = LiveSettings(settings)
        self._broker, self._public_url = broker, settings.gateway.public_url
        self.metrics = _metrics_of(broker)
        self._recorder = Recorder(broker.bus, self.metrics)
        self._keepers = SecretKeepers(settings, broker)
        self._keys = self.metrics.watch_keys(KeyStore(HttpsFetch(egress=settings.way_out())))
        schemas, self._drift = _watched_schemas(settings, broker, self._recorder, self.metrics)
        intakes = build_intakes(settings, live, self._keepers.learned, schemas, self._keys)
        self._desk = DeliveryDesk(settings, broker, self.metrics, intakes)
        publisher = publisher_of(settings, broker)
        taking = only != "control"
        self._shelter = Shelter(settings, broker, publisher, self._recorder, self.metrics, wanted=taking)
        self._definitions = Definitions(broker.tasks)
        self._senders = _senders(settings, broker, self._definitions)
        self._replies = any(intake.reply_timeout is not None for intake in intakes.values())
        clients, gate = Clients(settings.gateway.trusted_proxies), gate_of(_limits_of_all(settings))
        ingress = Ingress(
            intakes,
            publisher,
            self._recorder,
            self.metrics,
            introductions=self._keepers.introductions,
            keys=self._keys,
            windows=Windows(broker.windows),
            rings=self._keepers.rings,
            spool=self._shelter.spool,
            clients=clients,
            gate=gate,
            senders=self._senders,
            logbook=self._desk.logbook,
            keeper=self._desk.keeper,
        )
        events = EventApi(
            live.event_keys,
            Depot(publisher, self._recorder, spool=self._shelter.spool),
            schemas,
            metrics=self.metrics,
            clients=clients,
            max_body=settings.gateway.max_body,
            gate=gate,
            logbook=self._desk.logbook,
            issuers=live.token_issuers,
            published=self._keys,
        )
        ready = Readiness(broker, publisher.storing, self._shelter.spool).problems
        public = build_public(ingress, ready, events, _pages(broker), self.metrics.spool)
        reception = self._reception(settings, live, schemas, publisher, public)
        routes = [*self._keepers.routes(), *self._desk.routes(reception.reverification, reception.masks)]
        self._site = ControlSite(settings, live, broker, self.metrics, routes, reception, self._keys)
        applications: dict[str, ASGIApp] = {"public": public, "control": self._site.application(ready)}
        self._listeners = {
            name: self._listener(name, _traced(applications[name], broker), bound, settings.gateway)
            for name, bound in _bound(settings, only, self._shelter).items()
        }

    def _reception(
        self,
        settings: Settings,
        live: LiveSettings,
        schemas: SchemaStore,
        publisher: Publisher,
        public: ASGIApp,
    ) -> Reception:
        """Return what the control listener may ask of the public side."""
        broker, keepers, history = self._broker, self._keepers, HistoryReader(locate(settings))
        judge = Judge(keepers.introductions, keepers.rings, self._keys)
        depot = Depot(publisher, self._recorder, Windows(broker.windows), self._shelter.spool)
        stored, reverification = Events(broker.bus, broker.blobs), self._desk.reverification(judge, depot)
        masks = Masks(settings, schemas, self._definitions)
        return Reception(
            amendments=amendments_of(settings, broker, schemas, masks),
            redaction=self._desk.redaction,
            deliveries=self._desk.deliveries,
            reverification=reverification,
            again=Again(self._desk.deliveries, reverification),
            masks=masks,
            keeping=frozenset(kept_sizes(settings)),
            history=history,
            register=Register(settings, self.metrics, schemas, history),
            registry=SchemaRegistry(settings, schemas, self._drift, stored),
            rehearsals=Rehearsals(settings, keepers.secrets_of(live), keepers.rings, public),
        )

    def _listener(self, name: str, app: ASGIApp, bound: socket.socket, settings: GatewaySettings) -> Listener:
        bounds = _bounds(settings) if name == "public" else None
        return Listener(name, app, bound, self._unreadable(name), bounds)

    @property
    def public_address(self) -> Address:
        """Where webhooks are taken."""
        return self._listeners["public"].address

    @property
    def control_address(self) -> Address:
        """Where the control API is."""
        return self._listeners["control"].address

    async def run(self, stopping: asyncio.Event) -> None:
        """Serve until `stopping` is set; requests in flight come to their ends first."""
        listeners = self._listeners.values()
        async with contextlib.AsyncExitStack() as opened, asyncio.TaskGroup() as group:
            opened.callback(self._shelter.close)
            serving = [group.create_task(one.listen(), name=f"{one.name}-listener") for one in listeners]
            background = [
                group.create_task(self._recorder.run(), name="recorder"),
                group.create_task(self._desk.logbook.run(), name="logbook"),
                *self._keepers.follow(group),
                group.create_task(self._drift.run(), name="drift-watch"),
                group.create_task(self._site.run(), name="control-site"),
                group.create_task(self._keys.run(), name="published-keys"),
                *self._shelter.follow(group),
            ]
            if not self._broker.prepared:
                background.append(group.create_task(self._prepare(), name="broker-preparation"))
            if self._replies:
                group.create_task(self._definitions.follow(stopping), name="definitions")
            await stopping.wait()
            self._senders.stop()
            self._site.stop()
            self._desk.stop()
            for one in listeners:
                one.stop()
            await asyncio.wait(serving)
            await self._desk.logbook.drain()
            for task in background:
                task.cancel()

    async def _prepare(self) -> None:
        """Prepare a broker that couldn't be reached at the start, as soon as it can.

        Raises:
            BrokerError: it refuses.
        """
        failures = 0
        await self._broker.bus.opened()
        while not self._broker.prepared:
            try:
                await self._broker.prepare(self._public_url)
            except BrokerUnavailableError as error:
                failures += 1
                _log.warning("the broker can't be prepared yet: %s", error.sentence)
                await asyncio.sleep(min(failures, _LONGEST_PAUSE))

    async def listening(self) -> None:
        """Wait until all listeners take connections."""
        await asyncio.gather(*(one.listening.wait() for one in self._listeners.values()))

    @property
    def addresses(self) -> dict[str, Address]:
        """Where the listeners of this process are, by their names."""
        return {name: one.address for name, one in self._listeners.items()}

    def _unreadable(self, listener: str) -> Callable[[str], None]:
        def count(reason: str) -> None:
            self.metrics.unreadable[listener, reason] += 1

        return count


def _metrics_of(broker: Broker) -> Metrics:
    metrics = Metrics()
    metrics.watch_broker(lambda: broker.bus.connected)
    return metrics


def _traced(app: ASGIApp, broker: Broker) -> ASGIApp:
    """Return an application whose requests are spans, where anybody records them."""
    return Traced(app, broker.traces) if broker.traces.enabled else app


def _pages(broker: Broker) -> list[Route]:
    """Return the public pages: those on which people answer."""
    return TokenPages(Tokens(broker), broker.secrets).routes()


def _senders(settings: Settings, broker: Broker, definitions: Definitions) -> Senders:
    """Return those who wait for what runs answer."""
    return Senders(
        broker.bus, Answers(broker.replies, broker.journal, definitions), settings.gateway.max_waiting
    )


def _bound(settings: Settings, only: str | None, shelter: Shelter) -> dict[str, socket.socket]:
    """Return the sockets by their listeners; where there is none, let go what was opened before."""
    wanted = {"public": settings.gateway.listen, "control": settings.control.listen}
    keys = {"public": "gateway.listen", "control": "control.listen"}
    with contextlib.ExitStack() as opened:
        opened.callback(shelter.close)
        found = {
            name: opened.enter_context(bind(address, keys[name]))
            for name, address in wanted.items()
            if only in (None, name)
        }
        opened.pop_all()
        return found


def _limits_of_all(settings: Settings) -> Limits:
    return Limits(client_rate=settings.gateway.client_rate, concurrency=settings.gateway.concurrency)


def _bounds(gateway: GatewaySettings) -> dict[str, float]:
    """Return the bounds of connections, by their names there."""
    return {
        "max_head": gateway.max_head,
        "max_fields": gateway.max_headers,
        "seconds": gateway.request_timeout,
    }


def _watched_schemas(
    settings: Settings, broker: Broker, recorder: Recorder, metrics: Metrics
) -> tuple[SchemaStore, DriftWatch]:
    """Return the schemas, and who watches what fits them for drift."""
    schemas = schema_store(settings)
    drift = DriftWatch(StoredHistory(Events(broker.bus, broker.blobs)), recorder.drift)
    schemas.watcher = drift
    metrics.watch_schemas(schemas.outcomes, drift.looked, drift.drifting)
    return schemas, drift


@asynccontextmanager
async def open_gateway(settings: Settings, broker: Broker, only: str | None = None) -> AsyncIterator[Gateway]:
    """Serve on both listeners, or `only` one, inside of the block, beside whatever else runs on this loop.

    Raises:
        SettingsError: as for `Gateway`.
    """
    # uvicorn logs a line for everything that a stranger gets wrong; metrics count it instead.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    gateway, stopping = Gateway(settings, broker, only), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(gateway.run(stopping), name="gateway")
        try:
            await gateway.listening()
            yield gateway
        finally:
            stopping.set()


async def serve(settings: Settings, only: str | None = None) -> None:
    """Be a gateway process until SIGTERM or SIGINT; with `only` of one listener, `public` or `control`.

    The only lines on standard output say where the listeners are, so that a script can read them.

    Raises:
        SettingsError: the settings can't be served.
        BrokerError: the broker can't be started, reached or prepared.
    """
    stopping, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    early = settings.gateway.spool is not None and only != "control"
    async with (
        open_broker(settings, name="gateway", early=early) as broker,
        open_gateway(settings, broker, only) as gateway,
    ):
        for name, address in gateway.addresses.items():
            _announce(name, address)
        spare_collector()
        await stopping.wait()
        _log.info("stopping: requests in flight come to their ends")


def _announce(name: str, address: Address) -> None:
    sys.stdout.write(f"{name} listener on http://{address}\n")
    sys.stdout.flush()
