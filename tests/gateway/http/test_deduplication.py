"""What a source recognises a delivery by, and for how long, on a real broker."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from gateway.sources import build_intakes
from tidemill.kernel.errors import SettingsError
from tidemill.kernel.settings.live import LiveSettings
from tidemill.kernel.settings.model import Settings

if TYPE_CHECKING:
    from conftest import BrokerProcess, House

    from tidemill.kernel.subjects import Names

RECIPE = json.dumps({"verify": {"signature": {"at": "header:X-Sig"}}, "event": {"id": "{header:X-Id}"}})
LEAST = f"recipe = '{RECIPE}'\nsecrets = ['k']\n"
Open = Callable[[str], Any]


async def post(house: House, body: bytes, **headers: str) -> dict[str, Any]:
    signature = hmac.digest(b"k", body, "sha256").hex()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    url = f"http://{house.public}/webhooks/shop"
    sent = {"content-type": "application/json", "x-sig": signature, **named}
    answer: dict[str, Any] = (await house.client.post(url, content=body, headers=sent)).json()
    return answer


@pytest.fixture
def opened(
    broker: BrokerProcess, names: Names, settled: Callable[..., Settings], housed: Callable[..., Any]
) -> Open:
    return lambda keys: housed(settled(broker.url, names, **{"sources.shop": LEAST + keys}))


@pytest.mark.integration
async def test_by_the_provider_s_id_or_by_what_the_settings_say(opened: Open) -> None:
    async with opened("") as house:
        assert (await post(house, b"[1]", x_id="a", x_other="o"))["status"] == "accepted"
        assert (await post(house, b"[2]", x_id="a", x_other="p"))["status"] == "duplicate"
    async with opened('deduplicate = ["{header:X-Other}"]') as house:
        assert (await post(house, b"[3]", x_id="b", x_other="q")) == {
            "id": "q",
            "type": "shop.received",
            "status": "accepted",
        }
        assert (await post(house, b"[4]", x_id="c", x_other="q"))["status"] == "duplicate"


@pytest.mark.integration
async def test_equal_bodies_are_two_events_unless_the_source_says_body(opened: Open) -> None:
    async with opened("") as house:
        found = [await post(house, b'"beat"') for _ in range(2)]
        assert [one["status"] for one in found] == ["accepted", "accepted"]
    async with opened('deduplicate = "body"') as house:
        many = await asyncio.gather(*(post(house, b'"beat"', x_id="not looked at") for _ in range(10)))
        assert sorted(one["status"] for one in many) == ["accepted", *["duplicate"] * 9]
        assert len({one["id"] for one in many}) == 1
        assert (await post(house, b'"another"'))["status"] == "accepted"


@pytest.mark.integration
async def test_after_the_window_of_the_source_the_same_id_is_an_event_again(opened: Open) -> None:
    async with opened("duplicate_window = 1") as house:
        assert (await post(house, b"[1]", x_id="a"))["status"] == "accepted"
        assert (await post(house, b"[1]", x_id="a"))["status"] == "duplicate"
    async with opened("duplicate_window = 1") as house, asyncio.timeout(10):
        while (again := await post(house, b"[1]", x_id="a"))["status"] == "duplicate":  # noqa: ASYNC110 - the broker tells nobody
            await asyncio.sleep(0.1)
        assert again == {"id": "a", "type": "shop.received", "status": "accepted"}


@pytest.mark.integration
async def test_a_window_survives_a_restart_of_the_gateway(opened: Open) -> None:
    for status in ("accepted", "duplicate", "duplicate"):
        async with opened('deduplicate = "body"\nduplicate_window = "30s"') as house:
            assert (await post(house, b'"beat"'))["status"] == status


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ({"duplicate_window": "2d"}, "longer than events.duplicate_window"),
        ({"deduplicate": ["{header:X Id}"]}, "sources.shop.deduplicate"),
        ({"deduplicate": ["{body}"]}, "can't stand here"),
    ],
)
def test_what_cannot_be_is_said_at_the_start(keys: dict[str, Any], complaint: str) -> None:
    source = {"preset": "github", "secrets": ["k"], **keys}
    settings = Settings.load(None, {}, {"sources": {"shop": source}})
    with pytest.raises(SettingsError, match=complaint):
        build_intakes(settings, LiveSettings(settings))
