"""The log of requests on a real broker, as the control API shows it."""

from __future__ import annotations

import asyncio
import gzip
import hmac
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import BrokerProcess, House

    from tidemill.kernel.settings.model import Settings
    from tidemill.kernel.subjects import Names

pytestmark = pytest.mark.integration
PUSH = json.dumps({"ref": "refs/heads/main"}).encode()
BATCH = json.dumps([{"id": f"e{number}", "type": "tick"} for number in range(3)]).encode()
ITEMS = """\
secrets = ["k"]
[sources.items.recipe]
verify = { signature = { at = "header:X-Sig" } }
event = { split = ["body"], type = "{item:type}", id = "{item:id}" }
"""


async def listed(house: House, count: int, **wanted: str) -> list[dict[str, Any]]:
    """Return the log as soon as it has so many entries."""
    path = "deliveries?" + "&".join(f"{name}={value}" for name, value in wanted.items())
    async with asyncio.timeout(10):
        while len(found := (await house.ask(path)).json()["deliveries"]) < count:  # noqa: ASYNC110 - the API tells nobody
            await asyncio.sleep(0.02)
    assert len(found) == count
    rows: list[dict[str, Any]] = found
    return rows


async def test_every_request_is_in_the_log_the_newest_first(house: House) -> None:
    first = (await house.deliver(PUSH, guid="one")).json()
    await house.deliver(PUSH, guid="one")
    await house.deliver(b"{no json", guid="two")
    await house.deliver(PUSH, secret="another", guid="three")
    await house.deliver(PUSH, path="/webhooks/nobody")
    rows = await listed(house, 5)
    assert [(row["verdict"], row["status"], row.get("reason")) for row in rows] == [
        ("refused", 404, "unknown_source"),
        ("refused", 401, "signature_mismatch"),
        ("quarantined", 202, None),
        ("duplicate", 202, None),
        ("accepted", 202, None),
    ]
    accepted, duplicate, quarantined = rows[4], rows[3], rows[2]
    assert first["id"] == "one"
    assert [event["id"] for event in accepted["events"]] == ["one"]
    assert duplicate["events"][0]["seq"] == accepted["events"][0]["seq"]
    assert quarantined["events"][0]["reason"] == "not_json"
    assert all(0 < row["us"] < 10_000_000 for row in rows)
    assert all(row["client"] == "127.0.0.1" for row in rows)
    assert accepted["secret"] == 0
    assert accepted["size"] == len(PUSH)


async def test_filters_and_pages(house: House) -> None:
    for number in range(7):
        await house.deliver(PUSH, guid=str(number), secret="another" if number % 3 == 0 else "")
        await house.deliver(PUSH, guid=f"good-{number}")
    await listed(house, 14)
    assert len(await listed(house, 7, verdict="accepted")) == 7
    assert len(await listed(house, 7, reason="signature_mismatch", source="github", since="1h")) == 7
    assert (await house.ask("deliveries?since=2100-01-01T00:00:00Z")).json()["deliveries"] == []
    assert (await house.ask("deliveries?source=stripe")).json()["deliveries"] == []
    seen: list[str] = []
    path = "deliveries?limit=3"
    for _ in range(10):
        page = (await house.ask(path)).json()
        seen += [row["id"] for row in page["deliveries"]]
        if page["next"] is None:
            break
        path = f"deliveries?limit=3&before={page['next']}"
    assert len(seen) == len(set(seen)) == 14
    everything = (await house.ask("deliveries?limit=200")).json()
    assert [row["id"] for row in everything["deliveries"]] == seen
    assert everything["next"] is None


@pytest.mark.parametrize(
    "query", ["since=yesterday", "since=2026-01-01T00:00:00", "before=1", "verdict=fine"]
)
async def test_what_cannot_be_asked_for_is_said(house: House, query: str) -> None:
    answer = await house.ask(f"deliveries?{query}")
    assert answer.status_code == 422
    assert answer.json()["hint"]


async def test_one_is_shown_with_its_body_and_without_its_signature(house: House) -> None:
    await house.deliver(PUSH, guid="shown")
    await house.deliver(PUSH, secret="another")
    refused, accepted = await listed(house, 2)
    document = (await house.ask(f"deliveries/{accepted['id']}")).json()
    assert document["body"].encode() == PUSH
    assert document["headers"]["x-hub-signature-256"] == "***"
    assert document["headers"]["x-github-delivery"] == "shown"
    assert (await house.ask("deliveries/shown")).json() == document
    assert (await house.ask(f"deliveries/{accepted['id']}?raw=1")).content == PUSH
    document = (await house.ask(f"deliveries/{refused['id']}")).json()
    assert "body" not in document
    assert document["headers"]["x-hub-signature-256"] == "***"
    assert (await house.ask(f"deliveries/{refused['id']}?raw=1")).status_code == 404
    for nothing in ("d99999-0", "d1-99", "r0-0", "x", "d1", "%2F", "d99999999999999999-0"):
        assert (await house.ask(f"deliveries/{nothing}")).status_code == 404


async def test_a_batch_is_one_delivery_with_its_body_and_all_are_sent_again(
    broker: BrokerProcess, names: Names, settled: Callable[..., Settings], housed: Callable[..., Any]
) -> None:
    async with housed(settled(broker.url, names, **{"sources.items": ITEMS})) as house:
        headers = {"content-type": "application/json", "content-encoding": "gzip"}
        body = gzip.compress(BATCH)
        headers["x-sig"] = hmac.digest(b"k", body, "sha256").hex()
        answer = await house.client.post(
            f"http://{house.public}/webhooks/items", content=body, headers=headers
        )
        assert answer.status_code == 202
        (row,) = await listed(house, 1)
        assert [event["id"] for event in row["events"]] == ["e0", "e1", "e2"]
        assert (await house.ask(f"deliveries/{row['id']}?raw=1")).content == BATCH
        again = await house.ask(f"deliveries/{row['id']}/replay", {})
        assert again.status_code == 202
        assert [one["event"] for one in again.json()["replayed"]] == ["e0", "e1", "e2"]
        events = (await house.ask("events")).json()["events"]
        assert [event.get("replayof") for event in events] == ["e2", "e1", "e0", None, None, None]


async def test_what_was_released_is_still_found_and_what_brought_nothing_cannot_be_sent(house: House) -> None:
    await house.deliver(b"[", guid="odd")
    await house.deliver(PUSH, secret="another")
    refused, odd = await listed(house, 2)
    assert (await house.ask(f"deliveries/{odd['id']}")).json()["body"] == "["
    assert (await house.ask(f"deliveries/{odd['id']}/replay", {})).status_code == 409
    assert (await house.ask("quarantine/odd/release", {})).status_code == 202
    assert (await house.ask(f"deliveries/{odd['id']}")).json()["body"] == "["
    assert (await house.ask(f"deliveries/{refused['id']}/replay", {})).status_code == 409


async def test_events_of_internal_services_and_handshakes_are_requests_too(house: House) -> None:
    answer = await house.client.post(f"http://{house.public}/events", content=b"{}")
    assert answer.status_code in {401, 403}
    (row,) = await listed(house, 1, source="events")
    assert (row["verdict"], row["status"]) == ("refused", answer.status_code)


async def test_the_log_outlives_a_broker_that_was_killed(
    own_broker: BrokerProcess, names: Names, settled: Callable[..., Settings], housed: Callable[..., Any]
) -> None:
    async with housed(settled(own_broker.url, names)) as house:
        await house.deliver(PUSH, guid="before")
        own_broker.kill()
        assert (await house.deliver(PUSH, guid="during")).status == 503
        own_broker.start()
        async with asyncio.timeout(20):
            while (await house.deliver(PUSH, guid="after")).status != 202:  # noqa: ASYNC110 - the link comes back
                await asyncio.sleep(0.1)
        rows: list[dict[str, Any]] = []
        async with asyncio.timeout(10):
            while {"before", "after"} - {event["id"] for row in rows for event in row.get("events", [])}:
                rows = (await house.ask("deliveries?verdict=accepted")).json()["deliveries"]
                await asyncio.sleep(0.05)
        lost = (await house.ask("deliveries?verdict=unavailable")).json()["deliveries"]
        assert {row["status"] for row in lost} == {503}
