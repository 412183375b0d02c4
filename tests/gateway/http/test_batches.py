"""Batches over a socket: all events are stored or none is promised, and the receipt says what each became."""

from __future__ import annotations

import hmac
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from gateway.ingress import Ingress
from gateway.intake import Intake
from gateway.metrics import Metrics
from gateway.public import build_public
from gateway.recipes.recipe import parse_recipe
from gateway.schemas import SchemaStore
from tidemill.kernel.errors import BrokerUnavailableError
from tidemill.kernel.settings.secrets import Secret

if TYPE_CHECKING:
    from conftest import BrokerProcess, Connect, House, Reply, Store

    from tidemill.kernel.envelope import Envelope
    from tidemill.kernel.jetstream.bus import Stored
    from tidemill.kernel.settings.model import Settings
    from tidemill.kernel.subjects import Names

RECIPE: dict[str, Any] = {
    "verify": {"signature": {"at": "header:X-Sig"}},
    "event": {"split": "body", "type": "{item:event}", "id": "{item:id}"},
}
ITEMS = [{"event": "open", "id": f"e{number}"} for number in range(150)]


@dataclass
class Mail:
    """A listener that takes batches."""

    store: Store
    metrics: Metrics
    send: Callable[[Any], Any]


@pytest.fixture
async def mail(
    bundled: SchemaStore,
    store: Store,
    connect: Connect,
    http_request: Callable[..., bytes],
    listening: Callable[..., Any],
) -> AsyncIterator[Mail]:
    metrics = Metrics()
    intake = Intake("mail", parse_recipe(RECIPE, name="mail"), secrets=(Secret("s"),), schemas=bundled)
    ingress = Ingress({"mail": intake}, store, store, metrics)  # type: ignore[arg-type] # fakes

    async def never_wrong() -> dict[str, str]:
        return {}

    async with listening(build_public(ingress, never_wrong), []) as listener:

        async def send(document: Any) -> Reply:
            body = json.dumps(document).encode()
            headers = {"content-type": "application/json", "x-sig": hmac.digest(b"s", body, "sha256").hex()}
            wire = await connect(listener.address)
            await wire.send(http_request("/webhooks/mail", body, headers))
            return await wire.reply()

        yield Mail(store, metrics, send)


async def test_the_receipt_says_what_each_event_became(mail: Mail) -> None:
    reply = await mail.send([ITEMS[0], {"id": "odd"}])
    assert reply.status == 202
    assert reply.json() == {
        "events": [
            {"id": "e0", "type": "mail.open", "status": "accepted"},
            {"id": "odd", "type": "mail.received", "status": "quarantined"},
        ]
    }
    assert (reply.headers["tidemill-event-id"], reply.headers["tidemill-status"]) == ("e0", "mixed")
    assert len(mail.store.batches) == 1
    again = await mail.send([ITEMS[0], {"id": "odd"}])
    assert [one["status"] for one in again.json()["events"]] == ["duplicate", "duplicate"]
    assert again.headers["tidemill-status"] == "duplicate"
    assert (mail.metrics.requests["mail", "mixed"], mail.metrics.requests["mail", "duplicate"]) == (1, 1)


async def test_an_empty_batch_is_answered_and_counted(mail: Mail) -> None:
    reply = await mail.send([])
    assert (reply.status, reply.json(), reply.headers["tidemill-status"]) == (202, {"events": []}, "empty")
    assert "tidemill-event-id" not in reply.headers
    assert mail.metrics.requests["mail", "empty"] == 1


@pytest.mark.parametrize("stored_first", [0, 1, 64, 100, 149])
async def test_a_batch_that_is_stored_in_part_is_503_and_completed_by_its_redelivery(
    mail: Mail, monkeypatch: pytest.MonkeyPatch, stored_first: int
) -> None:
    accept = mail.store.accept

    async def failing(envelope: Envelope) -> Stored:
        if len(mail.store.accepted) >= stored_first:
            raise BrokerUnavailableError("gone")
        return await accept(envelope)

    monkeypatch.setattr(mail.store, "accept", failing)
    refused = await mail.send(ITEMS)
    assert (refused.status, refused.headers["retry-after"]) == (503, "2")
    monkeypatch.setattr(mail.store, "accept", accept)
    completed = (await mail.send(ITEMS)).json()["events"]
    assert [one["id"] for one in completed] == [item["id"] for item in ITEMS]
    assert sorted(one.id for one in mail.store.accepted.values()) == sorted(item["id"] for item in ITEMS)
    assert sum(one["status"] == "duplicate" for one in completed) == stored_first


@pytest.mark.integration
async def test_a_batch_on_a_real_broker(
    broker: BrokerProcess, names: Names, settled: Callable[..., Settings], housed: Callable[..., Any]
) -> None:
    source = f"recipe = '{json.dumps(RECIPE)}'\nsecrets = ['s']\n"
    settings = settled(broker.url, names, **{"sources.mail": source})
    body = json.dumps(ITEMS).encode()
    headers = {"content-type": "application/json", "x-sig": hmac.digest(b"s", body, "sha256").hex()}
    async with housed(settings) as opened:
        house: House = opened
        url = f"http://{house.public}/webhooks/mail"
        first = await house.client.post(url, content=body, headers=headers)
        assert {one["status"] for one in first.json()["events"]} == {"accepted"}
        again = await house.client.post(url, content=body, headers=headers)
        assert {one["status"] for one in again.json()["events"]} == {"duplicate"}
        shown = (await house.ask("events/e7")).json()
        assert (shown["data"], shown["event"]["type"]) == ({"event": "open", "id": "e7"}, "mail.open")
        blob = shown["event"]["extensions"]["batchblob"]
        assert await house.broker.blobs.get(blob) == body
