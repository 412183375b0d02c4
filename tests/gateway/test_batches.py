"""Deliveries of several events: split, judged one by one, with ids of their own."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import orjson
import pytest

from gateway.inbound import Inbound
from gateway.intake import Intake
from gateway.recipes.recipe import parse_recipe
from gateway.schemas import SchemaStore
from gateway.splitting import MAX_ITEMS
from gateway.verdict import Accepted, Batch, Quarantined, Refused, Verdict
from tidemill.kernel.settings.secrets import Secret

NOW = 1_793_000_000.5
KEY = b"batches"
STORE = SchemaStore(())
JSON = (b"content-type", b"application/json")
EVENT = {
    "type": "{item:event}",
    "id": "{item:id}",
    "time": {"at": "item:at", "unit": "s"},
    "subject": "{item:who}",
}


def intake(split: Any = "body", event: Any = None, **options: Any) -> Intake:
    recipe = {"verify": {"signature": {"at": "header:X-Sig"}}, "event": {**(event or EVENT), "split": split}}
    return Intake(
        "mail", parse_recipe(recipe, name="mail"), secrets=(Secret("batches"),), schemas=STORE, **options
    )


def receive(mail: Intake, document: Any, tenant: str | None = None) -> Verdict:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    signature = hmac.digest(KEY, body, "sha256").hex().encode()
    return mail.receive(Inbound("POST", "/", "", [JSON, (b"x-sig", signature)], body, NOW), tenant)


def batch(verdict: Verdict) -> Batch:
    assert isinstance(verdict, Batch), verdict
    return verdict


ITEMS = [
    {"event": "delivered", "id": "a1", "at": 1700000000, "who": "x@example.com"},
    {"event": "open", "id": "a2", "at": 1700000001, "who": "y@example.com"},
]


@pytest.mark.parametrize(
    ("split", "document"),
    [
        ("body", ITEMS),
        ("body:events", {"events": ITEMS}),
        (["body:value", "body:data.events"], {"data": {"events": ITEMS}}),
    ],
)
def test_each_item_is_an_event_of_its_own(split: Any, document: Any) -> None:
    found = batch(receive(intake(split), document, "acme"))
    events = [item.envelope for item in found.items]
    assert [(one.id, one.type, one.subject, one.source) for one in events] == [
        ("a1", "mail.delivered", "x@example.com", "mail/acme"),
        ("a2", "mail.open", "y@example.com", "mail/acme"),
    ]
    assert [one.time.timestamp() for one in events] == [1700000000, 1700000001]
    assert [one.data for one in events] == ITEMS
    assert [one.raw for one in events] == [orjson.dumps(item) for item in ITEMS]
    assert all(one.value is None for one in events)
    assert len({one.deliverykey for one in events}) == 2
    assert {one.extensions["batchid"] for one in events} == {found.id}
    assert {one.extensions["batchblob"] for one in events} == {
        f"{found.key}/{hashlib.sha256(found.raw).hexdigest()}"
    }


@pytest.mark.parametrize("document", [{"event": "open", "id": "a1"}, {"events": {"event": "open"}}])
def test_without_an_array_the_delivery_is_one_event_and_its_item(document: Any) -> None:
    verdict = receive(intake(["body", "body:events"]), document)
    assert isinstance(verdict, Accepted | Quarantined)
    if "event" in document:
        assert (verdict.envelope.id, verdict.envelope.type) == ("a1", "mail.open")


def test_items_without_an_id_get_ones_that_a_second_delivery_of_the_batch_has_too() -> None:
    event = {"type": "{item:event}"}
    same = [{"event": "beat"}, {"event": "beat"}]
    first, second = (batch(receive(intake(event=event, by_body=True), same)) for _ in range(2))
    ids = [item.envelope.id for item in first.items]
    assert len(set(ids)) == 2
    assert ids == [item.envelope.id for item in second.items]
    mail = intake(event=event)
    first, second = (batch(receive(mail, same)) for _ in range(2))
    assert {item.envelope.id for item in first.items}.isdisjoint(item.envelope.id for item in second.items)
    mail.derived.keep(first.raw, first.id)
    again = batch(receive(mail, same))
    assert [item.envelope.id for item in again.items] == [item.envelope.id for item in first.items]


def test_only_the_item_that_is_unsound_is_quarantined() -> None:
    found = batch(receive(intake(), [ITEMS[0], {"id": "a3"}, ITEMS[1], "text", None]))
    assert [type(item) for item in found.items] == [Accepted, Quarantined, Accepted, Quarantined, Quarantined]
    odd = found.items[1]
    assert isinstance(odd, Quarantined)
    assert (odd.reason.code, odd.envelope.id, odd.envelope.raw) == ("missing_type", "a3", b'{"id":"a3"}')


def test_with_the_policy_reject_one_unsound_item_refuses_all() -> None:
    verdict = receive(intake(policy="reject"), [ITEMS[0], {"id": "a3"}])
    assert isinstance(verdict, Refused)
    assert (verdict.status, verdict.check) == (422, "missing_type")


def test_an_empty_batch_is_no_event() -> None:
    assert batch(receive(intake("body:events"), {"events": []})).items == ()


def test_a_batch_of_too_many_items_is_quarantined_as_one() -> None:
    verdict = receive(intake(), [0] * (MAX_ITEMS + 1))
    assert isinstance(verdict, Quarantined)
    assert verdict.reason.code == "too_many_items"
    assert len(batch(receive(intake(), [0] * MAX_ITEMS)).items) == MAX_ITEMS


@pytest.mark.parametrize("body", [b"[", b"[NaN]", b"\xef\xbb\xbf[]", b""])
def test_a_batch_that_cannot_be_read_is_quarantined_as_one(body: bytes) -> None:
    assert isinstance(receive(intake(), body), Quarantined)
