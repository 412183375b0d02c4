"""The present secrets of tenants: looked up once, bounded, forgotten when they change, kept in an outage."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from gateway.tenants import AWAY_SECONDS, KEEP_SECONDS, UNSURE_SECONDS, LockedError, TenantRings
from tidemill.kernel import clock
from tidemill.kernel.errors import BrokerUnavailableError, SettingsError
from tidemill.kernel.services.tenant_record import Entries, TenantSecret
from tidemill.kernel.services.vault import Vault
from tidemill.kernel.settings.secrets import Secret

AWAY = BrokerUnavailableError("away")


@dataclass
class Kept:
    """Stands for the tenants on the broker."""

    secrets: dict[str, list[str]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    error: Exception | None = None
    until: Any = None

    async def find(self, source: str, tenant: str, *, timeout: float) -> Entries:
        assert timeout < 2
        self.asked.append(tenant)
        if isinstance(self.error, BrokerUnavailableError):
            raise self.error
        found = self.secrets.get(f"{source}/{tenant}", [])
        return tuple(TenantSecret(text, "", self.until, {}) for text in found)

    def reveal(self, source: str, tenant: str, entry: TenantSecret) -> Secret:
        assert source
        assert tenant
        if self.error:
            raise self.error
        return Secret(entry.id)


@pytest.fixture
def kept() -> Kept:
    return Kept({"shop/acme": ["one", "two"]})


@pytest.fixture
def time() -> list[float]:
    return [1000.0]


@pytest.fixture
def rings(kept: Kept, time: list[float]) -> TenantRings:
    return TenantRings(kept, Vault(), most=3, monotonic=lambda: time[0])  # type: ignore[arg-type] # a fake


async def test_a_tenant_is_looked_up_once_in_a_while(
    rings: TenantRings, kept: Kept, time: list[float]
) -> None:
    for _ in range(3):
        assert await rings.ring("shop", "acme") == ((Secret("one"), Secret("two")), True)
    assert kept.asked == ["acme"]
    time[0] += KEEP_SECONDS
    await rings.ring("shop", "acme")
    assert kept.asked == ["acme"] * 2


async def test_a_write_is_taken_at_once_and_read_until_it_is_sure(
    rings: TenantRings, kept: Kept, time: list[float]
) -> None:
    await rings.ring("shop", "acme")
    rings.written("shop.acme")
    assert (await rings.ring("shop", "acme")).secrets[0] == Secret("one")  # the write isn't there yet
    kept.secrets["shop/acme"] = ["three"]
    time[0] += UNSURE_SECONDS / 2
    assert (await rings.ring("shop", "acme")).secrets == (Secret("three"),)
    time[0] += UNSURE_SECONDS
    await rings.ring("shop", "acme")
    asked = len(kept.asked)
    time[0] += KEEP_SECONDS / 2
    await rings.ring("shop", "acme")
    assert len(kept.asked) == asked


async def test_a_write_behind_the_lookup_isn_t_missed(
    rings: TenantRings, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    find: Callable[..., Any] = kept.find

    async def slow(source: str, tenant: str, *, timeout: float) -> Entries:
        found = await find(source, tenant, timeout=timeout)
        rings.written("shop.acme")
        kept.secrets["shop/acme"] = []
        return found  # type: ignore[no-any-return] # as the fake does

    monkeypatch.setattr(kept, "find", slow)
    assert (await rings.ring("shop", "acme")).known
    monkeypatch.setattr(kept, "find", find)
    rings.doubt()
    assert not (await rings.ring("shop", "acme")).known


async def test_what_is_kept_is_bounded_and_strangers_push_no_tenant_out(
    rings: TenantRings, kept: Kept
) -> None:
    await rings.ring("shop", "acme")
    for number in range(50):
        ring = await rings.ring("shop", f"nobody-{number}")
        assert not ring.known
        rings.written(f"shop.nobody-{number}")
    await rings.ring("shop", "acme")
    assert kept.asked.count("acme") == 1
    assert len(rings._unknown) == len(rings._told) == 3


async def test_whom_nobody_knows_has_a_secret_that_nobody_has(rings: TenantRings) -> None:
    ring = await rings.ring("shop", "nobody")
    assert ring == await rings.ring("shop", "nobody")
    assert ring.secrets != (await rings.ring("shop", "nobody-2")).secrets


async def test_a_secret_that_has_run_out_counts_no_longer(rings: TenantRings, kept: Kept) -> None:
    kept.until = clock.now() - timedelta(seconds=1)
    assert not (await rings.ring("shop", "acme")).known


async def test_while_the_broker_is_away_what_was_kept_counts(
    rings: TenantRings, kept: Kept, time: list[float]
) -> None:
    await rings.ring("shop", "acme")
    kept.error = AWAY
    time[0] += 10 * KEEP_SECONDS
    for _ in range(5):
        assert (await rings.ring("shop", "acme")).known
    assert len(kept.asked) == 2
    kept.error, kept.secrets["shop/acme"] = None, []
    time[0] += AWAY_SECONDS
    assert not (await rings.ring("shop", "acme")).known
    kept.error = AWAY
    with pytest.raises(BrokerUnavailableError):
        await rings.ring("shop", "other")


async def test_secrets_that_can_not_be_read_lock_their_tenant(
    rings: TenantRings, kept: Kept, caplog: pytest.LogCaptureFixture
) -> None:
    kept.error = SettingsError("the key is gone")
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            with pytest.raises(LockedError):
                await rings.ring("shop", "acme")
    assert caplog.text.count("the key is gone") == 1
    assert not (await rings.ring("shop", "other")).known
    kept.error = None
    assert (await rings.ring("shop", "acme")).known
