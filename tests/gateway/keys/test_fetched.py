"""Providers whose keys are fetched: what is asked for and how, and what becomes of requests meanwhile."""

from __future__ import annotations

import base64
import json
import os
import re
import time
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.inbound import Inbound
from gateway.intake import Intake
from gateway.keys.chain import Trust
from gateway.keys.judging import with_keys
from gateway.keys.places import Ask, FetchError, Reply
from gateway.keys.ring import key_of_jwk, ring_of_set
from gateway.keys.store import INTERVAL, KeysAwayError, KeyStore
from gateway.keys.wanted import Wanted
from gateway.recipes.presets import preset
from gateway.recipes.published import FETCHED, KID, KeyAccess
from gateway.recipes.recipe import Recipe, parse_recipe
from gateway.recipes.sign import SignedRequest, sign_request
from gateway.schemas import SchemaStore
from gateway.verdict import Accepted, Refused
from tests.clock import Clock
from tests.gateway.keys.key_server import certificate, key_set, pem, public_jwk, rsa_key
from tidemill.kernel.settings.secrets import Secret

ORIGIN: Final = "https://hooks.example.com"
TOKEN: Final = Secret("arn:aws:sns:eu-west-1:123456789012:orders")
CERTIFICATE: Final = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0a1b2c3d4e5f.pem"
MESSAGE: Final = {
    "Type": "Notification",
    "MessageId": "1",
    "TopicArn": TOKEN.reveal(),
    "Message": "tide",
    "Timestamp": "2026-10-26T07:33:20.000Z",
    "SigningCertURL": CERTIFICATE,
}
API_V3: Final = "0123456789abcdef0123456789abcdef"
SCHEMAS: Final = SchemaStore(())
JUNK: Final = {
    *("authorization", "plaid-verification", "x-circle-signature", "x-ebay-signature", "x-sig"),
    *("x-neon-signature", "x-neon-timestamp", "wechatpay-signature", "wechatpay-timestamp"),
    *("paypal-transmission-sig", "paypal-transmission-time", "paypal-auth-algo", "paypal-cert-url"),
}
BODY: Final = {
    "type": "a.b",
    "event_type": "a.b",
    "id": "1",
    "notificationType": "a.b",
    "webhook_type": "A",
    "webhook_code": "B",
    "metadata": {"topic": "A"},
}


@dataclass
class Web:
    """Answers for all of the internet, by address; None is a host that doesn't answer."""

    answers: dict[str, bytes | int | None] = field(default_factory=dict)
    asked: list[Ask] = field(default_factory=list)

    async def __call__(self, ask: Ask) -> Reply:
        self.asked.append(ask)
        found = self.answers.get(ask.url, 404)
        if found is None:
            raise FetchError("no answer")
        return Reply(found, b"{}") if isinstance(found, int) else Reply(200, found)

    @property
    def urls(self) -> list[str]:
        return [ask.url for ask in self.asked]


@dataclass(frozen=True)
class Provider:
    """How a provider signs, where its keys are, and what a source needs."""

    name: str
    key: Any
    answers: dict[str, bytes]
    secrets: tuple[Secret, ...] = ()
    body: bytes = json.dumps(BODY).encode()
    url: str | None = None
    recipe: Recipe | None = None

    def signed(self, key: Any = None) -> SignedRequest:
        return sign_request(
            self.recipe or preset(self.name),
            Secret(pem(key or self.key)),
            self.body,
            event_type="a.b",
            event_id="evt_1",
            timestamp=time.time(),
            url=f"{ORIGIN}/webhooks/x",
            tokens=lambda: (TOKEN,),
        )

    def intake(self, store: KeyStore, *secrets: Secret) -> Intake:
        return Intake(
            "x",
            self.recipe or preset(self.name),
            secrets=secrets or self.secrets,
            schemas=SCHEMAS,
            verify_tokens=(TOKEN,),
            public_url=ORIGIN,
            access=KeyAccess(store, self.url),
        )


def der(key: Any) -> str:
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(key.public_key().public_bytes(*form)).decode()


def cert_pem(key: Any, **options: Any) -> bytes:
    return certificate(key, **options).public_bytes(serialization.Encoding.PEM)


RSA, OTHER_RSA = rsa_key("provider"), rsa_key("stranger")
P256, OTHER_P256 = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
EDWARDS, OTHER_EDWARDS = (ed25519.Ed25519PrivateKey.generate() for _ in range(2))
OTHER: Final = {id(RSA): OTHER_RSA, id(P256): OTHER_P256, id(EDWARDS): OTHER_EDWARDS}
ROOT_KEY: Final = ec.generate_private_key(ec.SECP256R1())
ROOT: Final = certificate(ROOT_KEY, name="Test Authority")
VOUCHED: Final = {"issuer": (ROOT_KEY, ROOT.subject)}
PAYPAL_NAME: Final = "messageverificationcerts.paypal.com"
PAYPAL: Final = "https://api.paypal.com/v1/notifications/certs/CERT-0"
MERCHANT: Final = json.dumps(
    {"mchid": "190000", "serial_no": "5F", "private_key": pem(rsa_key("merchant")), "api_v3_key": API_V3}
)
PLATFORM: Final = certificate(RSA)
SERIAL: Final = f"{PLATFORM.serial_number:X}"


def sealed(plain: bytes) -> dict[str, str]:
    box = AESGCM(API_V3.encode()).encrypt(b"abcdefghijkl", plain, b"certificate")
    return {
        "algorithm": "AEAD_AES_256_GCM",
        "nonce": "abcdefghijkl",
        "associated_data": "certificate",
        "ciphertext": base64.b64encode(box).decode(),
    }


WECHAT: Final = {
    "data": [
        {
            "serial_no": SERIAL,
            "encrypt_certificate": sealed(PLATFORM.public_bytes(serialization.Encoding.PEM)),
        },
        {"serial_no": "0", "encrypt_certificate": {"nonce": "x", "ciphertext": "!"}},
        7,
    ]
}
OWN: Final = parse_recipe(
    {
        "verify": {
            "scheme": "ed25519",
            "signature": {"at": "header:X-Sig", "encoding": "base64"},
            "keys": {"issuer": "https://login.example.com", "kid": "header:X-Kid"},
        }
    },
    name="own",
)
PROVIDERS: Final = [
    Provider("google-pubsub", RSA, {"https://www.googleapis.com/oauth2/v3/certs": key_set(**{KID: RSA})}),
    Provider("paypal", RSA, {PAYPAL: cert_pem(RSA, name=PAYPAL_NAME, **VOUCHED) + cert_pem(P256)}),
    Provider(
        "sns",
        RSA,
        {CERTIFICATE: cert_pem(RSA, name="sns.amazonaws.com", **VOUCHED)},
        body=json.dumps(MESSAGE).encode(),
    ),
    Provider(
        "neon",
        EDWARDS,
        {"https://auth.neon.example/.well-known/jwks.json": key_set(**{KID: EDWARDS})},
        url="https://auth.neon.example/.well-known/jwks.json",
    ),
    Provider(
        "plaid",
        P256,
        {
            "https://production.plaid.com/webhook_verification_key/get": json.dumps(
                {"key": {**public_jwk(P256, KID, alg="ES256", use="sig"), "expired_at": None}}
            ).encode()
        },
        (Secret("client:secret"),),
    ),
    Provider(
        "circle",
        P256,
        {
            f"https://api.circle.com/v2/notifications/publicKey/{KID}": json.dumps(
                {"data": {"id": KID, "algorithm": "ECDSA_SHA_256", "publicKey": der(P256)}}
            ).encode()
        },
        (Secret("an-api-key"),),
    ),
    Provider(
        "ebay",
        P256,
        {
            "https://api.ebay.com/identity/v1/oauth2/token": b'{"access_token": "t-1"}',
            f"https://api.ebay.com/commerce/notification/v1/public_key/{KID}": json.dumps(
                {"key": f"-----BEGIN PUBLIC KEY-----{der(P256)}-----END PUBLIC KEY-----", "digest": "SHA1"}
            ).encode(),
        },
        (Secret("app:cert"),),
    ),
    Provider(
        "wechat-pay",
        RSA,
        {"https://api.mch.weixin.qq.com/v3/certificates": json.dumps(WECHAT).encode()},
        (Secret(MERCHANT),),
    ),
    Provider(
        "own",
        EDWARDS,
        {
            "https://login.example.com/.well-known/openid-configuration": json.dumps(
                {"issuer": "https://login.example.com", "jwks_uri": "https://keys.example.com/set"}
            ).encode(),
            "https://keys.example.com/set": key_set(**{KID: EDWARDS}),
        },
        recipe=OWN,
    ),
]
each = pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.name)


@dataclass
class Stage:
    web: Web
    clock: Clock
    store: KeyStore

    async def judge_or_away(self, provider: Provider, *secrets: Secret) -> Any:
        try:
            return await self.judge(provider, provider.signed(), *secrets)
        except KeysAwayError as error:
            return error

    async def judge(self, provider: Provider, sent: SignedRequest, *secrets: Secret) -> Any:
        intake = provider.intake(self.store, *secrets)
        inbound = inbound_of(provider, sent)
        verdict = intake.receive(inbound)
        if isinstance(verdict, Wanted):
            return await with_keys(self.store, verdict, lambda: intake.receive(inbound))
        return verdict


def inbound_of(provider: Provider, sent: SignedRequest) -> Inbound:
    headers = {name.lower(): value for name, value in sent.headers.items()}
    if provider.name == "wechat-pay":
        headers["wechatpay-serial"] = SERIAL
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    return Inbound("POST", "/webhooks/x", urlsplit(sent.url).query, raw, sent.body, time.time())


@pytest.fixture
def stage() -> Stage:
    web, clock = Web(), Clock()
    return Stage(web, clock, KeyStore(web, clock, Trust([ROOT])))


@each
async def test_a_genuine_request_is_accepted_with_a_fetched_key(provider: Provider, stage: Stage) -> None:
    stage.web.answers.update(provider.answers)
    verdict = await stage.judge(provider, provider.signed())
    assert isinstance(verdict, Accepted), verdict
    assert verdict.secret == (0 if provider.secrets else FETCHED)
    assert stage.web.urls == list(provider.answers)
    again = await stage.judge(provider, provider.signed())
    assert isinstance(again, Accepted)
    assert len(stage.web.asked) == len(provider.answers)


@each
async def test_another_key_or_body_is_refused(provider: Provider, stage: Stage) -> None:
    stage.web.answers.update(provider.answers)
    verdict = await stage.judge(provider, provider.signed(OTHER[id(provider.key)]))
    assert isinstance(verdict, Refused)
    assert (verdict.status, verdict.check) == (401, "signature_mismatch")
    sent = provider.signed()
    if provider.name != "google-pubsub":  # whose token covers no body
        changed = sent._replace(body=sent.body.replace(b"1", b"2").replace(b"tide", b"ebb"))
        assert isinstance(await stage.judge(provider, changed), Refused)
    assert isinstance(await stage.judge(provider, sent), Accepted)


@each
@pytest.mark.parametrize("answer", [None, 500, 403, 302, b"<html>", b"{}", b"\xff" * 10])
async def test_while_the_keys_can_t_be_had_nobody_is_refused(
    provider: Provider, stage: Stage, answer: Any
) -> None:
    last = list(provider.answers)[-1]
    stage.web.answers.update({**provider.answers, last: answer})
    for _ in range(3):
        with pytest.raises(KeysAwayError) as caught:
            await stage.judge(provider, provider.signed())
        assert 1 <= caught.value.retry_after <= INTERVAL
    asked = len(stage.web.asked)
    assert asked == len(provider.answers)
    stage.web.answers.update(provider.answers)
    stage.clock.now += INTERVAL
    assert isinstance(await stage.judge(provider, provider.signed()), Accepted)


@each
async def test_a_key_that_there_isn_t_refuses(provider: Provider, stage: Stage) -> None:
    last = list(provider.answers)[-1]
    stage.web.answers.update({**provider.answers, last: 404})
    for _ in range(3):
        verdict = await stage.judge(provider, provider.signed())
        assert isinstance(verdict, Refused)
        certified = provider.name in ("paypal", "sns")
        assert verdict.check == ("certificate_untrusted" if certified else "signature_mismatch")
    assert len(stage.web.asked) == len(provider.answers)


@each
async def test_what_can_t_be_right_is_refused_and_nobody_is_asked(provider: Provider, stage: Stage) -> None:
    sent = provider.signed()
    intake = provider.intake(stage.store)
    signed = {name for name in sent.headers if name.lower() in JUNK}
    assert signed or provider.name == "sns"
    for name in signed:
        for value in ("x", "Bearer x.y.z", "\xff" * 40, "http://169.254.169.254/latest", "=" * 400, "{}"):
            changed = sent._replace(headers={**sent.headers, name: value})
            verdict = intake.receive(inbound_of(provider, changed))
            assert isinstance(verdict, Refused), (name, value)
    assert stage.web.asked == []


async def test_what_a_request_or_a_credential_chooses_is_asked_on_public_addresses_alone(
    stage: Stage,
) -> None:
    for provider in PROVIDERS:
        stage.web.answers.update(provider.answers)
        await stage.judge(provider, provider.signed())
    inside = {urlsplit(ask.url).hostname for ask in stage.web.asked if not ask.public}
    named = {"www.googleapis.com", "auth.neon.example", "login.example.com", "keys.example.com"}
    assert inside == named  # what presets and settings name; no request has a say in it


async def test_a_stranger_s_certificate_is_never_fetched(stage: Stage) -> None:
    paypal = next(one for one in PROVIDERS if one.name == "paypal")
    sent = paypal.signed()
    for url in (
        "https://evil.example/v1/notifications/certs/CERT-0",
        "https://api.paypal.com.evil.example/v1/notifications/certs/CERT-0",
        "https://api.paypal.com@evil.example/v1/notifications/certs/CERT-0",
        "http://api.paypal.com/v1/notifications/certs/CERT-0",
        "https://169.254.169.254/v1/notifications/certs/CERT-0",
        "file:///etc/passwd",
        "",
    ):
        verdict = await stage.judge(paypal, sent._replace(headers={**sent.headers, "PAYPAL-CERT-URL": url}))
        assert isinstance(verdict, Refused)
        assert verdict.check == "certificate_foreign"
    sns = next(one for one in PROVIDERS if one.name == "sns")
    for url in ("https://evil.example/SimpleNotificationService-0a1b2c3d4e5f.pem", 7, None, ""):
        body = json.dumps({**json.loads(sns.signed().body), "SigningCertURL": url}).encode()
        verdict = await stage.judge(sns, SignedRequest({}, body, f"{ORIGIN}/webhooks/x"))
        assert isinstance(verdict, Refused)
        assert verdict.check == "certificate_foreign"
    assert stage.web.asked == []


async def test_a_flood_of_certificates_makes_few_fetches(stage: Stage) -> None:
    paypal = next(one for one in PROVIDERS if one.name == "paypal")
    stage.web.answers.update(paypal.answers)
    assert isinstance(await stage.judge(paypal, paypal.signed()), Accepted)
    sent = paypal.signed()
    for number in range(200):
        url = f"https://api.paypal.com/v1/notifications/certs/CERT-{number:x}f"
        changed = sent._replace(headers={**sent.headers, "PAYPAL-CERT-URL": url})
        try:
            assert isinstance(await stage.judge(paypal, changed), Refused)
        except KeysAwayError as error:
            assert error.retry_after <= 10  # noqa: PT017 - either is right
    assert len(stage.web.asked) <= 6
    assert isinstance(await stage.judge(paypal, paypal.signed()), Accepted)


async def test_requests_for_others_are_refused_before_anything_is_fetched(stage: Stage) -> None:
    for name in ("paypal", "sns", "google-pubsub"):
        provider = next(one for one in PROVIDERS if one.name == name)
        stage.web.answers.update(provider.answers)
        intake = Intake(
            "x",
            preset(name),
            secrets=(),
            schemas=SCHEMAS,
            verify_tokens=(Secret("somebody-else"),) if name != "paypal" else (),
            public_url=ORIGIN,
            access=KeyAccess(stage.store),
        )
        verdict = intake.receive(inbound_of(provider, provider.signed()))
        assert isinstance(verdict, Refused)
        assert verdict.check in ("identity_unknown", "topic_unknown")
    assert stage.web.asked == []


async def test_a_source_with_keys_of_its_own_fetches_nothing(stage: Stage) -> None:
    for provider in PROVIDERS:
        verdict = await stage.judge(provider, provider.signed(), Secret(pem(provider.key)))
        assert isinstance(verdict, Accepted), provider.name
        assert verdict.secret == 0
        wrong = await stage.judge(provider, provider.signed(), Secret(pem(OTHER[id(provider.key)])))
        assert isinstance(wrong, Refused)
    assert stage.web.asked == []


async def test_credentials_go_to_their_provider_alone(stage: Stage) -> None:
    for provider in PROVIDERS:
        stage.web.answers.update(provider.answers)
        await stage.judge(provider, provider.signed())
    secret = re.compile("secret|Bearer|Basic|WECHAT")
    sent = {
        urlsplit(ask.url).hostname
        for ask in stage.web.asked
        if secret.search(ask.body.decode() + " ".join(ask.headers.values()))
    }
    assert sent == {"production.plaid.com", "api.circle.com", "api.ebay.com", "api.mch.weixin.qq.com"}
    (plaid,) = [ask for ask in stage.web.asked if "plaid" in ask.url]
    assert json.loads(plaid.body) == {"client_id": "client", "secret": "secret", "key_id": KID}
    token, key = (ask for ask in stage.web.asked if "ebay" in ask.url)
    assert token.headers["Authorization"] == f"Basic {base64.b64encode(b'app:cert').decode()}"
    assert b"grant_type=client_credentials" in token.body
    assert key.headers["Authorization"] == "Bearer t-1"


async def test_wechat_pay_is_asked_as_a_merchant_signs(stage: Stage) -> None:
    provider = next(one for one in PROVIDERS if one.name == "wechat-pay")
    stage.web.answers.update(provider.answers)
    await stage.judge(provider, provider.signed())
    (ask,) = stage.web.asked
    scheme, _, rest = ask.headers["Authorization"].partition(" ")
    assert scheme == "WECHATPAY2-SHA256-RSA2048"
    given = dict(re.findall(r'(\w+)="([^"]*)"', rest))
    assert (given["mchid"], given["serial_no"]) == ("190000", "5F")
    signed = f"GET\n/v3/certificates\n{given['timestamp']}\n{given['nonce_str']}\n\n".encode()
    signature = base64.b64decode(given["signature"])
    rsa_key("merchant").public_key().verify(signature, signed, padding.PKCS1v15(), hashes.SHA256())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("plaid", text) for text in ("", "no-colon", "a:b\nc", "ä:b", "sandbox:a")),
        *(("circle", text) for text in ("", "a\nb", "ä", "x" * 2000)),
        *(("ebay", text) for text in ("", "no-colon", "a:b\r\nHost: x")),
        *(("wechat-pay", text) for text in ("", "{}", "[]", '{"mchid": 1}', API_V3, "\udcff")),
    ],
)
async def test_what_is_no_credential_is_sent_nowhere(stage: Stage, name: str, text: str) -> None:
    provider = next(one for one in PROVIDERS if one.name == name)
    verdict = await stage.judge(provider, provider.signed(), Secret(text))
    assert isinstance(verdict, Refused)
    assert verdict.check == "secret_missing"
    assert stage.web.asked == []


async def test_the_sandboxes_have_hosts_of_their_own(stage: Stage) -> None:
    for name, text, host in (
        ("plaid", "sandbox:a:b", "sandbox.plaid.com"),
        ("ebay", "Shop-SBX-1:cert", "api.sandbox.ebay.com"),
    ):
        provider = next(one for one in PROVIDERS if one.name == name)
        assert isinstance(await stage.judge_or_away(provider, Secret(text)), KeysAwayError | Refused)
        assert urlsplit(stage.web.urls[-1]).hostname == host


async def test_an_expired_key_of_plaid_s_is_none(stage: Stage) -> None:
    provider = next(one for one in PROVIDERS if one.name == "plaid")
    (url,) = provider.answers
    key = {**public_jwk(P256, KID), "expired_at": 1}
    stage.web.answers[url] = json.dumps({"key": key}).encode()
    assert isinstance(await stage.judge(provider, provider.signed()), Refused)


@pytest.mark.parametrize(
    "options",
    [
        {"days": -1, **VOUCHED},
        {},
        {"name": "sns.evil.example", **VOUCHED},
        {"authority": True, **VOUCHED},
        {"issuer": (OTHER_RSA, ROOT.subject)},
    ],
    ids=["expired", "by itself", "another name", "an authority", "forged"],
)
async def test_a_certificate_that_no_authority_vouches_for_is_none(
    stage: Stage, options: dict[str, Any]
) -> None:
    provider = next(one for one in PROVIDERS if one.name == "sns")
    stage.web.answers[CERTIFICATE] = cert_pem(RSA, **{"name": "sns.amazonaws.com", **options})
    verdict = await stage.judge(provider, provider.signed())
    assert isinstance(verdict, Refused)
    assert (verdict.status, verdict.check) == (401, "certificate_untrusted")
    stage.web.answers[CERTIFICATE] = cert_pem(RSA, name="sns.amazonaws.com", **VOUCHED)
    stage.clock.now += INTERVAL + 1
    assert isinstance(await stage.judge(provider, provider.signed()), Accepted)


def test_odd_documents_have_no_keys() -> None:
    weak = {"kty": "RSA", "n": "AQ", "e": "AQ"}
    slow = public_jwk(RSA)
    slow["e"] = slow["n"][:-1] + "E"
    for odd in (slow, None, 7, [], {}, {"kty": "oct", "k": "AAAA"}, weak, os.urandom(4)):
        assert key_of_jwk(odd) is None
    many = json.dumps({"keys": [public_jwk(P256, str(number)) for number in range(200)]}).encode()
    assert len(ring_of_set(many)) == 64
