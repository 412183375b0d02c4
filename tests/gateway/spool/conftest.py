"""Fixtures of the spool's tests: events, a spool in a folder, and who stands for the broker."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway.reason import Reason
from gateway.spool.log import SegmentLog
from gateway.spool.spool import Spool
from gateway.verdict import Accepted, Quarantined
from tidemill.kernel.envelope import Envelope
from tidemill.kernel.jetstream.bus import Stored
from tidemill.kernel.subjects import delivery_key

TIME = datetime(2026, 11, 22, tzinfo=UTC)
REASON = Reason("schema", "it misses its schema", "$.a")


def envelope_of(name: str, raw: bytes = b"{}") -> Envelope:
    key = delivery_key("shop", name)
    return Envelope(id=name, source="shop", type="shop.paid", time=TIME, deliverykey=key, raw=raw)


def event(name: str, raw: bytes = b"{}", *, sound: bool = True) -> Accepted | Quarantined:
    envelope = envelope_of(name, raw)
    return Accepted(envelope, 0) if sound else Quarantined(envelope, REASON)


@contextlib.asynccontextmanager
async def open_spool(folder: Path, limit: int = 1 << 20, **more: Any) -> AsyncIterator[Spool]:
    spool = Spool(SegmentLog(folder, limit), **more)
    running = asyncio.create_task(spool.run())
    try:
        yield spool
    finally:
        running.cancel()
        await asyncio.wait({running})
        spool.close()


@dataclass
class Pond:
    """Stands for publisher, recorder and windows: keeps what it is given, or fails as it is told."""

    error: Exception | None = None
    broken: str = ""
    stored: list[str] = field(default_factory=list)
    quarantined: list[tuple[str, str]] = field(default_factory=list)
    bodies: dict[str, bytes] = field(default_factory=dict)
    duplicates: list[str] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)
    keys: set[str] = field(default_factory=set)

    def fit(self, verdict: Any) -> Any:
        return verdict

    async def accept(self, envelope: Envelope) -> Stored:
        return await self._store(envelope, self.stored, envelope.id)

    async def quarantine(self, envelope: Envelope, reason: Reason) -> Stored:
        return await self._store(envelope, self.quarantined, (envelope.id, reason.code))

    async def _store(self, envelope: Envelope, where: list[Any], what: Any) -> Stored:
        if self.error and self.broken in ("", envelope.id):
            raise self.error
        await asyncio.sleep(0)
        known = envelope.deliverykey in self.keys
        self.keys.add(envelope.deliverykey)
        if not known:
            where.append(what)
        return Stored("EVENTS", 1, duplicate=known)

    async def keep_batch(self, key: str, raw: bytes) -> None:
        self.bodies[key] = raw

    def duplicate(self, envelope: Envelope, client: str) -> None:
        assert client
        self.duplicates.append(envelope.id)

    async def settle(self, key: str, window: float, word: str, at: float) -> str:
        assert window > 0
        assert at > 0
        return self.notes.setdefault(key, word)


@pytest.fixture
def spooled(tmp_path: Path) -> Callable[..., Any]:
    """Opens the spool of the test's folder, as often as it is asked."""
    return lambda **more: open_spool(tmp_path / "spool", **more)


@pytest.fixture
def make() -> Callable[..., Accepted | Quarantined]:
    return event


@pytest.fixture
def pond() -> Pond:
    return Pond()
