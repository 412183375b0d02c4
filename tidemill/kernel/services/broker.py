"""Everything of one broker that a process needs, opened and closed together."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from tidemill.kernel.errors import BrokerUnavailableError, SettingsError
from tidemill.kernel.jetstream.blobs import Blobs
from tidemill.kernel.jetstream.buckets import Bucket
from tidemill.kernel.jetstream.bus import Bus
from tidemill.kernel.jetstream.embedded import EmbeddedBroker
from tidemill.kernel.jetstream.journal import Journal
from tidemill.kernel.jetstream.link import Login
from tidemill.kernel.jetstream.topology import Topology, TopologyLimits, apply, wanted
from tidemill.kernel.services.link_key import Links, make_key
from tidemill.kernel.services.performer import Performer
from tidemill.kernel.services.traces import Traces
from tidemill.kernel.services.waiting import Waiting
from tidemill.kernel.settings.model import Settings
from tidemill.kernel.settings.sections import TlsSettings
from tidemill.kernel.subjects import Names

EARLY_SECONDS: Final = 1.0
"""Seconds after which who can do without the broker for a while goes on without it."""


@dataclass(frozen=True, slots=True)
class Access:
    """Where the broker is and how to get in, whether it is embedded or not."""

    servers: tuple[str, ...]
    names: Names
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    credentials: str | None = None
    tls: ssl.SSLContext | None = None

    async def connect_early(self, name: str) -> Bus:
        """Open a connection that needn't stand yet.

        Raises:
            BrokerError: the broker refused the credentials.
        """
        login = Login(self.servers, name, self.user, self.password, self.credentials, self.tls)
        return await Bus.connect_early(login, self.names, connect_timeout=EARLY_SECONDS)

    async def connect(self, name: str, *, connect_timeout: float = 5.0) -> Bus:
        """Open a connection.

        Raises:
            BrokerError: it can't be opened.
        """
        return await Bus.connect(
            self.servers,
            names=self.names,
            name=name,
            user=self.user,
            password=self.password,
            credentials_file=self.credentials,
            tls=self.tls,
            connect_timeout=connect_timeout,
        )


class Broker:
    """An open connection with what lies on top of it."""

    def __init__(self, access: Access, bus: Bus, topology: Topology, *, patient: bool) -> None:
        self.access = access
        self.bus = bus
        self.names = bus.names
        self.topology = topology
        self.journal = Journal(bus)
        self.blobs = Blobs(bus)
        self.tasks = Bucket(bus, "TASKS")
        self.workers = Bucket(bus, "WORKERS")
        self.schedules = Bucket(bus, "SCHEDULES")
        self.secrets = Bucket(bus, "SECRETS")
        self.tenants = Bucket(bus, "TENANTS")
        self.sessions = Bucket(bus, "SESSIONS")
        self.windows = Bucket(bus, "WINDOWS")
        self.history = Bucket(bus, "HISTORY")
        self.alerts = Bucket(bus, "ALERTS")
        self.replies = Bucket(bus, "REPLIES")
        self.bulk = Bucket(bus, "BULK")
        self.overrides = Bucket(bus, "OVERRIDES")
        self.destinations = Bucket(bus, "DESTINATIONS")
        self.waiting = Waiting(Bucket(bus, "WAITS"))
        self.links = Links()
        self.traces = Traces()
        self.prepared = False
        self.performer = Performer(bus, self.journal, self.blobs, patient=patient)

    async def prepare(self, public_url: str | None) -> None:
        """Apply the topology, and find the key of links.

        Raises:
            BrokerError: the broker can't be prepared; trying again is safe.
        """
        await apply(self.bus, self.topology)
        if public_url is not None:
            self.links = Links(public_url, await make_key(self.secrets))
        self.prepared = True


@asynccontextmanager
async def open_broker(
    settings: Settings, *, name: str, patient: bool = False, prepare: bool = True, early: bool = False
) -> AsyncIterator[Broker]:
    """Connect to the broker of the settings, starting the embedded one where nobody has.

    `patient` makes procedures wait for a broker that is away, `prepare` applies the topology first. With
    `early` neither has to succeed: whoever asks for that prepares the broker when it is there.

    Raises:
        BrokerError: the broker can't be started, reached or prepared.
    """
    async with open_access(settings) as access:
        bus = await (access.connect_early(name) if early else access.connect(name))
        try:
            broker = Broker(access, bus, wanted(access.names, limits(settings)), patient=patient)
            if prepare:
                with suppress(*((BrokerUnavailableError,) if early else ())):
                    await broker.prepare(settings.gateway.public_url)
            broker.traces = open_traces(settings, name)
            try:
                yield broker
            finally:
                await asyncio.to_thread(broker.traces.close)
        finally:
            await bus.drain()


@asynccontextmanager
async def open_access(settings: Settings) -> AsyncIterator[Access]:
    """Make sure that there is a broker, and say how to get in.

    Raises:
        BrokerError: the embedded broker doesn't start.
        SettingsError: a secret or a certificate of the connection can't be resolved.
    """
    nats, names = settings.nats, Names(settings.nats.namespace)
    if not nats.embedded:
        password = nats.password.resolve(settings.inputs.environ) if nats.password else None
        yield Access(
            nats.servers,
            names,
            nats.user,
            password.reveal() if password else None,
            str(nats.credentials) if nats.credentials else None,
            _tls(nats.tls),
        )
        return
    embedded = await EmbeddedBroker.acquire(nats.data_dir, durability=nats.durability)
    try:
        yield Access(tuple(embedded.servers), names, embedded.user, embedded.password)
    finally:
        await embedded.release()


def open_traces(settings: Settings, process: str) -> Traces:
    """Return what records traces; one that records none where no collector is configured.

    Raises:
        SettingsError: the packages aren't installed, or a header can't be resolved.
    """
    telemetry = settings.telemetry
    if telemetry.traces_url is None:
        return Traces()
    try:
        from tidemill.kernel.services.otel import otlp_traces  # noqa: PLC0415 - an optional part of the installation
    except ImportError as error:
        raise SettingsError(
            "telemetry.traces_url is set, and OpenTelemetry isn't installed",
            hint="pip install 'tidemill[otel]'",
        ) from error
    environ = settings.inputs.environ
    headers = {name: secret.resolve(environ).reveal() for name, secret in telemetry.headers.items()}
    service = f"{telemetry.service}-{process}"
    return otlp_traces(str(telemetry.traces_url), headers, telemetry.ratio, service)


def limits(settings: Settings) -> TopologyLimits:
    """Return what the settings say about the sizes and ages of streams."""
    return TopologyLimits(
        replicas=settings.nats.replicas,
        events_max_age=settings.events.max_age,
        events_max_bytes=settings.events.max_bytes,
        duplicate_window=settings.events.duplicate_window,
        deliveries_max_age=settings.deliveries.max_age,
        deliveries_max_bytes=settings.deliveries.max_bytes,
        audit_max_age=settings.audit.max_age,
        audit_max_bytes=settings.audit.max_bytes,
        run_logs_max_age=settings.run_logs.max_age,
        run_logs_max_bytes=settings.run_logs.max_bytes,
        kept={
            name: (source.keep_refused.max_age, source.keep_refused.max_bytes)
            for name, source in settings.sources.items()
            if source.keep_refused is not None
        },
    )


def _tls(tls: TlsSettings) -> ssl.SSLContext | None:
    if not tls.enabled:
        return None
    try:
        context = ssl.create_default_context(cafile=str(tls.ca) if tls.ca else None)
        if tls.cert and tls.key:
            context.load_cert_chain(str(tls.cert), str(tls.key))
    except OSError as error:  # ssl.SSLError is one too
        files = ", ".join(str(path) for path in (tls.ca, tls.cert, tls.key) if path)
        raise SettingsError(
            f"nats.tls: {files} can't be used: {error}", hint="name readable files in PEM format"
        ) from error
    return context
