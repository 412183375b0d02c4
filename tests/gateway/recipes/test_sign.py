"""What the engine signs, other people's verifiers accept; what they sign, the engine accepts."""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
import standardwebhooks
import stripe
import svix.webhooks

from gateway.inbound import Inbound
from gateway.recipes.presets import preset
from gateway.recipes.recipe import parse_recipe
from gateway.recipes.sign import sign
from gateway.recipes.verify import Verification, Verified
from gateway.verdict import Refused
from tidemill.kernel.errors import SettingsError
from tidemill.kernel.settings.secrets import Secret

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = int(time.time())


@pytest.fixture(autouse=True)
def _present(monkeypatch: pytest.MonkeyPatch) -> None:
    """The libraries look at the clock themselves: what was the present when this was read is long over."""
    monkeypatch.setattr(sys.modules[__name__], "NOW", int(time.time()))


WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + "AAAA" * 8
BODY = json.dumps({"type": "contact.created", "data": {"name": "Žofie"}}, ensure_ascii=False).encode()


def stripe_library(timestamp: int, secret: str = WHSEC) -> dict[str, str]:
    signed = f"{timestamp}.{BODY.decode()}"
    signature = stripe.WebhookSignature._compute_signature(signed, secret)
    return {"Stripe-Signature": f"t={timestamp},v1={signature},v0=ignored"}


def standard_library(timestamp: int, secret: str = WHSEC) -> dict[str, str]:
    moment = datetime.fromtimestamp(timestamp, UTC)
    signature = standardwebhooks.Webhook(secret).sign("msg_1", moment, BODY.decode())
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1a,abc {signature}",
    }


def svix_library(timestamp: int, secret: str = WHSEC) -> dict[str, str]:
    moment = datetime.fromtimestamp(timestamp, UTC)
    signature = svix.webhooks.Webhook(secret).sign("msg_1", moment, BODY.decode())
    return {"svix-id": "msg_1", "svix-timestamp": str(timestamp), "svix-signature": signature}


LIBRARIES = [
    ("stripe", stripe_library),
    ("standard-webhooks", standard_library),
    ("standard-webhooks", svix_library),
]


def judge(name: str, headers: dict[str, str], body: bytes = BODY) -> str:
    raw = [(key.lower().encode(), value.encode()) for key, value in headers.items()]
    outcome = Verification(preset(name)).verify(Inbound("POST", "/", "", raw, body, NOW), (Secret(WHSEC),))
    return "accepted" if isinstance(outcome, Verified) else outcome.check if outcome else "signature_missing"


@pytest.mark.parametrize(("name", "library"), LIBRARIES)
def test_what_the_provider_s_library_signs_is_accepted(
    name: str, library: Callable[..., dict[str, str]]
) -> None:
    assert judge(name, library(NOW)) == "accepted"


@pytest.mark.parametrize(("name", "library"), LIBRARIES)
def test_its_negatives_are_refused(name: str, library: Callable[..., dict[str, str]]) -> None:
    headers = library(NOW)
    assert judge(name, headers, BODY[:-1] + b"]") == "signature_mismatch"
    assert judge(name, headers, BODY[:-1]) == "signature_mismatch"
    assert judge(name, library(NOW, OTHER)) == "signature_mismatch"
    assert judge(name, library(NOW - 301)) == "timestamp_stale"
    assert judge(name, library(NOW + 301)) == "timestamp_future"
    for key in headers:
        without = {other: value for other, value in headers.items() if other != key}
        assert judge(name, without) in {"signature_missing", "timestamp_missing", "signed_part_missing"}
        truncated = headers | {key: headers[key].split(",v0")[0][:-2]}
        assert judge(name, truncated) in {"signature_mismatch", "timestamp_stale"}


def signed(name: str, *, timestamp: float | None = None, way: int = 0) -> dict[str, str]:
    return sign(
        preset(name),
        Secret(WHSEC),
        BODY,
        event_type="contact.created",
        event_id="msg_1",
        timestamp=NOW if timestamp is None else timestamp,
        way=way,
    )


def test_stripe_s_library_accepts_what_is_signed() -> None:
    header = signed("stripe")["Stripe-Signature"]
    assert stripe.WebhookSignature.verify_header(BODY.decode(), header, WHSEC, 300)
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.WebhookSignature.verify_header(BODY.decode() + " ", header, WHSEC, 300)


def test_the_standard_webhooks_library_accepts_what_is_signed() -> None:
    headers = signed("standard-webhooks")
    assert standardwebhooks.Webhook(WHSEC).verify(BODY.decode(), headers) == json.loads(BODY)
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(OTHER).verify(BODY.decode(), headers)


def test_svix_s_library_accepts_what_is_signed() -> None:
    headers = signed("standard-webhooks", way=1)
    assert {"svix-id", "svix-timestamp", "svix-signature"} <= headers.keys()
    svix.webhooks.Webhook(WHSEC).verify(BODY, headers)  # raises unless it accepts
    with pytest.raises(svix.webhooks.WebhookVerificationError):
        svix.webhooks.Webhook(OTHER).verify(BODY, headers)


def test_github_s_documented_example_is_signed_the_same() -> None:
    headers = sign(
        preset("github"),
        Secret("It's a Secret to Everybody"),
        b"Hello, World!",
        event_type="push",
        event_id="72d3162e-cc78-11e3-81ab-4c9367dc0958",
        timestamp=NOW,
    )
    assert headers["X-Hub-Signature-256"] == (
        "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    )
    assert headers["X-GitHub-Event"] == "push"
    assert headers["X-GitHub-Delivery"] == "72d3162e-cc78-11e3-81ab-4c9367dc0958"
    assert headers["User-Agent"].startswith("GitHub-Hookshot/")
    assert headers["Content-Type"] == "application/json"


def test_an_action_that_stands_in_the_body_is_not_a_part_of_the_type_header() -> None:
    for event_type in ("issues", "issues.opened"):
        headers = sign(
            preset("github"),
            Secret("s"),
            b'{"action":"opened"}',
            event_type=event_type,
            event_id="1",
            timestamp=0,
        )
        assert headers["X-GitHub-Event"] == "issues"


def test_a_recipe_of_one_s_own_signs_what_it_verifies() -> None:
    recipe = parse_recipe(
        {
            "verify": {
                "algorithm": "sha512",
                "signature": {"at": "header:X-Sig", "encoding": "base64url", "prefix": "v2:"},
                "timestamp": {"at": "header:X-Time", "unit": "rfc3339"},
                "signed": "{url}\n{timestamp}\n{header:X-Type}\n{body}",
            },
            "event": {"type": "{header:X-Type}"},
        },
        name="acme",
    )
    url = "https://hooks.example/webhooks/acme?v=2"
    headers = sign(recipe, Secret("s"), BODY, event_type="ping", event_id="1", timestamp=NOW, url=url)
    raw = [(key.lower().encode(), value.encode()) for key, value in headers.items()]
    request = Inbound("POST", "/webhooks/acme", "v=2", raw, BODY, NOW)
    verification = Verification(recipe, public_url="https://hooks.example")
    assert isinstance(verification.verify(request, (Secret("s"),)), Verified)
    moved = Verification(recipe, public_url="https://elsewhere.example").verify(request, (Secret("s"),))
    assert isinstance(moved, Refused)


def test_what_can_t_be_signed_says_why() -> None:
    with pytest.raises(SettingsError, match="isn't of the recipe's form"):
        sign(
            preset("standard-webhooks"), Secret("whsec_!"), BODY, event_type="a", event_id="1", timestamp=NOW
        )
    recipe = parse_recipe({"verify": {"signature": {"at": "query:sig"}}}, name="acme")
    with pytest.raises(SettingsError, match="by headers alone"):
        sign(recipe, Secret("s"), BODY, event_type="a", event_id="1", timestamp=NOW)


def test_a_recipe_without_verification_signs_nothing() -> None:
    recipe = parse_recipe({}, name="open")
    assert sign(recipe, Secret("s"), BODY, event_type="a", event_id="1", timestamp=0) == {
        "Content-Type": "application/json"
    }
