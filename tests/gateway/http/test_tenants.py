"""Tenants with secrets of their own on a real gateway: made, turned and taken away while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.patience import until
from tidemill.kernel.settings.keys import create_key, hash_key
from tidemill.kernel.settings.model import Settings

if TYPE_CHECKING:
    from conftest import BrokerProcess, House, Reply

    from tidemill.kernel.subjects import Names

pytestmark = pytest.mark.integration
SHOP = 'preset = "github"\nsecrets = ["of the source itself"]\ntenants = true\n'
CLOSED = 'preset = "github"\ntenants = "required"\n'
OF_SOURCE = "of the source itself"
BODY = b'{"zen": "Keep it logically awesome."}'


@pytest.fixture
def shops(broker: BrokerProcess, names: Names, settled: Callable[..., Settings]) -> Callable[..., Settings]:
    def write(**more: str) -> Settings:
        return settled(broker.url, names, **{"sources.shop": SHOP, "sources.closed": CLOSED, **more})

    return write


async def make(house: House, tenant: str, secret: str | None = None, verb: str = "", **order: Any) -> Any:
    order |= {"secret": secret} if secret is not None else {}
    answer = await house.ask(f"sources/shop/tenants/{tenant}/secrets{verb}", order)
    assert answer.headers.get("cache-control") == "no-store" or answer.status_code >= 400
    return answer


async def status(house: House, tenant: str, secret: str, source: str = "shop") -> int:
    reply: Reply = await house.deliver(BODY, f"/webhooks/{source}/{tenant}", secret=secret)
    return reply.status


async def heard(house: House, tenant: str, secret: str, wanted: int) -> None:
    """Wait until a gateway has heard of a change."""

    async def look() -> bool:
        return await status(house, tenant, secret) == wanted

    await until(look)


async def test_a_tenant_s_life(shops: Callable[..., Settings], housed: Callable[..., Any]) -> None:
    async with housed(shops()) as house, housed(shops()) as other:
        assert await status(other, "acme", "mine") == 401
        made = await make(house, "acme", "mine")
        assert (made.status_code, "mine" in made.text) == (201, False)
        await heard(house, "acme", "mine", 202)
        await heard(other, "acme", "mine", 202)
        turned = await make(house, "acme", verb="/rotate", overlap="1h")
        fresh = turned.json()["secret"]
        await heard(other, "acme", fresh, 202)
        assert await status(other, "acme", "mine") == 202
        listed = (await house.ask("sources/shop/tenants/acme/secrets")).json()["secrets"]
        assert [one["id"] for one in listed] == [turned.json()["id"], made.json()["id"]]
        assert listed[1]["until"] is not None
        assert fresh not in str(listed)
        gone = await house.client.delete(
            f"{house.control}/sources/shop/tenants/acme/secrets/{made.json()['id']}"
        )
        assert (gone.status_code, gone.json()["left"]) == (200, 1)
        await heard(other, "acme", "mine", 401)
        assert await status(other, "acme", fresh) == 202
        assert (await house.ask("sources/shop/tenants")).json()["tenants"][0]["tenant"] == "acme"
    async with housed(shops()) as house:
        assert await status(house, "acme", fresh) == 202
        gone = await house.client.delete(f"{house.control}/sources/shop/tenants/acme")
        assert gone.json() == {"tenant": "acme", "revoked": "all", "left": 0}
        await heard(house, "acme", fresh, 401)
        assert (await house.ask("sources/shop/tenants")).json() == {"tenants": []}


async def test_a_rotation_under_load_refuses_nobody(
    shops: Callable[..., Settings], housed: Callable[..., Any]
) -> None:
    async with housed(shops()) as house, housed(shops()) as other:
        await make(house, "acme", "number 0")
        await heard(other, "acme", "number 0", 202)
        present, statuses = ["number 0"], []

        async def post(gateway: House) -> None:
            while len(present) < 6:
                statuses.append(await status(gateway, "acme", present[-1]))

        async def turn() -> None:
            for number in range(1, 6):
                answer = await make(house, "acme", f"number {number}", "/rotate", overlap="60s")
                assert answer.status_code == 201
                before = len(statuses)
                present.append(f"number {number}")
                while len(statuses) < before + 20 and number < 5:  # noqa: ASYNC110 - what was answered has no event
                    await asyncio.sleep(0.01)

        await asyncio.gather(turn(), *(post(gateway) for gateway in (house, other) for _ in range(3)))
        assert set(statuses) == {202}
        assert len(statuses) >= 80


async def test_nobody_s_secret_counts_for_somebody_else(
    shops: Callable[..., Settings], housed: Callable[..., Any]
) -> None:
    async with housed(shops()) as house:
        for tenant in ("acme", "eve"):
            assert (await make(house, tenant, f"of {tenant}")).status_code == 201
            await heard(house, tenant, f"of {tenant}", 202)
        for secret in ("of eve", OF_SOURCE):
            assert await status(house, "acme", secret) == 401
        reply = await house.deliver(BODY, "/webhooks/shop", secret=OF_SOURCE)
        assert reply.status == 202
        for secret in ("of eve", "of acme"):
            assert (await house.deliver(BODY, "/webhooks/shop", secret=secret)).status == 401
        # The same id of two tenants' providers is two deliveries.
        one = [
            await house.deliver(BODY, f"/webhooks/shop/{tenant}", secret=f"of {tenant}", guid="the-same")
            for tenant in ("acme", "eve", "acme")
        ]
        assert [reply.json()["status"] for reply in one] == ["accepted", "accepted", "duplicate"]
        event = (await house.ask(f"events/{one[0].json()['id']}")).json()
        assert event["event"]["source"].startswith("shop/")
        assert event["event"]["tenant"] == event["event"]["source"].removeprefix("shop/")


async def test_strangers_learn_no_names(shops: Callable[..., Settings], housed: Callable[..., Any]) -> None:
    async with housed(shops()) as house:
        await make(house, "acme", "of acme")
        await heard(house, "acme", "of acme", 202)
        answers = []
        for tenant in ("acme", "nobody"):
            path = f"/webhooks/shop/{tenant}"
            answers.append(
                [
                    (reply.status, reply.headers, reply.body)
                    for reply in (
                        await house.deliver(BODY, path, secret="wrong"),
                        await house.deliver(BODY, path, secret=""),
                    )
                ]
            )
        for known, unknown in zip(*answers, strict=True):
            assert (known[0], known[2]) == (unknown[0], unknown[2])
            assert known[1].keys() == unknown[1].keys()
        assert 'check="tenant_unknown",source="shop"' in house.gateway.metrics.text().decode()
        closed = await house.deliver(BODY, "/webhooks/closed", secret="x")
        nowhere = await house.deliver(BODY, "/webhooks/nowhere", secret="x")
        assert (closed.status, closed.body) == (nowhere.status, nowhere.body)
        assert closed.status == 404
        assert await status(house, "acme", "x", "closed") == 401


@pytest.mark.parametrize(
    ("source", "tenant", "order", "code"),
    [
        ("nowhere", "acme", {}, 404),
        ("github", "acme", {}, 409),
        ("shop", "a%20b", {}, 422),
        ("shop", "acme", {"secret": ""}, 422),
        ("shop", "acme", {"secret": 7}, 422),
        ("shop", "acme", {"secrets": "x"}, 422),
        ("shop", "acme", {"until": "tomorrow"}, 422),
        ("shop", "acme", {"until": "2020-01-01T00:00:00Z"}, 422),
        ("shop", "acme", {"until": "2099-01-01T00:00:00"}, 422),
    ],
)
async def test_orders_that_can_not_be_carried_out(  # noqa: PLR0913, PLR0917 - a row of a table
    shops: Callable[..., Settings],
    housed: Callable[..., Any],
    source: str,
    tenant: str,
    order: dict[str, Any],
    code: int,
) -> None:
    async with housed(shops()) as house:
        answer = await house.ask(f"sources/{source}/tenants/{tenant}/secrets", order)
        assert answer.status_code == code
        assert answer.headers["content-type"] == "application/problem+json"
        for overlap in ("soon", -1, True, 1e400, {}):
            turned = await make(
                house, "acme", verb="/rotate", overlap=str(overlap) if overlap == 1e400 else overlap
            )
            assert turned.status_code == 422
        assert (await make(house, "acme", verb="/rotate")).status_code == 404
        assert (await house.client.delete(f"{house.control}/sources/shop/tenants/acme")).status_code == 404


async def test_a_key_that_is_lost_locks_its_tenants_alone(
    shops: Callable[..., Settings], housed: Callable[..., Any]
) -> None:
    old, new = "a" * 64, "b" * 64
    async with housed(shops(gateway=f'secret_key = "{old}"\n')) as house:
        await make(house, "acme", "of acme")
        await heard(house, "acme", "of acme", 202)
    async with housed(shops(gateway=f'secret_key = "{new}"\n')) as house:
        reply = await house.deliver(BODY, "/webhooks/shop/acme", secret="of acme")
        assert (reply.status, reply.json()["type"]) == (503, "urn:tidemill:problem:secret-locked")
        assert "retry-after" in reply.headers
        await make(house, "eve", "of eve")
        await heard(house, "eve", "of eve", 202)
        told = (await house.ask("secrets/rewrap", {})).json()
        assert [row["record"] for row in told["unreadable"]] == ["shop/acme"]
    async with housed(shops(gateway=f'secret_key = ["{new}", "{old}"]\n')) as house:
        assert await status(house, "acme", "of acme") == 202
        assert (await house.ask("secrets/rewrap", {})).json()["rewrapped"] == 1
    async with housed(shops(gateway=f'secret_key = "{new}"\n')) as house:
        assert await status(house, "acme", "of acme") == 202
        key = await house.broker.secrets.get("vault.generated")
        assert key is None


async def test_readers_change_nothing(shops: Callable[..., Settings], housed: Callable[..., Any]) -> None:
    key = create_key()
    keys = f'keys = [{{ name = "ci", hash = "{hash_key(key)}", role = "read" }}]\n'
    async with housed(shops(control=keys)) as house:
        bearer = {"authorization": f"Bearer {key}"}
        for path in ("sources/shop/tenants/acme/secrets", "secrets/rewrap"):
            assert (await house.ask(path, {}, **bearer)).status_code == 403
        assert (await house.ask("sources/shop/tenants", **bearer)).status_code == 200


@pytest.mark.parametrize(
    "source",
    [
        'preset = "github"\ntenants = true\nallow_unsigned = true\n',
        'preset = "github"\ntenants = "required"\nsecrets = ["x"]\n',
        'preset = "github"\ntenants = "maybe"\n',
    ],
)
def test_settings_that_contradict_themselves(shops: Callable[..., Settings], source: str) -> None:
    with pytest.raises(Exception, match="tenants"):
        shops(**{"sources.shop": source})
