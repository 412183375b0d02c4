"""Every provider's handshake as the exchange that it is: the request that it sends, the answer that it wants.

Each goes over a socket to a listener with the provider's own recipe.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gateway.handshakes import HARMLESS
from gateway.ingress import Ingress
from gateway.intake import Intake
from gateway.introductions import Introductions
from gateway.limits import NO_LIMITS, Limits
from gateway.metrics import Metrics
from gateway.public import build_public
from gateway.recipes.presets import preset, preset_names
from gateway.recipes.recipe import Recipe, parse_recipe
from gateway.schemas import SchemaStore
from tidemill.kernel.errors import NotFoundError
from tidemill.kernel.settings.secrets import Secret
from tidemill.kernel.settings.values import Address

if TYPE_CHECKING:
    from conftest import Connect, Reply, Store

GIVEN: dict[str, dict[str, Any]] = json.loads((Path(__file__).parent / "handshakes.json").read_text())
SECRET, TOKEN = "a-secret-of-the-tests", "a-verify-token"
URL = "https://hooks.example.com"
TEXT, JSON = "text/plain; charset=utf-8", "application/json"
TEST_PROOF = {"signature": {"at": "header:X-Test-Signature"}}


def recipe_of(provider: str) -> Recipe:
    """Return a provider's handshakes and fixed answers, from its preset where there is one.

    What they are signed with is another test's matter: here it is one HMAC for all.
    """
    document = dict(GIVEN.get(provider, {}))
    if provider in preset_names():
        keys = {"handshake", "answer", "refusal", "reads", "event"}
        document |= preset(provider).model_dump(mode="json", include=keys, exclude_defaults=True)
    return parse_recipe({"verify": TEST_PROOF, **document}, name=provider)


def mac(text: str, key: bytes = SECRET.encode(), algorithm: str = "sha256") -> bytes:
    return hmac.digest(key, text.encode(), algorithm)


@dataclass(frozen=True)
class Exchange:
    """What a provider sends and what it wants to hear."""

    provider: str
    method: str = "POST"
    query: str = ""
    sends: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    signed: bool = False
    status: int = 200
    media: str | None = None
    hears: Any = ""
    shows: Mapping[str, str] = field(default_factory=dict)

    @property
    def body(self) -> bytes:
        return b"" if self.sends is None else json.dumps(self.sends).encode()


HUB = "hub.mode=subscribe&hub.verify_token={}&hub.challenge=1158201444"
GRAPH = "Validation%3a+Testing+client+application+reachability+for+subscription+Request-Id%3a+d0-1"
GRAPH_TEXT = "Validation: Testing client application reachability for subscription Request-Id: d0-1"
CODE = "512d38b6-c7b8-40c8-89fe-f46f9e9622b6"
VALIDATION = [
    {
        "id": "2d1781af-3a4c-4d7c-bd0c-e34b19da4e66",
        "topic": "/subscriptions/x",
        "subject": "",
        "data": {"validationCode": CODE, "validationUrl": "https://rp-eastus2.eventgrid.azure.net/x"},
        "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
        "eventTime": "2026-01-25T22:12:19.4556811Z",
        "dataVersion": "1",
    }
]
ZOOM = "qgg8vlvZRS6UYooatFL8Aw"
CRC = "MjgyODI4Mg"
BT = "20f9f8ed05f77439fe955c977e4c8a53"
TOPIC = "arn:aws:sns:eu-west-1:123456789012:orders"
EBAY = hashlib.sha256(f"a8628072{TOKEN}{URL}/webhooks/ebay".encode()).hexdigest()
BRAINTREE = mac(BT, hashlib.sha1(SECRET.encode()).digest(), "sha1").hex()
XERO = {"events": [], "lastEventSequence": 0, "firstEventSequence": 0, "entropy": "S0m3r4Nd0mt3xt"}
SUBSCRIBE = (
    "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=2336412f37fb687f5d51e6e2425"
)

EXCHANGES = [
    Exchange(
        "slack",
        sends={
            "token": "Jhj5dZ",
            "challenge": "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdAL",
            "type": "url_verification",
        },
        signed=True,
        media=TEXT,
        hears="3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdAL",
    ),
    Exchange("meta", "GET", HUB.format(TOKEN), media=TEXT, hears="1158201444"),
    Exchange("strava", "GET", HUB.format(TOKEN), media=JSON, hears={"hub.challenge": "1158201444"}),
    Exchange(
        "microsoft-graph",
        query=f"validationToken={GRAPH}",
        headers={"content-type": "text/plain; charset=utf-8"},
        media=TEXT,
        hears=GRAPH_TEXT,
    ),
    Exchange("sharepoint", query="validationtoken=7f22-a%2Bb", media=TEXT, hears="7f22-a+b"),
    Exchange(
        "azure-event-grid",
        sends=VALIDATION,
        headers={"aeg-event-type": "SubscriptionValidation"},
        media=JSON,
        hears={"validationResponse": CODE},
    ),
    Exchange(
        "azure-event-grid",
        "OPTIONS",
        headers={"webhook-request-origin": "eventgrid.azure.net", "webhook-request-rate": "120"},
        shows={
            "webhook-allowed-origin": "eventgrid.azure.net",
            "webhook-allowed-rate": "120",
            "allow": "POST",
        },
    ),
    Exchange(
        "cloudevents",
        "OPTIONS",
        headers={"webhook-request-origin": "eventemitter.example.com", "webhook-request-rate": "120"},
        shows={
            "webhook-allowed-origin": "eventemitter.example.com",
            "webhook-allowed-rate": "100",
            "allow": "POST",
        },
    ),
    Exchange(
        "zoom",
        sends={
            "payload": {"plainToken": ZOOM},
            "event_ts": 1654503849680,
            "event": "endpoint.url_validation",
        },
        signed=True,
        media=JSON,
        hears={"plainToken": ZOOM, "encryptedToken": mac(ZOOM).hex()},
    ),
    Exchange(
        "x",
        "GET",
        f"crc_token={CRC}&nonce=abc",
        media=JSON,
        hears={"response_token": "sha256=" + base64.b64encode(mac(CRC)).decode()},
    ),
    Exchange(
        "linkedin",
        "GET",
        "challengeCode=890e4665-4dfe-4ab1-b689-ed553bceeed0&applicationId=1",
        media=JSON,
        hears={
            "challengeCode": "890e4665-4dfe-4ab1-b689-ed553bceeed0",
            "challengeResponse": mac("890e4665-4dfe-4ab1-b689-ed553bceeed0").hex(),
        },
    ),
    Exchange("ebay", "GET", "challenge_code=a8628072", media=JSON, hears={"challengeResponse": EBAY}),
    Exchange(
        "smartcar",
        sends={"eventId": "e", "eventType": "VERIFY", "data": {"challenge": "3a5c8f72"}},
        media=JSON,
        hears={"challenge": mac("3a5c8f72").hex()},
    ),
    Exchange(
        "smartcar",
        sends={"version": "2.0", "eventName": "verify", "payload": {"challenge": "3a5c8f72"}},
        media=JSON,
        hears={"challenge": mac("3a5c8f72").hex()},
    ),
    Exchange(
        "asana",
        headers={"x-hook-secret": "b537207f20cbfa02357cf448134da559e8bd39d61597dcd5631b8012eae53e81"},
        shows={"x-hook-secret": "b537207f20cbfa02357cf448134da559e8bd39d61597dcd5631b8012eae53e81"},
    ),
    Exchange(
        "clio", sends={}, headers={"x-hook-secret": "Kr4kQ2pFvT0"}, shows={"x-hook-secret": "Kr4kQ2pFvT0"}
    ),
    Exchange("notion", sends={"verification_token": "secret_tMrlL1qK5vuQAh1b6cZGhFChZTSYJlce98V0pYn7yBl"}),
    Exchange("dropbox", "GET", "challenge=dQw4w9WgXcQ", media=TEXT, hears="dQw4w9WgXcQ"),
    Exchange("nylas", "GET", "challenge=bc609b38-c81f-47fb", media=TEXT, hears="bc609b38-c81f-47fb"),
    Exchange(
        "oura",
        "GET",
        f"verification_token={TOKEN}&challenge=12345678",
        media=JSON,
        hears={"challenge": "12345678"},
    ),
    Exchange(
        "okta",
        "GET",
        headers={"x-okta-verification-challenge": "my verification challenge"},
        media=JSON,
        hears={"verification": "my verification challenge"},
    ),
    Exchange(
        "twitch",
        sends={"challenge": "pogchamp-kappa-360noscope-vohiyo", "subscription": {"id": "f1c2a387"}},
        headers={"twitch-eventsub-message-type": "webhook_callback_verification"},
        signed=True,
        media=TEXT,
        hears="pogchamp-kappa-360noscope-vohiyo",
    ),
    Exchange(
        "discord",
        sends={"id": "787053080478613555", "token": "t", "type": 1, "version": 1},
        signed=True,
        media=JSON,
        hears={"type": 1},
    ),
    Exchange(
        "discord",
        sends={"version": 1, "application_id": "1234560123453231555", "type": 0},
        signed=True,
        status=204,
    ),
    Exchange("xero", sends=XERO, signed=True),
    Exchange(
        "sns",
        sends={"Type": "SubscriptionConfirmation", "TopicArn": TOPIC, "SubscribeURL": SUBSCRIBE},
        headers={
            "content-type": "text/plain; charset=UTF-8",
            "x-amz-sns-message-type": "SubscriptionConfirmation",
        },
        signed=True,
    ),
    Exchange("braintree", "GET", f"bt_challenge={BT}", media=TEXT, hears=f"{TOKEN}|{BRAINTREE}"),
    Exchange(
        "front",
        sends={"type": "sync", "authorization": {"id": "cmp_abc"}},
        headers={"x-front-challenge": "fsb8Xlk2"},
        signed=True,
        media=JSON,
        hears={"challenge": "fsb8Xlk2"},
    ),
    Exchange(
        "ringcentral",
        headers={"validation-token": "3b5c1f2e-9d84-4a7b"},
        shows={"validation-token": "3b5c1f2e-9d84-4a7b"},
    ),
    Exchange("vercel-drains", headers={"x-vercel-verify": "9c2f51"}, shows={"x-vercel-verify": "9c2f51"}),
    Exchange("vercel-drains", "GET", shows={"x-vercel-verify": TOKEN}),
    Exchange(
        "monday", sends={"challenge": "3eZbrw1aBm2rZg"}, media=JSON, hears={"challenge": "3eZbrw1aBm2rZg"}
    ),
    Exchange(
        "tebex",
        sends={"id": "b4e7a3f0", "type": "validation.webhook", "date": "2026-01-01T00:00:00Z", "subject": {}},
        signed=True,
        media=JSON,
        hears={"id": "b4e7a3f0"},
    ),
    Exchange("trello", "HEAD"),
    Exchange("mandrill", "HEAD"),
    Exchange("circle", "HEAD"),
    Exchange("mailchimp", "GET"),
    Exchange("exact-online"),
    Exchange(
        "smartsheet",
        sends={"challenge": "d78dd1d3", "webhookId": 1},
        headers={"smartsheet-hook-challenge": "d78dd1d3"},
        media=JSON,
        hears={"smartsheetHookResponse": "d78dd1d3"},
        shows={"smartsheet-hook-response": "d78dd1d3"},
    ),
]
ACKNOWLEDGED = {
    "adyen": ("text/plain", b"[accepted]"),
    "dropbox-sign": ("text/plain", b"Hello API Event Received"),
    "wechat-pay": (JSON, b'{"code":"SUCCESS","message":"OK"}'),
    "shiphero": (JSON, b'{"code":"200","Status":"Success"}'),
    "salesforce": ("text/xml", b"<Ack>true</Ack>"),
    "xero": (None, b""),
}
SIGNED = [exchange for exchange in EXCHANGES if exchange.signed]


class Memory:
    """Stands for the learned secrets of the broker."""

    def __init__(self) -> None:
        self.known: dict[str, Secret] = {}

    async def ready(self, source: str) -> None:
        assert source

    async def learn(self, source: str, secret: Secret, client: str) -> bool:
        assert client
        return self.known.setdefault(source, secret) == secret

    async def find(self, source: str) -> Any:
        raise NotFoundError(source, hint="")


@dataclass
class Providers:
    """A listener with the sources of all providers that the exchanges name."""

    address: Address
    connect: Connect
    request: Callable[..., bytes]
    memory: Memory
    store: Store
    visits: list[str]
    visited: bool = True

    async def send(self, exchange: Exchange, path: str = "") -> Reply:
        body = exchange.body
        headers = {"content-type": JSON} if body else {}
        headers |= exchange.headers
        if exchange.signed:
            headers["x-test-signature"] = mac(body.decode()).hex()
        target = f"/webhooks/{exchange.provider}{path}"
        target += f"?{exchange.query}" if exchange.query else ""
        wire = await self.connect(self.address)
        await wire.send(self.request(target, body, headers, method=exchange.method))
        return await wire.reply(without_body=exchange.method == "HEAD")


@pytest.fixture
async def providers(
    bundled: SchemaStore,
    store: Store,
    connect: Connect,
    http_request: Callable[..., bytes],
    listening: Callable[..., Any],
) -> AsyncIterator[Providers]:
    memory, visits = Memory(), list[str]()
    intakes = {}
    for name in sorted({*GIVEN, *(exchange.provider for exchange in EXCHANGES), *ACKNOWLEDGED}):
        recipe = recipe_of(name)
        source = recipe.name
        learns = any(one.learn for one in recipe.handshake)
        intakes[source] = Intake(
            source,
            recipe,
            secrets=(lambda name=source: (memory.known[name],) if name in memory.known else ())
            if learns
            else (Secret(SECRET),),
            verify_tokens=(Secret(TOKEN), Secret(TOPIC)),
            schemas=bundled,
            public_url=URL,
            learn=learns,
            limits=Limits(rate=100 / 60) if source == "cloudevents" else NO_LIMITS,
        )

    async def visit(url: str) -> bool:
        visits.append(url)
        return found.visited

    introductions = Introductions(memory, visit)  # type: ignore[arg-type] # a fake
    ingress = Ingress(intakes, store, store, Metrics(), introductions=introductions)  # type: ignore[arg-type] # fakes

    async def never_wrong() -> dict[str, str]:
        return {}

    running: AbstractAsyncContextManager[Any] = listening(build_public(ingress, never_wrong), [])
    async with running as listener:
        found = Providers(listener.address, connect, http_request, memory, store, visits)
        yield found


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda one: f"{one.provider}-{one.method}")
async def test_a_provider_hears_what_it_wants(providers: Providers, exchange: Exchange) -> None:
    reply = await providers.send(exchange)
    assert reply.status == exchange.status, reply
    heard = reply.json() if isinstance(exchange.hears, dict) else reply.body.decode()
    assert heard == exchange.hears
    if exchange.media:
        assert reply.headers["content-type"] == exchange.media
    for name, value in exchange.shows.items():
        assert reply.headers[name] == value
    for header, expected in HARMLESS:
        assert reply.headers[header.decode()] == expected.decode()
    assert reply.headers["tidemill-status"] == "handshake"
    assert "transfer-encoding" not in reply.headers
    assert "set-cookie" not in reply.headers
    assert ("content-length" in reply.headers) is (exchange.status != 204)
    assert not providers.store.accepted
    assert not providers.store.quarantined


@pytest.mark.parametrize("exchange", SIGNED, ids=lambda one: one.provider)
async def test_a_signed_handshake_is_refused_without_its_signature(
    providers: Providers, exchange: Exchange
) -> None:
    wrong = {**exchange.headers, "x-test-signature": "0" * 64}
    for headers in (exchange.headers, wrong):
        unsigned = Exchange(exchange.provider, sends=exchange.sends, headers=headers)
        reply = await providers.send(unsigned)
        assert reply.status == 401
        if exchange.provider == "xero":
            assert (reply.body, "content-type" in reply.headers) == (b"", False)
    assert not providers.visits


@pytest.mark.parametrize(
    ("provider", "method", "query", "status", "check"),
    [
        ("meta", "GET", HUB.format("a-guess"), 403, "handshake_token"),
        ("strava", "GET", HUB.format(""), 403, "handshake_token"),
        ("oura", "GET", "verification_token=no&challenge=1", 403, "handshake_token"),
        ("meta", "GET", "", 400, "handshake_unknown"),
        ("meta", "GET", HUB.format(TOKEN).replace("1158201444", "x" * 3000), 400, "handshake_malformed"),
        ("dropbox", "GET", "challenge=a%0d%0aSet-Cookie:%20b", 400, "handshake_malformed"),
        ("dropbox", "GET", "challenge=%ff", 400, "handshake_unknown"),
        ("dropbox", "GET", "challenge=", 400, "handshake_unknown"),
        ("microsoft-graph", "POST", "validationToken=%00", 400, "handshake_malformed"),
    ],
)
async def test_a_handshake_that_is_wrong_is_refused(  # noqa: PLR0913, PLR0917 - one row of a table
    providers: Providers, provider: str, method: str, query: str, status: int, check: str
) -> None:
    reply = await providers.send(Exchange(provider, method, query))
    assert (reply.status, reply.json()["check"]) == (status, check)


async def test_markup_comes_back_as_text_that_nothing_executes(providers: Providers) -> None:
    text = "%3Cscript%3Ealert(1)%3C/script%3E"
    reply = await providers.send(Exchange("dropbox", "GET", f"challenge={text}"))
    assert reply.body == b"<script>alert(1)</script>"
    assert reply.headers["content-type"] == TEXT
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["content-security-policy"] == "default-src 'none'; sandbox"


@pytest.mark.parametrize(
    ("provider", "allowed"),
    [
        ("slack", "POST"),
        ("meta", "GET, POST"),
        ("azure-event-grid", "OPTIONS, POST"),
        ("trello", "HEAD, POST"),
    ],
)
async def test_other_methods_than_those_of_a_provider_are_405(
    providers: Providers, provider: str, allowed: str
) -> None:
    reply = await providers.send(Exchange(provider, "DELETE"))
    assert (reply.status, reply.headers["allow"]) == (405, allowed)


async def test_another_origin_than_event_grid_s_is_not_allowed(providers: Providers) -> None:
    foreign = Exchange("azure-event-grid", "OPTIONS", headers={"webhook-request-origin": "elsewhere.example"})
    reply = await providers.send(foreign)
    assert (reply.status, reply.json()["check"]) == (400, "handshake_unknown")
    assert "webhook-allowed-origin" not in reply.headers


async def test_without_a_rate_none_is_allowed_in_words(providers: Providers) -> None:
    reply = await providers.send(
        Exchange("cloudevents", "OPTIONS", headers={"webhook-request-origin": "a.example"})
    )
    assert reply.status == 200
    assert "webhook-allowed-rate" not in reply.headers


@pytest.mark.parametrize("provider", ["asana", "clio"])
async def test_the_first_secret_is_learned_and_signs_from_then_on(
    providers: Providers, provider: str
) -> None:
    first = Exchange(provider, headers={"x-hook-secret": SECRET})
    assert (await providers.send(first)).status == 200
    assert (await providers.send(first)).status == 200
    other = await providers.send(Exchange(provider, headers={"x-hook-secret": "another-secret"}))
    assert (other.status, other.json()["check"]) == (409, "handshake_taken")
    assert "x-hook-secret" not in other.headers
    assert providers.memory.known == {provider: Secret(SECRET)}
    delivery = Exchange(provider, sends={"events": [{"action": "added"}]}, signed=True)
    assert (await providers.send(delivery)).status in (200, 202)


async def test_a_tenant_s_secret_is_not_learned(providers: Providers) -> None:
    reply = await providers.send(Exchange("asana", headers={"x-hook-secret": SECRET}), "/acme")
    assert (reply.status, reply.json()["check"]) == (409, "handshake_taken")
    assert not providers.memory.known


@pytest.mark.parametrize("secret", ["short", "x" * 600, "\xe4" * 9])
async def test_a_secret_that_cannot_be_one_is_not_learned(providers: Providers, secret: str) -> None:
    reply = await providers.send(Exchange("asana", headers={"x-hook-secret": secret}))
    assert reply.status in (400, 401)
    assert not providers.memory.known


async def test_notion_s_token_signs_what_comes_after_it(providers: Providers) -> None:
    assert (await providers.send(Exchange("notion", sends={"verification_token": SECRET}))).status == 200
    event = {"id": "e-1", "type": "page.created", "timestamp": "2026-01-01T00:00:00Z", "entity": {}}
    assert (await providers.send(Exchange("notion", sends=event, signed=True))).status == 202
    assert (await providers.send(Exchange("notion", sends=event))).status == 401


async def test_a_subscription_is_confirmed_at_its_address(providers: Providers) -> None:
    (sns,) = [one for one in EXCHANGES if one.provider == "sns"]
    assert (await providers.send(sns)).status == 200
    assert providers.visits == [SUBSCRIBE]
    providers.visited = False
    again = await providers.send(sns)
    assert (again.status, again.headers["retry-after"]) == (503, "2")


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.eu-west-1.amazonaws.com/?Token=1",
        "https://sns.eu-west-1.amazonaws.com.evil.example/",
        "https://evil.example/sns.eu-west-1.amazonaws.com",
        "https://sns.eu-west-1.amazonaws.com@evil.example/",
        "https://evil.example\\@sns.eu-west-1.amazonaws.com/",
        "https://sns.eu-west-1.amazonaws.com:8443/",
        "https://sns.a.b.amazonaws.com/",
        "https://sns.eu-west-1.amazonaws.com:99999/",
        "https://[::1]/",
        "https://169.254.169.254/",
        "file:///etc/passwd",
        "//sns.eu-west-1.amazonaws.com/",
    ],
)
async def test_no_other_address_is_visited(providers: Providers, url: str) -> None:
    (sns,) = [one for one in EXCHANGES if one.provider == "sns"]
    forged = Exchange("sns", sends={**sns.sends, "SubscribeURL": url}, headers=sns.headers, signed=True)
    reply = await providers.send(forged)
    assert (reply.status, reply.json()["check"]) == (403, "handshake_visit")
    assert not providers.visits


async def test_somebody_else_s_topic_is_not_confirmed(providers: Providers) -> None:
    (sns,) = [one for one in EXCHANGES if one.provider == "sns"]
    sends = {**sns.sends, "TopicArn": "arn:aws:sns:eu-west-1:666666666666:theirs"}
    reply = await providers.send(Exchange("sns", sends=sends, headers=sns.headers, signed=True))
    assert (reply.status, reply.json()["check"]) == (403, "handshake_token")
    assert not providers.visits


@pytest.mark.parametrize("provider", ACKNOWLEDGED)
async def test_what_was_taken_is_acknowledged_in_the_provider_s_words(
    providers: Providers, provider: str
) -> None:
    media, body = ACKNOWLEDGED[provider]
    xml = {"content-type": "text/xml; charset=utf-8"} if provider == "salesforce" else {}
    reply = await providers.send(
        Exchange(provider, sends={"events": [{"eventType": "CREATE"}]}, headers=xml, signed=True)
    )
    assert (reply.status, reply.headers.get("content-type")) == (200, media)
    assert body in reply.body
    assert (reply.body == body) is (provider != "salesforce")
    assert reply.headers["tidemill-event-id"]
    assert reply.headers["tidemill-status"] in ("accepted", "quarantined")
