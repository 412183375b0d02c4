"""Limits over sockets, as the settings set them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import BrokerProcess, Connect, House

    from tidemill.kernel.settings.model import Settings
    from tidemill.kernel.subjects import Names

pytestmark = pytest.mark.integration
BODY = b'{"zen": "Responsive is better than fast."}'
PATH = "/webhooks/github"
Open = Callable[..., Any]


@pytest.fixture
def opened(
    broker: BrokerProcess, names: Names, settled: Callable[..., Settings], housed: Callable[..., Any]
) -> Open:
    def opening(gateway: str = "", limited: str = "") -> Any:
        source = f'preset = "github"\nsecrets = ["x"]\n{limited}'
        return housed(settled(broker.url, names, gateway=gateway, **{"sources.limited": source}))

    return opening


async def post(house: House, path: str = "limited", **headers: str) -> tuple[int, str]:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = await house.client.post(f"http://{house.public}/webhooks/{path}", content=BODY, headers=sent)
    kind = answer.json().get("type", "").removeprefix("urn:tidemill:problem:")
    if answer.status_code == 429:
        assert int(answer.headers["retry-after"]) >= 1
    return answer.status_code, kind


async def test_a_source_s_rate(opened: Open) -> None:
    async with opened(limited="rate = 0.01") as house:
        assert await post(house) == (401, "signature-missing")
        assert await post(house) == (429, "rate")
        assert await post(house, "github") == (401, "signature-missing")
        assert house.gateway.metrics.refused["limited", "rate"] == 1
        for record in (await house.ask("deliveries?source=limited")).json()["deliveries"]:
            assert record["reason"] in ("rate", "signature_missing")


async def test_a_client_s_rate_over_all_sources_behind_a_proxy(opened: Open) -> None:
    async with opened('client_rate = 0.01\ntrusted_proxies = ["127.0.0.1"]') as house:
        assert (await post(house, x_forwarded_for="198.51.100.1"))[0] == 401
        assert await post(house, "github", x_forwarded_for="198.51.100.1") == (429, "rate")
        assert (await post(house, "github", x_forwarded_for="198.51.100.1, 198.51.100.2"))[0] == 401


async def test_only_allowed_networks_reach_a_source(opened: Open) -> None:
    async with opened(limited='networks = ["192.0.2.0/24"]') as house:
        assert await post(house) == (403, "network")
        assert await post(house, x_forwarded_for="192.0.2.1") == (403, "network")
        assert (await post(house, "github"))[0] == 401
    async with opened('trusted_proxies = ["127.0.0.0/8"]', 'networks = ["192.0.2.0/24"]') as house:
        assert (await post(house, x_forwarded_for="192.0.2.1"))[0] == 401
        assert await post(house, x_forwarded_for="192.0.2.1, 203.0.113.1") == (403, "network")


async def test_so_many_requests_at_the_same_time(
    opened: Open, connect: Connect, http_request: Callable[..., bytes]
) -> None:
    async with opened(limited="concurrency = 1") as house:
        slow = await connect(house.public)
        await slow.send(http_request("/webhooks/limited", BODY)[:-1])
        async with asyncio.timeout(20):
            while (await post(house)) != (429, "concurrency"):
                pass  # until the slow one's head has arrived
        await slow.send(BODY[-1:])
        assert (await slow.reply()).status == 401
        assert (await post(house))[0] == 401


async def test_the_bounds_of_a_head_and_the_time_of_a_request(
    opened: Open, connect: Connect, http_request: Callable[..., bytes]
) -> None:
    async with opened('max_head = "4KiB"\nmax_headers = 20\nrequest_timeout = 1') as house:
        large, many, slow = [await connect(house.public) for _ in range(3)]
        await slow.send(http_request(PATH, headers={"content-length": "9"}) + b"x")
        await large.send(http_request(PATH, BODY, {"x-long": "x" * 5000}))
        assert (await large.reply()).status == 431
        await many.send(http_request(PATH, BODY, {f"x-{number}": "x" for number in range(30)}))
        assert (await many.reply()).status == 431
        assert (await slow.reply()).status == 408
