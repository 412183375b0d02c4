"""Secrets of tenants on the broker: added, rotated, revoked, encrypted anew; never shown."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.kernel import clock
from tidemill.kernel.errors import ConflictError, NotFoundError, PayloadError, SettingsError
from tidemill.kernel.jetstream.buckets import Bucket
from tidemill.kernel.jetstream.topology import apply, wanted
from tidemill.kernel.services.data_keys import DataKey
from tidemill.kernel.services.learned import LearnedSecrets
from tidemill.kernel.services.rewrap import Rewrapping
from tidemill.kernel.services.tenant_record import TenantSecret, decode, encode, owner_of, record_key
from tidemill.kernel.services.tenants import MOST, Tenants
from tidemill.kernel.services.vault import Vault
from tidemill.kernel.settings.secrets import Secret

if TYPE_CHECKING:
    from tidemill.kernel.jetstream.bus import Bus

FIRST, SECOND = DataKey.of(b"1" * 32), DataKey.of(b"2" * 32)
SOON = timedelta(hours=1)


@pytest.fixture
async def bucket(bus: Bus) -> Bucket:
    await apply(bus, wanted(bus.names))
    return Bucket(bus, "TENANTS")


@pytest.fixture
def tenants(bucket: Bucket) -> Tenants:
    return Tenants(bucket, Vault((FIRST,)))


async def opened(tenants: Tenants, tenant: str, source: str = "shop") -> list[str]:
    return [tenants.reveal(source, tenant, one).reveal() for one in await tenants.find(source, tenant)]


@pytest.mark.integration
async def test_secrets_come_and_go_and_are_never_shown(tenants: Tenants, bucket: Bucket) -> None:
    assert await tenants.find("shop", "acme") == ()
    made = await tenants.add("shop", "acme", Secret("the first secret"))
    await tenants.add("shop", "acme", Secret("the second secret"), clock.now() + SOON)
    shown = await tenants.show("shop", "acme")
    assert [one["state"] for one in shown] == ["active", "active"]
    assert (shown[1]["id"], shown[1]["until"], shown[1]["key"]) == (made["id"], None, FIRST.id)
    assert "secret" not in str(shown).replace("sec_", "")
    (stored,) = (await bucket.items()).values()
    assert b"the first" not in stored
    assert await opened(tenants, "acme") == ["the first secret", "the second secret"]
    assert await tenants.revoke("shop", "acme", made["id"]) == 1
    assert await opened(tenants, "acme") == ["the second secret"]
    with pytest.raises(NotFoundError):
        await tenants.revoke("shop", "acme", made["id"])
    assert await tenants.revoke("shop", "acme") == 0
    for gone in (tenants.show("shop", "acme"), tenants.revoke("shop", "acme")):
        with pytest.raises(NotFoundError):
            await gone
    assert (await tenants.add("shop", "acme", Secret("anew")))["state"] == "active"


@pytest.mark.integration
async def test_a_rotation_ends_the_others_and_prolongs_none(tenants: Tenants) -> None:
    await tenants.add("shop", "acme", Secret("endless"))
    await tenants.add("shop", "acme", Secret("ends first"), clock.now() + SOON)
    until = clock.now() + 2 * SOON
    with pytest.raises(NotFoundError):
        await tenants.rotate("shop", "nobody", Secret("new"), until)
    await tenants.rotate("shop", "acme", Secret("new"), until)
    entries = await tenants.find("shop", "acme")
    assert [tenants.reveal("shop", "acme", one).reveal() for one in entries] == [
        "endless",
        "ends first",
        "new",
    ]
    assert entries[0].until == until
    assert entries[1].until is not None
    assert entries[1].until < until
    assert entries[2].until is None


@pytest.mark.integration
async def test_tenants_are_listed_by_name_and_source(tenants: Tenants, bucket: Bucket) -> None:
    for name in ("beta", "a.b", "Acme"):
        await tenants.add("shop", name, Secret("s"))
    await tenants.add("shop-2", "other", Secret("s"))
    await bucket.put(record_key("shop", "worn"), b"{}")
    rows = await tenants.list("shop")
    assert [row["tenant"] for row in rows] == ["Acme", "a.b", "beta", "worn"]
    assert [row["active"] for row in rows] == [1, 1, 1, 0]
    assert "can't be read" in rows[3]["problem"]
    assert [row["tenant"] for row in await tenants.list("shop", after="Acme", limit=2)] == ["a.b", "beta"]
    assert await tenants.list("nobody") == []
    assert await tenants.revoke("shop", "worn") == 0


@pytest.mark.integration
async def test_many_who_change_one_tenant_lose_nothing(bucket: Bucket) -> None:
    gateways = [Tenants(bucket, Vault((FIRST,))) for _ in range(MOST)]
    await asyncio.gather(
        *(one.add("shop", "acme", Secret(f"s{index}")) for index, one in enumerate(gateways))
    )
    assert sorted(await opened(gateways[0], "acme")) == [f"s{index}" for index in range(MOST)]
    with pytest.raises(ConflictError, match="already"):
        await gateways[0].add("shop", "acme", Secret("one too many"))


@pytest.mark.integration
@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "x" * 65, "é"])
async def test_what_can_be_no_tenant_or_secret_is_said(tenants: Tenants, name: str) -> None:
    with pytest.raises(PayloadError, match="tenant"):
        await tenants.add("shop", name, Secret("s"))
    for secret, until in (("", None), ("x" * 20_000, None), ("s", clock.now() - SOON)):
        with pytest.raises(PayloadError, match="secret"):
            await tenants.add("shop", "acme", Secret(secret), until)


@pytest.mark.integration
async def test_a_secret_is_bound_to_its_tenant(tenants: Tenants, bucket: Bucket) -> None:
    await tenants.add("shop", "acme", Secret("of acme"))
    stored = await bucket.get(record_key("shop", "acme"))
    assert stored is not None
    await bucket.put(record_key("shop", "eve"), stored.value)
    (entry,) = await tenants.find("shop", "eve")
    with pytest.raises(PayloadError, match="another record"):
        tenants.reveal("shop", "eve", entry)


@pytest.mark.integration
async def test_all_are_encrypted_anew_and_what_is_lost_is_named(bus: Bus, bucket: Bucket) -> None:
    old, turned = Vault((FIRST,)), Vault((SECOND, FIRST))
    secrets = Bucket(bus, "SECRETS")
    await Tenants(bucket, old).add("shop", "acme", Secret("s"))
    await Tenants(bucket, Vault((DataKey.of(b"3" * 32),))).add("shop", "lost", Secret("s"))
    await secrets.put("asana", b'{"secret": "plain", "at": "", "client": ""}')
    tenants, learned = Tenants(bucket, turned), LearnedSecrets(secrets, turned)
    rewrapping = Rewrapping(tenants, bucket, learned, turned)
    told = await rewrapping.run()
    assert (told["key"], told["rewrapped"]) == (SECOND.id, 2)
    assert [row["record"] for row in told["unreadable"]] == ["shop/lost"]
    assert (await rewrapping.run())["rewrapped"] == 0
    only_new = Tenants(bucket, Vault((SECOND,)))
    assert await opened(only_new, "acme") == ["s"]
    with pytest.raises(SettingsError):
        await opened(only_new, "lost")
    # What can't be decrypted can be taken away.
    assert await only_new.revoke("shop", "lost", (await only_new.find("shop", "lost"))[0].id) == 0


@pytest.mark.parametrize(
    "stored",
    [
        *(b"", b"[]", b"{}", b'{"secrets": [1]}', b'{"secrets": [{"id": 1, "until": null, "box": {}}]}'),
        b'{"secrets": [{"id": "a", "created": "", "until": "soon", "box": {}}]}',
        b'{"secrets": [{"id": "a", "created": "", "until": null, "box": []}]}',
    ],
)
def test_what_is_no_record_is_said(stored: bytes) -> None:
    with pytest.raises(PayloadError, match="shop/acme"):
        decode("shop.acme", stored)


@given(st.text(min_size=1), st.text(min_size=1), st.none() | st.datetimes(timezones=st.timezones()))
def test_records_are_read_as_they_were_written(source: str, tenant: str, until: object) -> None:
    assert owner_of(record_key(source, tenant)) == (source, tenant)
    entry = TenantSecret("sec_1", "2026-01-01T00:00:00Z", until, {"key": "k"})  # type: ignore[arg-type] # drawn
    assert decode("a.b", encode([entry])) == (entry,)
