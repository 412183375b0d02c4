"""The control listener's site: the API and the dashboard, who may use them, and what they need beside."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gateway.access.opening import open_access, open_oidc
from gateway.access.revocations import Revocations
from gateway.api.alerts import AlertsApi
from gateway.api.audit import AuditApi
from gateway.api.bulk import BulkApi
from gateway.api.control import build_control
from gateway.api.dead import DeadApi
from gateway.api.destinations import DestinationsApi
from gateway.api.dry_run import DryRunApi
from gateway.api.events import EventsApi
from gateway.api.forks import ForksApi
from gateway.api.history import HistoryApi
from gateway.api.live import LiveApi
from gateway.api.logins import LoginsApi
from gateway.api.pulse import PulseApi
from gateway.api.quarantine import QuarantineApi
from gateway.api.rehearsal import RehearsalApi
from gateway.api.run_logs import RunLogsApi
from gateway.api.runs import RunsApi
from gateway.api.schedules import SchedulesApi
from gateway.api.sources import SourcesApi
from gateway.api.task_control import TaskControlApi
from gateway.api.waits import WaitsApi
from gateway.bulk_desk import BulkDesk
from gateway.choosing import Chooser
from gateway.dashboard.assets import Assets
from gateway.dashboard.frame import Frame
from gateway.dashboard.login import Login
from gateway.dashboard.services import Services
from gateway.dashboard.views import dashboard_routes
from gateway.health import CHECK_TIMEOUT
from gateway.live import Live
from tidemill.kernel.services.alerts import Alerts
from tidemill.kernel.services.audit import Audit
from tidemill.kernel.services.bulk_deeds import bulk_actions
from tidemill.kernel.services.dead import DeadLetters
from tidemill.kernel.services.destinations import Destinations
from tidemill.kernel.services.dry_run import DryRun
from tidemill.kernel.services.events import Events
from tidemill.kernel.services.forks import Forks
from tidemill.kernel.services.overrides import Overrides
from tidemill.kernel.services.pulse import Pulses
from tidemill.kernel.services.quarantine import Quarantine
from tidemill.kernel.services.registry import Definitions
from tidemill.kernel.services.run_logs import RunLogReader
from tidemill.kernel.services.run_signals import RunSignals
from tidemill.kernel.services.runs import Runs
from tidemill.kernel.services.schedules import Schedules
from tidemill.kernel.services.tokens import Tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.routing import Route
    from starlette.types import ASGIApp

    from gateway.health import Check
    from gateway.keys.store import KeyStore
    from gateway.metrics import Metrics
    from gateway.reception import Reception
    from tidemill.history.reader import HistoryReader
    from tidemill.kernel.services.broker import Broker
    from tidemill.kernel.settings.live import LiveSettings
    from tidemill.kernel.settings.model import Settings


class ControlSite:
    """What the control listener serves.

    Args:
        settings: all of them.
        live: the present API keys.
        broker: what everything stands on.
        metrics: what `/metrics` shows.
        others: routes of the API that are built elsewhere.
        reception: the public side: its sources, and what they do.
        published: keys that are fetched, here those of an identity provider.

    Raises:
        SettingsError: a secret of a login can't be resolved, or is too weak.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - what the site is made of
        self,
        settings: Settings,
        live: LiveSettings,
        broker: Broker,
        metrics: Metrics,
        others: Sequence[Route],
        reception: Reception,
        published: KeyStore,
    ) -> None:
        self._broker = broker
        self._metrics = metrics
        self._revoked = Revocations(broker.sessions)
        self._access = open_access(settings, live.api_keys, broker, self._revoked, published)
        self._assets = Assets()
        self._frame = Frame(self._assets, logins=settings.control.logins)
        self._login = Login(self._frame, self._access, open_oidc(settings, published))
        self._history = reception.history
        self._live = Live(broker, self._history)
        pulses = Pulses(broker, timeout=CHECK_TIMEOUT)
        metrics.watch_installation(pulses, Alerts(broker.alerts))
        self._services = _services(broker, self._frame, self._history, pulses, reception)
        self._api = [*_api_routes(self._services), *PulseApi(pulses).routes(), *others]
        self._api += [*LiveApi(self._live).routes(), *HistoryApi(self._history, reception.masks).routes()]
        self._stopping = asyncio.Event()
        self._api += RunLogsApi(self._services.logs, self._services.runs, self._stopping).routes()
        self._api += LoginsApi(self._access.sessions).routes()
        self._api += AuditApi(self._access.audit).routes()
        self._api += AlertsApi(self._services.alerts).routes()

    def application(self, ready: Check) -> ASGIApp:
        """Return the application; `ready` is what `/readyz` asks."""
        pages = dashboard_routes(self._services, https=self._access.https)
        routes = [*self._api, *self._assets.routes(), *self._login.routes(), *pages]
        return build_control(routes, self._metrics, ready, self._access, self._frame)

    def stop(self) -> None:
        """Let those go who follow something: they would hold the listener open."""
        self._stopping.set()
        self._live.stop()

    async def run(self) -> None:
        """Keep up with other gateways, until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._revoked.follow(), name="revocations")
                group.create_task(self._live.run(), name="live")
        finally:
            await self._services.bulk.stop()
            await self._history.close()


def _services(
    broker: Broker, frame: Frame, history: HistoryReader, pulses: Pulses, reception: Reception
) -> Services:
    definitions = Definitions(broker.tasks)
    runs = Runs(broker, definitions, history)
    letters = DeadLetters(broker, runs)
    quarantine = Quarantine(broker.bus, Events(broker.bus, broker.blobs), broker.performer)
    bulk = bulk_actions(broker.bulk, runs, quarantine)
    return Services(
        frame=frame,
        broker=broker,
        history=history,
        runs=runs,
        logs=RunLogReader(broker.bus, history),
        definitions=definitions,
        tokens=Tokens(broker),
        letters=letters,
        quarantine=quarantine,
        pulses=pulses,
        reception=reception,
        schedules=Schedules(broker, definitions),
        audit=Audit(broker.bus),
        dry_run=DryRun(definitions, Events(broker.bus, broker.blobs)),
        bulk=BulkDesk(bulk, Chooser(history, letters, quarantine)),
        alerts=Alerts(broker.alerts),
        overrides=Overrides(broker),
    )


def _api_routes(services: Services) -> list[Route]:
    broker, runs, definitions = services.broker, services.runs, services.definitions
    reception = services.reception
    sources, masks = reception.redaction.sources, reception.masks
    events = Events(broker.bus, broker.blobs)
    return [
        *RunsApi(runs, definitions, broker.tasks, masks).routes(),
        *ForksApi(Forks(runs)).routes(),
        *TaskControlApi(definitions, services.overrides).routes(),
        *EventsApi(events, runs, definitions, sources, masks).routes(),
        *QuarantineApi(services.quarantine, reception.amendments, masks).routes(),
        *DryRunApi(services.dry_run, sources, masks).routes(),
        *SourcesApi(reception.register, reception.registry).routes(),
        *RehearsalApi(reception.rehearsals).routes(),
        *WaitsApi(RunSignals(broker, runs), services.tokens, masks).routes(),
        *BulkApi(services.bulk).routes(),
        *DeadApi(services.letters, broker.workers, masks).routes(),
        *SchedulesApi(services.schedules).routes(),
        *DestinationsApi(Destinations(broker.destinations, definitions)).routes(),
    ]
