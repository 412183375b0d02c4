"""Fixtures of the HTTP tests: a client that writes bytes, signed deliveries, a listener without a broker."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from gateway import body
from gateway.connection import Connection
from gateway.ingress import Ingress
from gateway.intake import Intake
from gateway.listener import Listener, bind
from gateway.metrics import Metrics
from gateway.public import build_public
from gateway.recipes.presets import preset
from gateway.schemas import SchemaStore
from gateway.server import Gateway, open_gateway
from tidemill.kernel.jetstream.bus import Stored
from tidemill.kernel.services.broker import Broker, open_broker
from tidemill.kernel.settings.model import Settings
from tidemill.kernel.settings.secrets import Secret
from tidemill.kernel.settings.values import Address
from tidemill.kernel.subjects import Names

if TYPE_CHECKING:
    from conftest import BrokerProcess
    from starlette.types import ASGIApp

    from gateway.outcome import Outcome
    from gateway.reason import Reason
    from gateway.verdict import Refused
    from tidemill.kernel.envelope import Envelope
    from tidemill.kernel.errors import BrokerError

SECRET = "It's a Secret to Everybody"
TIMEOUT = 10.0


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Wire:
    """One connection on which a test decides about every byte."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def connect(cls, address: Address) -> Wire:
        return cls(*await asyncio.open_connection(address.host, address.port))

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def reply(self, *, without_body: bool = False) -> Reply:
        """Read an answer; that to a HEAD announces a body that doesn't come."""
        async with asyncio.timeout(TIMEOUT):
            head = await self.reader.readuntil(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")
            headers = {
                name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines if x)
            }
            length = 0 if without_body else int(headers.get("content-length", 0))
            body = await self.reader.readexactly(length)
        return Reply(int(first.split()[1]), headers, body)

    async def at_end(self) -> bool:
        """Whether the other side closes without sending anything more."""
        async with asyncio.timeout(TIMEOUT):
            try:
                return await self.reader.read(1) == b""
            except ConnectionResetError:
                return True

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


Connect = Callable[[Address], Awaitable[Wire]]


def request(
    path: str, body: bytes = b"", headers: dict[str, str] | None = None, method: str = "POST"
) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "host: localhost"]
    given = {"content-length": str(len(body))} | (headers or {})
    lines += [f"{name}: {value}" for name, value in given.items()]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def delivery(
    body: bytes, *, event: str = "zen", guid: str | None = None, secret: str = SECRET
) -> dict[str, str]:
    """The headers of a GitHub delivery, signed as GitHub documents it."""
    return {
        "content-type": "application/json",
        "x-github-event": event,
        "x-github-delivery": guid or str(uuid.uuid4()),
        "x-hub-signature-256": "sha256=" + hmac.digest(secret.encode(), body, "sha256").hex(),
    }


@dataclass
class Store:
    """Stands for publisher, recorder and logbook: keeps what it is given, or fails as it is told."""

    error: BrokerError | None = None
    accepted: dict[str, Envelope] = field(default_factory=dict)
    quarantined: dict[str, tuple[Envelope, Reason]] = field(default_factory=dict)
    batches: dict[str, bytes] = field(default_factory=dict)
    entries: list[tuple[str | None, Outcome]] = field(default_factory=list)
    duplicates: list[Envelope] = field(default_factory=list)

    def fit(self, verdict: Any) -> Any:
        return verdict

    async def accept(self, envelope: Envelope) -> Stored:
        if self.error:
            raise self.error
        known = envelope.deliverykey in self.accepted
        self.accepted.setdefault(envelope.deliverykey, envelope)
        return Stored("EVENTS", 1, duplicate=known)

    async def quarantine(self, envelope: Envelope, reason: Reason) -> Stored:
        known = envelope.deliverykey in self.quarantined
        self.quarantined.setdefault(envelope.deliverykey, (envelope, reason))
        return Stored("QUARANTINE", 1, duplicate=known)

    async def keep_batch(self, key: str, raw: bytes) -> None:
        if self.error:
            raise self.error
        self.batches[key] = raw

    def write_down(self, source: str | None, _tenant: str | None, _scope: Any, *rest: Any) -> None:
        outcome, seconds, client = rest
        assert client
        assert seconds > 0
        self.entries.append((source, outcome))

    @property
    def refusals(self) -> list[tuple[str | None, Refused]]:
        return [(source, outcome.refused) for source, outcome in self.entries if outcome.refused]

    def duplicate(self, envelope: Envelope, client: str) -> None:
        assert client
        self.duplicates.append(envelope)


@dataclass
class Site:
    """A public listener with a GitHub source and no broker behind it."""

    address: Address
    store: Store
    metrics: Metrics
    endings: list[str]

    async def post(
        self, path: str, body: bytes = b"", headers: dict[str, str] | None = None, **kwargs: Any
    ) -> Reply:
        wire = await Wire.connect(self.address)
        try:
            await wire.send(request(path, body, headers, **kwargs))
            return await wire.reply()
        finally:
            await wire.close()

    async def deliver(self, body: bytes, **kwargs: Any) -> Reply:
        return await self.post("/webhooks/github", body, delivery(body, **kwargs))


@contextlib.asynccontextmanager
async def listen(app: ASGIApp, endings: list[str]) -> AsyncIterator[Listener]:
    listener = Listener("test", app, bind(Address("127.0.0.1", 0), "test"), endings.append)
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(listener.listen())
        try:
            async with asyncio.timeout(TIMEOUT):
                await listener.listening.wait()
            yield listener
        finally:
            # Not gracefully, which takes a third of a second: no test here is about stopping.
            for server in listener.servers:
                server.close()
            for connection in list(listener.server_state.connections):
                connection.transport.abort()
            await listener.lifespan.shutdown()
            serving.cancel()


async def never_wrong() -> dict[str, str]:
    return {}


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Connects to an address; what was connected is closed at the end."""
    wires: list[Wire] = []

    async def to(address: Address) -> Wire:
        wires.append(await Wire.connect(address))
        return wires[-1]

    yield to
    for wire in wires:
        await wire.close()


@pytest.fixture
def http_request() -> Callable[..., bytes]:
    return request


@pytest.fixture
def signed() -> Callable[..., dict[str, str]]:
    return delivery


@pytest.fixture
def listening() -> Callable[..., Any]:
    return listen


@pytest.fixture(scope="session")
def bundled() -> SchemaStore:
    """The product's own schemas; compiling them takes a moment."""
    return SchemaStore()


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
async def site(bundled: SchemaStore) -> AsyncIterator[Site]:
    store, metrics, endings = Store(), Metrics(), []
    intake = Intake("github", preset("github"), secrets=(Secret(SECRET),), schemas=bundled, max_body=100_000)
    ingress = Ingress({"github": intake}, store, store, metrics, logbook=store)  # type: ignore[arg-type] # fakes
    async with listen(build_public(ingress, never_wrong), endings) as listener:
        yield Site(listener.address, store, metrics, endings)


@dataclass
class House:
    """A whole gateway on a real broker, in a namespace of its own."""

    gateway: Gateway
    broker: Broker
    client: httpx.AsyncClient

    @property
    def public(self) -> Address:
        return self.gateway.public_address

    @property
    def control(self) -> str:
        return f"http://{self.gateway.control_address}/api/v1"

    async def deliver(self, content: bytes, path: str = "/webhooks/github", **kwargs: Any) -> Reply:
        wire = await Wire.connect(self.public)
        try:
            await wire.send(request(path, content, delivery(content, **kwargs)))
            return await wire.reply()
        finally:
            await wire.close()

    async def ask(self, path: str, document: Any = None, **headers: str) -> httpx.Response:
        method = "GET" if document is None else "POST"
        return await self.client.request(method, f"{self.control}/{path}", json=document, headers=headers)


@pytest.fixture
def settled(tmp_path: Path) -> Callable[..., Settings]:
    """Writes settings with a GitHub source; keyword arguments add lines to the sections that they name."""

    def write(url: str, names: Names, secret: str = SECRET, **sections: str) -> Settings:
        sections["gateway"] = 'listen = "127.0.0.1:0"\n' + sections.get("gateway", "")
        sections["control"] = 'listen = "127.0.0.1:0"\n' + sections.get("control", "")
        sections["nats"] = f'url = "{url}"\nnamespace = "{names.namespace}"\n'
        sections["sources.github"] = f'preset = "github"\nsecrets = ["{secret}"]\n'
        text = "\n".join(f"[{name}]\n{lines}" for name, lines in sections.items())
        (tmp_path / "tidemill.toml").write_text(text)
        return Settings.load(tmp_path / "tidemill.toml", {})

    return write


@contextlib.asynccontextmanager
async def open_house(settings: Settings, *, early: bool = False) -> AsyncIterator[House]:
    async with (
        open_broker(settings, name="gateway", early=early) as broker,
        open_gateway(settings, broker) as gateway,
        httpx.AsyncClient(timeout=TIMEOUT, trust_env=False, verify=False) as client,
    ):
        yield House(gateway, broker, client)


@pytest.fixture
def housed() -> Callable[..., Any]:
    return open_house


@pytest.fixture
async def house(
    broker: BrokerProcess, names: Names, settled: Callable[..., Settings]
) -> AsyncIterator[House]:
    async with open_house(settled(broker.url, names)) as opened:
        yield opened


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests must arrive within a twentieth of a second, and clients that were turned away must close."""
    monkeypatch.setattr(Connection, "seconds", 0.05)
    monkeypatch.setattr(body, "LINGER_SECONDS", 0.05)


@pytest.fixture
def brusque(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients that were turned away must close within a twentieth of a second."""
    monkeypatch.setattr(body, "LINGER_SECONDS", 0.05)
