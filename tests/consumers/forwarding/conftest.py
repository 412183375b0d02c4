"""A receiver of webhooks on a real socket, which answers as it is told, and destinations that lead there."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from consumers.forwarding.destination import Destination
from tidemill.kernel.envelope import Envelope
from tidemill.kernel.services.destinations import Disabled
from tidemill.kernel.settings.model import Settings

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
Writer = asyncio.StreamWriter


@dataclass
class Received:
    """A request as it arrived."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """Takes requests one by one; `answers` are given first, then always the last one."""

    port: int = 0
    answers: list[bytes | Callable[[Writer], Awaitable[None]]] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)
    connections: int = 0
    open: int = 0
    most_open: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/in/here?a=b"

    async def wait_for(self, count: int) -> None:
        async with asyncio.timeout(20), self.arrived:
            await self.arrived.wait_for(lambda: len(self.received) >= count)

    async def serve(self, reader: asyncio.StreamReader, writer: Writer) -> None:
        self.connections += 1
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client has gone
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: Writer) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        method, target, _ = first.split(" ")
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        async with self.arrived:
            self.received.append(Received(method, target, headers, body))
            self.arrived.notify_all()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        try:
            if isinstance(answer, bytes):
                writer.write(answer)
                await writer.drain()
                return True
            await answer(writer)
            return False
        finally:
            self.open -= 1


def http(status: int, *headers: str, body: bytes = b"") -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", f"content-length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver(answers=[http(200)])
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    yield receiver
    server.close()


@pytest.fixture
def answer() -> Callable[..., bytes]:
    return http


class Bucket:
    """A bucket of the broker in memory."""

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}

    async def items(self) -> dict[str, bytes]:
        return dict(self.held)

    async def put(self, key: str, value: bytes) -> int:
        self.held[key] = value
        return 1

    async def delete(self, key: str) -> None:
        del self.held[key]


@pytest.fixture
def disabled() -> Disabled:
    return Disabled(Bucket())  # type: ignore[arg-type] # as much of one as is needed


@pytest.fixture
async def destine(receiver: Receiver, disabled: Disabled) -> AsyncIterator[Callable[..., Destination]]:
    """Makes a destination that leads to the receiver; keywords are its settings."""
    made: list[Destination] = []

    def make(environ: dict[str, str] | None = None, **given: Any) -> Destination:
        table = {"url": receiver.url, "on": ["test.>"], "allow_private": True, "timeout": 5, **given}
        settings = Settings.load(environ=environ or {}, overrides={"destinations": {"crm": table}})
        made.append(Destination("crm", settings.destinations["crm"], environ or {}, disabled))
        return made[-1]

    yield make
    for destination in made:
        await destination.close()


@pytest.fixture
def envelope() -> Callable[..., Envelope]:
    def make(raw: bytes = b'{"a": 1}', **given: Any) -> Envelope:
        facts = {"id": "e-1", "source": "test", "type": "test.done", "deliverykey": os.urandom(6).hex()}
        return Envelope(**facts | given, raw=raw)

    return make


@pytest.fixture
def secret() -> str:
    return SECRET


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for `localhost`, which vouches for itself, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "localhost.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    return file
