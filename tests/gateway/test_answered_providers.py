"""Requests whose senders wait for an answer are events with a type that a task can name."""

from __future__ import annotations

import base64
import hmac
import time
from urllib.parse import urlencode

import pytest
from twilio.request_validator import RequestValidator

from gateway.intake import Inbound, Intake
from gateway.recipes.presets import preset
from gateway.schemas import SchemaStore
from gateway.verdict import Accepted
from tidemill.kernel.settings.secrets import Secret
from tidemill.testing import sample

SECRET = "a secret"
PUBLIC = "https://hooks.example.com"
FORM = {"content-type": "application/x-www-form-urlencoded"}


def digest(algorithm: str, content: bytes) -> bytes:
    return hmac.digest(SECRET.encode(), content, algorithm)


def of_slack() -> tuple[bytes, dict[str, str]]:
    body, stamp = urlencode({"command": "/deploy", "text": "main"}).encode(), str(int(time.time()))
    signature = digest("sha256", b"v0:" + stamp.encode() + b":" + body).hex()
    return body, FORM | {"x-slack-request-timestamp": stamp, "x-slack-signature": f"v0={signature}"}


def of_twilio() -> tuple[bytes, dict[str, str]]:
    fields = sample("twilio", "message.received")
    signature = RequestValidator(SECRET).compute_signature(f"{PUBLIC}/webhooks/twilio", fields)
    return urlencode(fields).encode(), FORM | {"x-twilio-signature": signature}


def of_shopify() -> tuple[bytes, dict[str, str]]:
    body = b'{"rate": {"origin": {"country": "CA"}, "items": []}}'
    signature = base64.b64encode(digest("sha256", body)).decode()
    return body, {"content-type": "application/json", "x-shopify-hmac-sha256": signature}


@pytest.mark.parametrize(
    ("source", "request_of", "event_type"),
    [
        ("slack", of_slack, "slack./deploy"),
        ("twilio", of_twilio, "twilio.message.received"),
        ("shopify", of_shopify, "shopify.rate"),
    ],
)
def test_they_have_a_type(source: str, request_of: object, event_type: str) -> None:
    assert callable(request_of)
    body, headers = request_of()
    intake = Intake(
        source, preset(source), secrets=(Secret(SECRET),), schemas=SchemaStore(), public_url=PUBLIC
    )
    named = [(name.encode(), value.encode()) for name, value in headers.items()]
    verdict = intake.receive(Inbound("POST", f"/webhooks/{source}", "", named, body, time.time()))
    assert isinstance(verdict, Accepted)
    assert verdict.envelope.type == event_type
