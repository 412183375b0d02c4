"""Links to tokens, as a run's code sees them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.consumers.conftest import Mill
from tidemill import Context, task
from tidemill.kernel.links import read_link
from tidemill.kernel.services.broker import open_broker
from tidemill.kernel.services.link_key import find_key, make_key
from tidemill.kernel.settings.model import Settings

if TYPE_CHECKING:
    from tidemill.kernel.links import Link

pytestmark = pytest.mark.integration


@task
async def asks(ctx: Context) -> list[str]:
    token = ctx.token("address", str, timeout="2h")
    return [ctx.approval_url("ship", by="ann", valid="1h"), ctx.approval_url("go"), token.url, token.id]


async def test_links_lead_to_the_public_address_and_are_signed(mill: Mill) -> None:
    nats = {"url": mill.settings.nats.url, "namespace": mill.names.namespace}
    public = {"public_url": "https://mill.example.com/hooks"}
    settings = Settings.load(environ={}, overrides={"nats": nats, "gateway": public})
    async with open_broker(settings, name="worker", patient=True) as broker, mill.worker(asks, broker=broker):
        run = await mill.trigger("asks")
        ship, go, address, token = (await mill.ended(run)).result
    key = await make_key(mill.broker.secrets)
    assert key == await find_key(mill.broker.secrets)

    def said(url: str) -> Link:
        base, _, signed = url.rpartition("/")
        assert base == "https://mill.example.com/hooks/t"
        link = read_link(key, signed)
        assert link is not None
        return link

    assert [(said(url).run, said(url).name, said(url).by) for url in (ship, go, address)] == [
        (run, "ship", "ann"),
        (run, "go", ""),
        (run, "address", ""),
    ]
    hours = [round((said(url).until - time.time()) / 3600) for url in (ship, go, address)]
    assert hours == [1, 720, 2]
    assert token == f"{run}.address"


async def test_without_a_public_address_there_are_none(mill: Mill) -> None:
    async with mill.worker(asks):
        result: Any = (await mill.ended(await mill.trigger("asks"))).result
    assert result[:3] == ["", "", ""]
    assert await find_key(mill.broker.secrets) is None
