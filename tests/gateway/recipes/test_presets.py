"""Every preset signs what it verifies, and refuses it once a byte of it is another."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from functools import cache
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from gateway.inbound import Inbound
from gateway.intake import Intake
from gateway.kept_headers import kept_headers
from gateway.keys.wanted import Wanted
from gateway.recipes import selector, template
from gateway.recipes.new_secret import new_secret
from gateway.recipes.presets import preset, preset_names
from gateway.recipes.proofs import EcdsaP256, Ed25519, Jwt, Proof, Rsa, SharedSecret, SignedProof, Vendor
from gateway.recipes.resign import resign
from gateway.recipes.sign import SignedRequest, sign_request
from gateway.recipes.vendors.sns import signed_fields
from gateway.recipes.verify import Verification, Verified, secret_headers
from gateway.schemas import SchemaStore
from gateway.tenants import Ring
from gateway.verdict import Refused
from tidemill.kernel.services.vault import Vault
from tidemill.kernel.settings.secrets import Secret

NOW: Final = 1_793_000_000
ORIGIN: Final = "https://hooks.example.com"
DOCUMENT: Final = {"type": "contact.created", "data": {"name": "Žofie"}, "value": [{"id": "1"}, {"id": "2"}]}
FORM: Final = b"MessageSid=SM1&MessageStatus=sent&To=%2B420&Body=a+b"
ITEM: Final = {
    "pspReference": "8836183819713023",
    "amount": {"value": 1130, "currency": "EUR"},
    "success": "true",
}
NOTIFICATION: Final = {"live": "false", "notificationItems": [{"NotificationRequestItem": ITEM}]}
TOPIC: Final = Secret("arn:aws:sns:eu-west-1:123456789012:orders")
MESSAGE: Final = {
    "Type": "Notification",
    "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
    "TopicArn": TOPIC.reveal(),
    "Message": "tide",
    "Timestamp": "2026-10-26T07:33:20.000Z",
    "SigningCertURL": "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0a1b2c3d4e5f.pem",
}
TEXT: Final = {"type": "contact.created", "data": {"name": "Žofie"}}
BODIES: Final = {
    "adyen": NOTIFICATION,
    "ebay": TEXT,
    "exact-online": TEXT,
    "neon": TEXT,
    "paypal": TEXT,
    "sns": MESSAGE,
}
HEADERS: Final = {
    "ebay": (),  # what isn't the signature there names the key
    "exact-online": (),
    "neon": ("X-Neon-Signature", "X-Neon-Signature-Kid", "X-Neon-Timestamp"),
    "paypal": (
        "PAYPAL-TRANSMISSION-ID",
        "PAYPAL-TRANSMISSION-TIME",
        "PAYPAL-TRANSMISSION-SIG",
        "PAYPAL-AUTH-ALGO",
    ),
}
TIMES: Final = {"neon": (300.0, 300.0), "paypal": (4 * 86400.0, 300.0)}
WAYS: Final = [(name, way) for name in preset_names() for way in range(len(preset(name).verify))]
SECRETS: Final = {key: (new_secret(preset(key[0]).verify[key[1]]), Secret("other")) for key in WAYS}
PUBLIC: Final = (Ed25519, EcdsaP256, Rsa)


def body_for(proof: Proof) -> bytes:
    """Return a body in which the proof finds what it needs."""
    if isinstance(proof, Vendor):
        return json.dumps(BODIES[proof.name]).encode()
    text = proof.model_dump_json()
    if "form:" in text:
        return b"bt_payload=PG5vdGU-"
    return FORM if "sorted_form" in text else json.dumps(DOCUMENT).encode()


def signed(name: str, way: int, secret: Secret | None = None) -> SignedRequest:
    recipe = preset(name)
    return sign_request(
        recipe,
        secret or SECRETS[name, way][0],
        body_for(recipe.verify[way]),
        event_type="contact.created",
        event_id="evt_1",
        timestamp=NOW,
        url=f"{ORIGIN}/webhooks/{name}",
        way=way,
        tokens=lambda: (TOPIC,),
    )


@cache
def verification(name: str) -> Verification:
    return Verification(preset(name), public_url=ORIGIN, tokens=lambda: (TOPIC,))


def judge(name: str, sent: SignedRequest, *secrets: Secret, method: str = "POST", at: float = NOW) -> Any:
    parts = urlsplit(sent.url)
    raw = [(key.lower().encode(), value.encode("latin-1")) for key, value in sent.headers.items()]
    request = Inbound(method, parts.path, parts.query, raw, sent.body, at)
    return verification(name).verify(request, secrets)


def accepted(outcome: object) -> bool:
    assert outcome is None or isinstance(outcome, Verified | Refused | Wanted)
    return isinstance(outcome, Verified)


def flipped(text: bytes) -> Iterator[bytes]:
    """Yield a text with one byte changed, for every byte."""
    for place in range(len(text)):
        yield text[:place] + bytes([text[place] ^ 1]) + text[place + 1 :]


def covered(proof: Proof) -> list[selector.Selector]:
    """Return where the values of a request stand that a proof covers, beside body and URL."""
    if isinstance(proof, SharedSecret):
        return [] if proof.each else [selector.parse(proof.at)]
    if isinstance(proof, Jwt):
        return [selector.parse(proof.at)]
    if isinstance(proof, Vendor) and proof.name == "sns":
        signed = set(MESSAGE) - {"SigningCertURL"}
        return [selector.parse(f"body:{name}") for name in (*signed, "SignatureVersion", "Signature")]
    if isinstance(proof, Vendor) and proof.name in HEADERS:
        return [selector.parse(f"header:{name}") for name in HEADERS[proof.name]]
    if isinstance(proof, Vendor):
        names = ("pspReference", "amount.currency", "success", "additionalData.hmacSignature")
        return [selector.parse(f"body:notificationItems.0.NotificationRequestItem.{name}") for name in names]
    places = [one.at for one in proof.signature] + list(proof.require)
    places += [at for at in (proof.id, proof.timestamp and proof.timestamp.at) if at]
    places += [proof.signed_headers.at] if proof.signed_headers else []
    holes = [str(hole) for hole in template.selectors(template.parse(proof.signed)) if hole.name]
    return [selector.parse(at) for at in {*places, *holes}]


def changes(proof: Proof, sent: SignedRequest) -> Iterator[SignedRequest]:
    """Yield the request with one byte changed, for every byte that the proof covers."""
    names = [found.name.lower().rstrip("*") for found in covered(proof) if found.place == "header"]
    for key, value in sent.headers.items():
        if any(
            key.lower() == name or (name.endswith("-") and key.lower().startswith(name)) for name in names
        ):
            for text in flipped(value.encode()):
                yield sent._replace(headers={**sent.headers, key: text.decode("latin-1")})
    whole = isinstance(proof, SignedProof) and not proof.body_unsigned
    if (isinstance(proof, Jwt) and proof.body_claim) or getattr(proof, "name", "") in HEADERS:
        yield from (sent._replace(body=body) for body in (*flipped(sent.body), b""))
    if isinstance(proof, SignedProof) and whole:
        named = any(one.key == "*" for one in proof.signature)  # a key's name stands beside its signature
        bodies = (body for body in flipped(sent.body) if not named or b"key%7C" in body)
        yield from (sent._replace(body=body) for body in (*bodies, sent.body + b"x"))
    for found in covered(proof):
        if found.place == "body" and not whole:
            yield from (sent._replace(body=body) for body in changed_values(sent.body, found))
        if found.place == "query":
            yield from (sent._replace(url=f"{sent.url}{tail}") for tail in ("1", "%20"))


def changed_values(body: bytes, found: selector.Selector) -> Iterator[bytes]:
    """Yield a body with one byte of the text at a selector changed."""
    path = selector.path_of(found.name)
    text = selector.text_of(selector.find(json.loads(body), path))
    assert text is not None
    for other in flipped(text.encode()):
        document = json.loads(body)
        holder = selector.find(document, path[:-1])
        holder[path[-1]] = other.decode("latin-1")
        yield json.dumps(document).encode()


def test_there_are_at_least_ninety() -> None:
    assert len(preset_names()) >= 90


@pytest.mark.parametrize(("name", "way"), WAYS)
def test_what_the_engine_signs_it_verifies(name: str, way: int) -> None:
    sent = signed(name, way)
    outcome = judge(name, sent, *SECRETS[name, way])
    assert isinstance(outcome, Verified), outcome
    assert outcome.secret == 0
    assert judge(name, sent, Secret("other"), SECRETS[name, way][0]).secret == 1


@pytest.mark.parametrize(("name", "way"), WAYS)
def test_what_was_verified_is_signed_again_for_another_gateway(name: str, way: int) -> None:
    recipe, sent, other = preset(name), signed(name, way), new_secret(preset(name).verify[way])
    raw = [(key.lower().encode(), value.encode("latin-1")) for key, value in sent.headers.items()]
    kept = kept_headers(Inbound("POST", "/", "", raw, sent.body, NOW), secret_headers(recipe))
    later = NOW + 30 * 86400
    again = resign(
        recipe,
        other,
        kept | {"host": "mill.example", "x-forwarded-for": "192.0.2.1"},
        sent.body,
        event_type="contact.created",
        event_id="evt_1",
        timestamp=later,
        url=f"{ORIGIN}/webhooks/{name}",
        tokens=lambda: (TOPIC,),
    )
    outcome = judge(name, again, other, at=later)
    assert isinstance(outcome, Verified), outcome
    assert outcome.id in (None, "evt_1")
    assert not accepted(judge(name, again, SECRETS[name, way][0], at=later))
    assert all(key == key.lower() and not key.startswith(("x-forwarded", "host")) for key in again.headers)


@pytest.mark.parametrize(("name", "way"), WAYS)
def test_another_secret_or_none_is_refused(name: str, way: int) -> None:
    sent, proof = signed(name, way), preset(name).verify[way]
    outcome = judge(name, sent, new_secret(proof))
    assert isinstance(outcome, Refused)
    assert outcome.check == "signature_mismatch"
    for secrets in ((), (Secret(""),)):
        outcome = judge(name, sent, *secrets)
        if not secrets and fetches(proof):
            assert isinstance(outcome, Wanted)
            continue
        assert isinstance(outcome, Refused)
        assert outcome.check == "secret_missing"


def fetches(proof: Proof) -> bool:
    """Say whether a proof's keys are fetched without credentials and from an address that is known."""
    if isinstance(proof, Vendor):
        return proof.name in ("paypal", "sns")
    keys = getattr(proof, "keys", None)
    return keys is not None and (keys.url or keys.issuer) is not None


@pytest.mark.parametrize(("name", "way"), WAYS)
def test_one_changed_byte_anywhere_is_refused(name: str, way: int) -> None:
    sent, proof, secret = signed(name, way), preset(name).verify[way], SECRETS[name, way][0]
    found = list(changes(proof, sent))
    assert len(found) > 5 or isinstance(proof, SharedSecret)
    assert [change for change in found if accepted(judge(name, change, secret))] == []


@pytest.mark.parametrize(
    ("name", "way"),
    [
        one
        for one in WAYS
        if any(word in str(preset(one[0]).verify[one[1]]) for word in ("{url}", "url_hash"))
    ],
)
def test_another_address_is_refused_where_it_is_signed(name: str, way: int) -> None:
    sent = signed(name, way)
    for url in (f"{ORIGIN}/webhooks/other", f"{sent.url}?a=1", f"{sent.url}/"):
        assert not accepted(judge(name, sent._replace(url=url), SECRETS[name, way][0]))


@pytest.mark.parametrize(("name", "way"), WAYS)
def test_a_signed_time_is_held_against_the_clock(name: str, way: int) -> None:
    proof: Proof = preset(name).verify[way]
    stamp = proof.timestamp if isinstance(proof, SignedProof) else None
    if isinstance(proof, Jwt):
        assert not accepted(judge(name, signed(name, way), SECRETS[name, way][0], at=NOW + 10**7))
        assert not accepted(judge(name, signed(name, way), SECRETS[name, way][0], at=NOW - 3600))
        return
    if isinstance(proof, Vendor) and proof.name in TIMES:
        past, future = TIMES[proof.name]
        assert not accepted(judge(name, signed(name, way), SECRETS[name, way][0], at=NOW + past + 1))
        assert not accepted(judge(name, signed(name, way), SECRETS[name, way][0], at=NOW - future - 1))
        return
    if stamp is None or stamp.tolerance_past is None or stamp.tolerance_future is None:
        assert accepted(judge(name, signed(name, way), SECRETS[name, way][0], at=NOW + 10**7))
        return
    secret = SECRETS[name, way][0]
    for shift, passes in (
        (stamp.tolerance_past, True),
        (stamp.tolerance_past + 1, False),
        (-stamp.tolerance_future, True),
        (-stamp.tolerance_future - 1, False),
    ):
        assert accepted(judge(name, signed(name, way), secret, at=NOW + shift)) is passes


@pytest.mark.parametrize(
    ("name", "way"), [one for one in WAYS if isinstance(preset(one[0]).verify[one[1]], PUBLIC)]
)
def test_the_public_key_alone_verifies(name: str, way: int) -> None:
    sent = signed(name, way)
    assert accepted(judge(name, sent, public(SECRETS[name, way][0], preset(name).verify[way])))


def public(secret: Secret, proof: Proof) -> Secret:
    """Return the public key of a private one as its provider shows it."""
    from cryptography.hazmat.primitives import serialization as form  # noqa: PLC0415 - of this test alone

    key: Any = form.load_pem_private_key(secret.reveal().encode(), password=None)
    if isinstance(proof, Ed25519):
        raw = key.public_key().public_bytes(form.Encoding.Raw, form.PublicFormat.Raw)
        return Secret(raw.hex() if proof.secret.encoding == "hex" else base64.b64encode(raw).decode())
    if isinstance(proof, Rsa):
        pem = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
        return Secret(pem.decode().replace("\n", "\\n"))
    der = key.public_key().public_bytes(form.Encoding.DER, form.PublicFormat.SubjectPublicKeyInfo)
    return Secret(base64.b64encode(der).decode())


def test_every_item_of_a_notification_must_be_signed() -> None:
    sent, secret = signed("adyen", 0), SECRETS["adyen", 0][0]
    (item,) = json.loads(sent.body)["notificationItems"]
    unsigned = {"NotificationRequestItem": ITEM}
    for items, passes in (([item, item], True), ([item, unsigned], False), ([unsigned], False), ([], False)):
        body = json.dumps({"notificationItems": items}).encode()
        assert accepted(judge("adyen", sent._replace(body=body), secret)) is passes


def test_a_message_of_another_topic_is_refused_though_its_signature_is_right() -> None:
    sent, secret = signed("sns", 0), SECRETS["sns", 0][0]
    raw = [(key.lower().encode(), value.encode()) for key, value in sent.headers.items()]
    request = Inbound("POST", "/webhooks/sns", "", raw, sent.body, NOW)
    for tokens in ((), (Secret("arn:aws:sns:eu-west-1:123456789012:other"),)):
        outcome = Verification(preset("sns"), tokens=lambda given=tokens: given).verify(request, (secret,))
        assert isinstance(outcome, Refused)
        assert outcome.check == "topic_unknown"


def test_both_versions_of_sns_count_and_no_others() -> None:
    secret = SECRETS["sns", 0][0]
    key: Any = load_pem_private_key(secret.reveal().encode(), password=None)
    text = signed_fields(MESSAGE)
    assert text is not None
    assert text.startswith(b"Message\ntide\nMessageId\n22b80b92")
    for version, algorithm, passes in (
        ("1", SHA1(), True),
        ("2", SHA256(), True),
        ("2", SHA1(), False),
        ("3", SHA256(), False),
    ):
        signature = base64.b64encode(key.sign(text, PKCS1v15(), algorithm)).decode()
        body = json.dumps({**MESSAGE, "SignatureVersion": version, "Signature": signature}).encode()
        assert accepted(judge("sns", SignedRequest({}, body, f"{ORIGIN}/w"), secret)) is passes


def test_each_notification_of_a_batch_must_carry_the_secret() -> None:
    sent, secret = signed("microsoft-graph", 0), SECRETS["microsoft-graph", 0][0]
    for items in ([], [{"id": "1"}], [{"clientState": secret.reveal()}, {}], [{"clientState": "x"}]):
        body = json.dumps({"value": items}).encode()
        assert not accepted(judge("microsoft-graph", sent._replace(body=body), secret))
    body = json.dumps({"value": [{"clientState": secret.reveal()}] * 3}).encode()
    assert accepted(judge("microsoft-graph", sent._replace(body=body), secret))


def test_fields_that_nobody_signed_are_refused() -> None:
    sent, secret = signed("braintree", 0), SECRETS["braintree", 0][0]
    assert accepted(judge("braintree", sent, secret))
    for more in (b"&bt_payload=other", b"&unsigned=1"):
        assert not accepted(judge("braintree", sent._replace(body=sent.body + more), secret))


@pytest.mark.parametrize(("name", "way"), WAYS)
def test_a_tenant_is_refused_as_one_that_nobody_knows(name: str, way: int) -> None:
    intake = Intake(
        name,
        preset(name),
        secrets=(SECRETS[name, way][0],),
        schemas=SchemaStore(()),
        verify_tokens=(TOPIC,),
        public_url=ORIGIN,
        tenants=True,
    )
    sent = signed(name, way)
    parts = urlsplit(sent.url)
    raw = [(key.lower().encode(), value.encode("latin-1")) for key, value in sent.headers.items()]
    request = Inbound("POST", parts.path, parts.query, raw, sent.body, NOW)
    right, wrong = SECRETS[name, way][0], new_secret(preset(name).verify[way])
    known = intake.receive(request, "acme", Ring((wrong,), known=True))
    assert isinstance(known, Refused)
    assert known == intake.receive(request, "acme", Ring((Vault().decoy("acme"),), known=False))
    assert known == intake.receive(request, "acme", Ring((right,), known=False))
    genuine = intake.receive(request, "acme", Ring((right,), known=True))
    assert not isinstance(genuine, Refused) or genuine.check == "content_type"


def test_most_presets_rest_on_more_than_a_catalogue() -> None:
    firm = {"oracle", "vector", "source", "specification", "documentation"}
    levels = {name: {one.level for one in preset(name).evidence} for name in preset_names()}
    assert len([name for name, found in levels.items() if found & firm]) >= 60
    assert [name for name, found in levels.items() if not found] == []
