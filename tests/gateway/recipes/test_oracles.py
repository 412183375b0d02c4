"""Providers' own libraries accept what the engine signs, and the engine accepts what they sign.

A library that only verifies is an oracle for what is signed; its refusals of a changed body and of another
secret show that it looks.
"""

from __future__ import annotations

import base64
import json
import sys
import time
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs, urlsplit

import Adyen.util
import coinbase_commerce.webhook
import discord_interactions
import easypost.util
import gidgethub.sansio
import gocardless_pro.webhooks
import pytest
import razorpay
import stripe
import svix.webhooks
from box_sdk_gen.managers.webhooks import WebhooksManager
from cryptography.hazmat.primitives import serialization
from hook0.signature import verify_webhook_signature_with_current_time
from hubspot.utils.signature import Signature as HubspotSignature
from messagebird.request_validator import RequestValidator as MessageBirdValidator
from sendgrid.helpers.eventwebhook import EventWebhook
from slack_sdk.signature import SignatureVerifier as SlackVerifier
from square.utils.webhooks_helper import verify_signature as square_verifies
from standardwebhooks import Webhook
from twilio.request_validator import RequestValidator
from workos.webhooks._verification import verify_header as workos_verifies

from gateway.inbound import Inbound
from gateway.recipes.new_secret import new_secret
from gateway.recipes.presets import preset
from gateway.recipes.sign import SignedRequest, sign_request
from gateway.recipes.verify import Verification, Verified
from tidemill.kernel.settings.secrets import Secret

NOW = int(time.time())


@pytest.fixture(autouse=True)
def _present(monkeypatch: pytest.MonkeyPatch) -> None:
    """The libraries look at the clock themselves: what was the present when this was read is long over."""
    monkeypatch.setattr(sys.modules[__name__], "NOW", int(time.time()))


URL: Final = "https://hooks.example.com/webhooks/acme"
BODY: Final = json.dumps({"type": "order.paid", "data": {"city": "Brno"}, "event": {"id": "1"}}).encode()
FORM: Final = b"MessageSid=SM1&MessageStatus=sent&To=%2B420777&Body=a+b%26c"


def stripe_accepts(sent: SignedRequest, secret: str) -> bool:
    header = sent.headers["Stripe-Signature"]
    return bool(stripe.WebhookSignature.verify_header(sent.body.decode(), header, secret, 300))


def standard_accepts(sent: SignedRequest, secret: str) -> bool:
    Webhook(secret).verify(sent.body, sent.headers)
    return True


def svix_accepts(sent: SignedRequest, secret: str) -> bool:
    svix.webhooks.Webhook(secret).verify(sent.body, sent.headers)
    return True


def github_accepts(sent: SignedRequest, secret: str) -> bool:
    header = sent.headers["X-Hub-Signature-256"]
    gidgethub.sansio.validate_event(sent.body, signature=header, secret=secret)
    return True


def slack_accepts(sent: SignedRequest, secret: str) -> bool:
    return SlackVerifier(secret).is_valid_request(sent.body, sent.headers)


def razorpay_accepts(sent: SignedRequest, secret: str) -> bool:
    header = sent.headers["X-Razorpay-Signature"]
    razorpay.Utility().verify_webhook_signature(sent.body.decode(), header, secret)
    return True


def gocardless_accepts(sent: SignedRequest, secret: str) -> bool:
    gocardless_pro.webhooks._verify_signature(sent.body, secret, sent.headers["Webhook-Signature"])
    return True


def coinbase_accepts(sent: SignedRequest, secret: str) -> bool:
    header = sent.headers["X-CC-Webhook-Signature"]
    verifier = coinbase_commerce.webhook.WebhookSignature
    return bool(verifier.verify_sig_header(sent.body.decode(), header, secret))


def hubspot_accepts(version: str) -> Callable[[SignedRequest, str], bool]:
    def accepts(sent: SignedRequest, secret: str) -> bool:
        name = "X-HubSpot-Signature-v3" if version == "v3" else "X-HubSpot-Signature"
        stamp = sent.headers.get("X-HubSpot-Request-Timestamp")
        body = sent.body.decode()
        given = {"http_uri": sent.url, "signature_version": version, "timestamp": stamp}
        return bool(HubspotSignature.is_valid(sent.headers[name], secret, body, **given))

    return accepts


def square_accepts(sent: SignedRequest, secret: str) -> bool:
    return square_verifies(
        request_body=sent.body.decode(),
        signature_header=sent.headers["x-square-hmacsha256-signature"],
        signature_key=secret,
        notification_url=sent.url,
    )


def easypost_accepts(sent: SignedRequest, secret: str) -> bool:
    return bool(easypost.util.validate_webhook(sent.body, sent.headers, secret))


def box_accepts(sent: SignedRequest, secret: str) -> bool:
    headers = {name.lower(): value for name, value in sent.headers.items()}
    return WebhooksManager.validate_message(sent.body.decode(), headers, secret)


def workos_accepts(sent: SignedRequest, secret: str) -> bool:
    header = sent.headers["WorkOS-Signature"]
    workos_verifies(event_body=sent.body, event_signature=header, secret=secret, tolerance=180)
    return True


def adyen_accepts(sent: SignedRequest, secret: str) -> bool:
    return bool(Adyen.util.is_valid_hmac_payload(sent.headers["HmacSignature"], secret, sent.body))


def hook0_accepts(sent: SignedRequest, secret: str) -> bool:
    header, moment = sent.headers["X-Hook0-Signature"], datetime.fromtimestamp(NOW, UTC)
    return verify_webhook_signature_with_current_time(header, sent.body, sent.headers, secret, 300, moment)


def discord_accepts(sent: SignedRequest, secret: str) -> bool:
    signature, stamp = sent.headers["X-Signature-Ed25519"], sent.headers["X-Signature-Timestamp"]
    return discord_interactions.verify_key(sent.body, signature, stamp, raw_key(secret).hex())


def sendgrid_accepts(sent: SignedRequest, secret: str) -> bool:
    names = [f"X-Twilio-Email-Event-Webhook-{part}" for part in ("Signature", "Timestamp")]
    key = base64.b64encode(spki(secret)).decode()
    return bool(
        EventWebhook(key).verify_signature(sent.body.decode(), *(sent.headers[name] for name in names))
    )


def twilio_accepts(sent: SignedRequest, secret: str) -> bool:
    fields = parse_qs(sent.body.decode(), keep_blank_values=True)
    params = {name: values[0] for name, values in fields.items()}
    content = params if "bodySHA256" not in sent.url else sent.body.decode()
    return bool(RequestValidator(secret).validate(sent.url, content, sent.headers["X-Twilio-Signature"]))


def braintree_accepts(sent: SignedRequest, secret: str) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the library's own
        from braintree.util.crypto import Crypto  # noqa: PLC0415 - it warns when it is imported

    fields = parse_qs(sent.body.decode())
    signature = fields["bt_signature"][0].split("|")[1]
    return bool(Crypto.sha1_hmac_hash(secret, fields["bt_payload"][0]) == signature)


def messagebird_accepts(sent: SignedRequest, secret: str) -> bool:
    token = sent.headers["MessageBird-Signature-JWT"]
    return bool(MessageBirdValidator(secret).validate_signature(token, sent.url, sent.body))


def raw_key(pem: str) -> bytes:
    key: Any = serialization.load_pem_private_key(pem.encode(), password=None)
    raw: bytes = key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return raw


def spki(pem: str) -> bytes:
    key: Any = serialization.load_pem_private_key(pem.encode(), password=None)
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    der: bytes = key.public_key().public_bytes(serialization.Encoding.DER, form)
    return der


class Oracle(NamedTuple):
    """One library's verdict over requests of a preset."""

    preset: str
    accepts: Callable[[SignedRequest, str], bool]
    body: bytes = BODY
    way: int = 0
    changed: bytes = BODY.replace(b"Brno", b"Oslo")


ORACLES: Final = [
    Oracle("adyen-platform", adyen_accepts),
    Oracle("box", box_accepts),
    Oracle("braintree", braintree_accepts, b"bt_payload=PG5vdGU%2B%0A", changed=b"bt_payload=PG5vdGV%2B%0A"),
    Oracle("clerk", svix_accepts),
    Oracle("coinbase-commerce", coinbase_accepts),
    Oracle("discord", discord_accepts),
    Oracle("easypost", easypost_accepts),
    Oracle("github", github_accepts),
    Oracle("gocardless", gocardless_accepts),
    Oracle("hook0", hook0_accepts),
    Oracle("hubspot", hubspot_accepts("v3")),
    Oracle("hubspot-v1", hubspot_accepts("v1")),
    Oracle("hubspot-v2", hubspot_accepts("v2")),
    Oracle("messagebird", messagebird_accepts),
    Oracle("openai", standard_accepts),
    Oracle("razorpay", razorpay_accepts),
    Oracle("sendgrid", sendgrid_accepts, BODY + b"\r\n"),
    Oracle("slack", slack_accepts),
    Oracle("square", square_accepts),
    Oracle("standard-webhooks", standard_accepts),
    Oracle("stripe", stripe_accepts),
    Oracle("svix", svix_accepts),
    Oracle("twilio", twilio_accepts, way=0),
    Oracle("twilio", twilio_accepts, FORM, way=1, changed=FORM.replace(b"SM1", b"SM2")),
    Oracle("workos", workos_accepts),
]


def secret_of(oracle: Oracle) -> Secret:
    return new_secret(preset(oracle.preset).verify[oracle.way])


def signed(oracle: Oracle, secret: Secret) -> SignedRequest:
    given = {"event_type": "order.paid", "event_id": "evt_1", "timestamp": NOW, "url": URL}
    return sign_request(preset(oracle.preset), secret, oracle.body, way=oracle.way, **given)


def refuses(oracle: Oracle, sent: SignedRequest, secret: Secret) -> bool:
    """Say whether the library refuses: by its answer, or by whatever it raises for that."""
    try:
        return not oracle.accepts(sent, secret.reveal())
    except (AttributeError, KeyError, NameError, ImportError):
        raise
    except Exception:  # noqa: BLE001 - every library has errors of its own
        return True


@pytest.mark.parametrize("oracle", ORACLES, ids=lambda oracle: f"{oracle.preset}-{oracle.way}")
def test_the_provider_s_library_accepts_what_the_engine_signs(oracle: Oracle) -> None:
    secret = secret_of(oracle)
    sent = signed(oracle, secret)
    assert oracle.accepts(sent, secret.reveal())
    assert refuses(oracle, sent, secret_of(oracle))
    first = next(
        at for at, (old, new) in enumerate(zip(oracle.body, oracle.changed, strict=True)) if old != new
    )
    body = sent.body[:first] + oracle.changed[first : first + 1] + sent.body[first + 1 :]
    assert refuses(oracle, sent._replace(body=body), secret)


def test_at_least_twelve_providers_have_an_oracle_and_say_so() -> None:
    named = {oracle.preset for oracle in ORACLES}
    assert len(named) >= 12
    inherited = {"clerk", "openai"}  # whose library is that of the service that they send by
    for name in named - inherited:
        assert "oracle" in {one.level for one in preset(name).evidence}, name
    claimed = {name for name in named | {"svix"} if "oracle" in {one.level for one in preset(name).evidence}}
    assert claimed == named - inherited


def judge(name: str, headers: dict[str, str], secret: str, body: bytes = BODY, url: str = URL) -> bool:
    parts = urlsplit(url)
    raw = [(key.lower().encode(), value.encode()) for key, value in headers.items()]
    verification = Verification(preset(name), public_url=f"{parts.scheme}://{parts.netloc}")
    inbound = Inbound("POST", parts.path, parts.query, raw, body, NOW)
    return isinstance(verification.verify(inbound, (Secret(secret),)), Verified)


LIBRARY_SIGNED: Final[dict[str, Callable[[str], dict[str, str]]]] = {
    "slack": lambda secret: {
        "X-Slack-Request-Timestamp": str(NOW),
        "X-Slack-Signature": str(SlackVerifier(secret).generate_signature(timestamp=str(NOW), body=BODY)),
    },
    "hubspot": lambda secret: {
        "X-HubSpot-Request-Timestamp": str(NOW * 1000),
        "X-HubSpot-Signature-v3": HubspotSignature.get_signature(
            secret, BODY.decode(), "v3", URL, "POST", str(NOW * 1000)
        ),
    },
    "hubspot-v1": lambda secret: {
        "X-HubSpot-Signature": HubspotSignature.get_signature(secret, BODY.decode(), "v1"),
    },
    "hubspot-v2": lambda secret: {
        "X-HubSpot-Signature": HubspotSignature.get_signature(secret, BODY.decode(), "v2", URL, "POST"),
    },
    "coinbase-commerce": lambda secret: {
        "X-CC-Webhook-Signature": coinbase_commerce.webhook.WebhookSignature._compute_signature(
            BODY.decode(), secret
        ),
    },
    "adyen-platform": lambda secret: {
        "HmacSignature": Adyen.util.generate_payload_sig(BODY, secret).decode(),
    },
}


@pytest.mark.parametrize("name", LIBRARY_SIGNED)
def test_the_engine_accepts_what_the_provider_s_library_signs(name: str) -> None:
    secret = new_secret(preset(name).verify[0]).reveal()
    headers = LIBRARY_SIGNED[name](secret)
    assert judge(name, headers, secret)
    assert not judge(name, headers, secret, BODY + b" ")
    assert not judge(name, headers, new_secret(preset(name).verify[0]).reveal())


def test_the_engine_accepts_what_twilio_s_library_signs() -> None:
    params = {name: values[0] for name, values in parse_qs(FORM.decode()).items()}
    signature = RequestValidator("s3cret").compute_signature(URL, params)
    headers = {"X-Twilio-Signature": signature, "Content-Type": "application/x-www-form-urlencoded"}
    assert judge("twilio", headers, "s3cret", FORM)
    assert not judge("twilio", headers, "s3cret", FORM + b"&more=1")
    assert not judge("twilio", headers, "s3cret", FORM, URL + "?a=1")
