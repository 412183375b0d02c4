"""Presets whose deliveries aren't one JSON object: forms, multiparts, empty bodies and batches, as events."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any, Final
from urllib.parse import urlencode

import pytest

from gateway.inbound import Inbound
from gateway.intake import Intake
from gateway.recipes.new_secret import new_secret
from gateway.recipes.presets import preset
from gateway.recipes.sign import sign_request
from gateway.schemas import SchemaStore
from gateway.verdict import Accepted, Batch, Quarantined, Refused
from tidemill.kernel.settings.secrets import Secret

NOW: Final = 1_793_000_000
ORIGIN: Final = "https://hooks.example.com"
STORE: Final = SchemaStore()


def receive(name: str, body: bytes, headers: dict[str, str], secret: Secret, query: str = "") -> Any:
    intake = Intake(name, preset(name), secrets=(secret,), schemas=STORE, public_url=ORIGIN)
    raw = [(key.lower().encode(), value.encode()) for key, value in headers.items()]
    return intake.receive(Inbound("POST", f"/webhooks/{name}", query, raw, body, NOW))


def deliver(name: str, body: bytes, *, event_type: str = "a", way: int = 0, **headers: str) -> Any:
    """Sign a body as the provider does and let the source judge it."""
    recipe = preset(name)
    secret = new_secret(recipe.verify[way])
    given: dict[str, Any] = {"event_type": event_type, "event_id": "evt_1", "timestamp": NOW}
    sent = sign_request(recipe, secret, body, way=way, url=f"{ORIGIN}/webhooks/{name}", **given)
    changed = {**sent.headers, **{key.replace("_", "-"): value for key, value in headers.items()}}
    return receive(name, sent.body, changed, secret, sent.url.partition("?")[2])


def types(verdict: Any) -> list[str]:
    assert isinstance(verdict, Batch), verdict
    return [item.envelope.type for item in verdict.items]


def test_a_message_of_twilio_is_a_form() -> None:
    body = urlencode({"MessageSid": "SM1", "MessageStatus": "sent", "Body": "Grüße & more"}).encode()
    verdict = deliver("twilio", body, way=1)
    assert isinstance(verdict, Accepted), verdict
    assert (verdict.envelope.type, verdict.envelope.subject) == ("twilio.message.sent", "SM1")
    assert verdict.envelope.data["Body"] == "Grüße & more"


def test_slack_sends_json_forms_with_json_and_forms() -> None:
    event = {"type": "event_callback", "event_id": "Ev1", "event": {"type": "app_mention", "channel": "C1"}}
    form = {"Content_Type": "application/x-www-form-urlencoded"}
    button = urlencode({"payload": json.dumps({"type": "block_actions", "channel": {"id": "C2"}})}).encode()
    command = urlencode({"command": "/deploy", "text": "main", "channel_id": "C3"}).encode()
    verdicts = [
        deliver("slack", json.dumps(event).encode()),
        deliver("slack", button, **form),
        deliver("slack", command, **form),
    ]
    found = [(verdict.envelope.type, verdict.envelope.subject) for verdict in verdicts]
    assert found == [("slack.app_mention", "C1"), ("slack.block_actions", "C2"), ("slack./deploy", "C3")]


def test_events_of_mandrill_stand_in_a_form_s_field() -> None:
    events = [{"event": "send", "_id": "1", "ts": NOW}, {"event": "open", "_id": "1", "ts": NOW}]
    verdict = deliver("mandrill", urlencode({"mandrill_events": json.dumps(events)}).encode())
    assert types(verdict) == ["mandrill.send", "mandrill.open"]
    assert len({item.envelope.id for item in verdict.items}) == 2


def test_dropbox_sign_sends_a_multipart_whose_field_holds_what_is_signed() -> None:
    stamp, kind = "1793000000", "signature_request_signed"
    digest = hmac.new(b"key", f"{stamp}{kind}".encode(), hashlib.sha256).hexdigest()
    document = {"event": {"event_time": stamp, "event_type": kind, "event_hash": digest}}
    part = f'--b\r\nContent-Disposition: form-data; name="json"\r\n\r\n{json.dumps(document)}\r\n--b--\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    verdict = receive("dropbox-sign", part.encode(), headers, Secret("key"))
    assert isinstance(verdict, Accepted), verdict
    assert verdict.envelope.type == f"dropbox-sign.{kind}"
    assert isinstance(receive("dropbox-sign", part.encode(), headers, Secret("other")), Refused)


def test_a_push_of_google_calendar_has_no_body() -> None:
    headers = {"X_Goog_Channel_ID": "c1", "X_Goog_Message_Number": "7", "X_Goog_Resource_ID": "r1"}
    verdict = deliver("google-calendar", b"", event_type="exists", **headers)
    assert isinstance(verdict, Accepted), verdict
    envelope = verdict.envelope
    assert (envelope.type, envelope.id, envelope.subject) == ("google-calendar.exists", "c1.7", "r1")


def test_a_message_of_sns_counts_by_the_topics_that_are_verify_tokens() -> None:
    message = {"Type": "Notification", "MessageId": "m1", "TopicArn": "arn:1", "Message": "tide"}
    recipe, url = preset("sns"), f"{ORIGIN}/webhooks/sns"
    secret = new_secret(recipe.verify[0])
    body = json.dumps({**message, "Timestamp": "2026-10-26T07:33:20.000Z"}).encode()
    sent = sign_request(recipe, secret, body, event_type="a", event_id="1", timestamp=NOW, url=url)
    raw = [(key.lower().encode(), value.encode()) for key, value in sent.headers.items()]
    request = Inbound("POST", "/webhooks/sns", "", raw, sent.body, NOW)
    for arn, passes in (("arn:1", True), ("arn:2", False)):
        intake = Intake("sns", recipe, secrets=(secret,), verify_tokens=(Secret(arn),), schemas=STORE)
        verdict = intake.receive(request)
        assert isinstance(verdict, Accepted) is passes, verdict
        assert not isinstance(verdict, Accepted) or verdict.envelope.type == "sns.Notification"


def test_braintree_s_fields_are_the_data() -> None:
    verdict = deliver("braintree", urlencode({"bt_payload": "PG5vdGU+\n"}).encode())
    assert isinstance(verdict, Accepted), verdict
    assert verdict.envelope.data["bt_payload"] == "PG5vdGU+\n"


@pytest.mark.parametrize(
    ("name", "document", "expected"),
    [
        ("sendgrid", [{"event": "open", "sg_event_id": "1", "timestamp": NOW}], ["sendgrid.open"]),
        ("hubspot", [{"subscriptionType": "deal.creation", "eventId": 1}], ["hubspot.deal.creation"]),
        ("gocardless", {"events": [{"id": "1", "resource_type": "mandates", "action": "created"}]}, None),
        ("line", {"events": [{"type": "message", "webhookEventId": "1"}]}, ["line.message"]),
        ("xero", {"events": [{"eventCategory": "INVOICE", "eventType": "UPDATE"}]}, ["xero.INVOICE.UPDATE"]),
        ("okta", {"data": {"events": [{"eventType": "user.create", "uuid": "1"}]}}, ["okta.user.create"]),
        ("auth0", [{"log_id": "1", "data": {"type": "s"}}], ["auth0.s"]),
        ("microsoft-graph", {"value": [{"changeType": "created"}]}, ["microsoft-graph.created"]),
        ("azure-event-grid", [{"eventType": "A.B", "id": "1"}], ["azure-event-grid.A.B"]),
        (
            "meta",
            {"object": "page", "entry": [{"id": "1", "changes": [{"field": "feed"}]}]},
            ["meta.page.feed"],
        ),
        (
            "asana",
            {"events": [{"action": "added", "resource": {"resource_type": "task"}}]},
            ["asana.task.added"],
        ),
        (
            "adyen",
            {
                "notificationItems": [
                    {"NotificationRequestItem": {"eventCode": "CAPTURE", "pspReference": "1"}}
                ]
            },
            ["adyen.CAPTURE"],
        ),
    ],
)
def test_a_batch_becomes_events(name: str, document: Any, expected: list[str] | None) -> None:
    verdict = deliver(name, json.dumps(document).encode())
    assert types(verdict) == (expected or ["gocardless.mandates.created"])


def test_the_first_known_key_names_an_update_of_telegram() -> None:
    body = json.dumps({"update_id": 7, "message": {"date": NOW, "chat": {"id": 42}}}).encode()
    verdict = deliver("telegram", body)
    assert (verdict.envelope.type, verdict.envelope.id) == ("telegram.message", "7")


@pytest.mark.parametrize(
    ("name", "way", "body"),
    [
        ("gitlab", 1, {"object_kind": "push"}),
        ("telegram", 0, {"update_id": 1, "message": {}}),
        ("postmark", 0, {"RecordType": "Open"}),
        ("messagebird", 0, {}),
        ("monday", 0, {"event": {"type": "a"}}),
    ],
)
def test_a_secret_that_a_request_carries_is_not_kept(name: str, way: int, body: dict[str, Any]) -> None:
    verdict = deliver(name, json.dumps(body).encode(), way=way)
    assert isinstance(verdict, Accepted | Quarantined), verdict
    at = str(getattr(preset(name).verify[way], "at", "")).removeprefix("header:")
    assert at
    assert at.lower() not in verdict.envelope.headers
    assert "content-type" in verdict.envelope.headers
