"""`POST /events` with bearer tokens of an issuer whose keys are behind a server over TLS."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwk, jwt

from gateway.clients import Clients
from gateway.depot import Depot
from gateway.events.callers import Callers
from gateway.events.endpoint import EventApi
from gateway.events.tokens import BearerTokens
from gateway.inbound import Inbound
from gateway.ingress import Ingress
from gateway.keys.store import INTERVAL, KeyStore
from gateway.keys.wanted import Wanted
from gateway.metrics import Metrics
from gateway.problem import Problem
from gateway.public import build_public
from gateway.schemas import SchemaStore
from tests.clock import Clock
from tests.gateway.keys.key_server import KeyServer, key_set, pem, public_jwk, rsa_key
from tidemill.kernel.settings.events import EventKey, TokenIssuer, TokenScope
from tidemill.kernel.settings.keys import create_key, hash_key

if TYPE_CHECKING:
    from conftest import Connect, Reply, Store

    from gateway.keys.https import HttpsFetch

KEY: Final = create_key()
EVENT: Final = {"specversion": "1.0", "id": "1", "source": "/shop/eu", "type": "shop.order.paid"}
CONFIGURATION: Final = "/.well-known/openid-configuration"
SCOPES: Final = (
    TokenScope(name="orders:write", sources=("/shop/*",), types=("shop.order.>",)),
    TokenScope(name="desk:write", sources=("/desk/*",)),
)


@dataclass
class Service:
    """A listener that takes events, and the issuer in front of it."""

    keys: KeyServer
    store: Store
    clock: Clock
    issuers: list[TokenIssuer]
    send: Callable[..., Any]

    @property
    def issuer(self) -> str:
        return f"https://keys.example.com:{self.keys.port}"

    def claims(self, **claims: Any) -> dict[str, Any]:
        now = int(time.time())
        usual = {"iss": self.issuer, "aud": "tidemill", "iat": now, "exp": now + 60, "scope": "orders:write"}
        return {name: value for name, value in {**usual, **claims}.items() if value is not None}

    def token(self, key: str = "one", header: dict[str, Any] | None = None, **claims: Any) -> str:
        head = {"alg": "RS256", "kid": key} | (header or {})
        private = jwk.import_key(pem(rsa_key(key)), "RSA")
        return jwt.encode(head, self.claims(**claims), private, algorithms=[head["alg"]])

    async def post(self, token: str, event: Any = EVENT, path: str = "/events") -> Reply:
        headers = {"content-type": "application/cloudevents+json", "authorization": f"Bearer {token}"}
        reply: Reply = await self.send(path, json.dumps(event).encode(), headers)
        return reply


@pytest.fixture
async def service(  # noqa: PLR0913, PLR0917 - fixtures
    bundled: SchemaStore,
    store: Store,
    connect: Connect,
    http_request: Callable[..., bytes],
    listening: Callable[..., Any],
    key_server: KeyServer,
    fetch: HttpsFetch,
) -> AsyncIterator[Service]:
    metrics, clock = Metrics(), Clock()
    published = KeyStore(fetch, clock)
    issuer = f"https://keys.example.com:{key_server.port}"
    issuers = [TokenIssuer(issuer=issuer, audience="tidemill", scopes=SCOPES)]
    key_server.put("/jwks.json", key_set(one=rsa_key("one")))
    key_server.put(CONFIGURATION, json.dumps({"issuer": issuer, "jwks_uri": f"{issuer}/jwks.json"}).encode())
    api = EventApi(
        lambda: [EventKey(name="test", hash=hash_key(KEY))],
        Depot(store, store),  # type: ignore[arg-type] # fakes
        bundled,
        metrics=metrics,
        clients=Clients(),
        max_body=100_000,
        issuers=lambda: issuers,
        published=published,
    )
    ingress = Ingress({}, store, store, metrics)  # type: ignore[arg-type] # the same

    async def never_wrong() -> dict[str, str]:
        return {}

    async with listening(build_public(ingress, never_wrong, api), []) as listener:

        async def send(path: str, body: bytes, headers: dict[str, str]) -> Reply:
            wire = await connect(listener.address)
            await wire.send(http_request(path, body, headers))
            reply: Reply = await wire.reply()
            await wire.close()
            return reply

        yield Service(key_server, store, clock, issuers, send)
    await published.close()


async def test_a_token_of_the_issuer_posts_what_its_scopes_allow(service: Service) -> None:
    assert (await service.post(service.token())).status == 202
    assert next(iter(service.store.accepted.values())).type == "shop.order.paid"
    assert service.keys.asked == [CONFIGURATION, "/jwks.json"]
    for changed in ({"source": "/desk/1"}, {"type": "shop.item.sold"}):
        reply = await service.post(service.token(), {**EVENT, **changed})
        assert (reply.status, reply.json()["type"]) == (403, "urn:tidemill:problem:scope")
        assert reply.headers["www-authenticate"].endswith('error="insufficient_scope"')
    both = service.token(scope="orders:write desk:write other")
    for changed, status in (
        ({"source": "/desk/1", "id": "2"}, 202),
        ({"source": "/desk/1", "type": "a.b", "id": "3"}, 202),
        ({"source": "/shop/1", "type": "a.b"}, 403),
    ):
        assert (await service.post(both, {**EVENT, **changed})).status == status
    assert service.keys.asked == [CONFIGURATION, "/jwks.json"]


async def test_an_api_key_still_does(service: Service) -> None:
    assert (await service.post(KEY)).status == 202
    assert (await service.post(f"{KEY}x")).json()["type"] == "urn:tidemill:problem:api-key"
    assert service.keys.asked == []


async def test_a_token_may_stand_in_the_address(service: Service) -> None:
    body = json.dumps(EVENT).encode()
    headers = {"content-type": "application/cloudevents+json"}
    reply = await service.send(f"/events?access_token={service.token()}", body, headers)
    assert reply.status == 202


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": None},
        {"exp": -1_000_000_000},
        {"exp": -61},
        {"nbf": 10_000},
        {"iat": 10_000},
        {"exp": "soon"},
        {"exp": True},
        {"aud": "others"},
        {"aud": None},
        {"aud": ["a", "b"]},
        {"aud": {"tidemill": 1}},
        {"iss": "https://evil.example"},
        {"iss": None},
        {"iss": ["x"]},
    ],
    ids=str,
)
async def test_claims_that_can_t_be_right_are_refused_and_nobody_is_asked(
    service: Service, claims: dict[str, Any]
) -> None:
    """Numbers are seconds from now."""
    now = int(time.time())
    given = {name: value + now if type(value) is int else value for name, value in claims.items()}
    reply = await service.post(service.token(**given))
    assert (reply.status, reply.json()["type"]) == (401, "urn:tidemill:problem:token")
    assert 'error="invalid_token"' in reply.headers["www-authenticate"]
    assert service.keys.asked == []


@pytest.mark.parametrize(
    "scope", [None, "", "ORDERS:WRITE", "orders", 7, {"orders:write": 1}, [["orders:write"]]]
)
async def test_without_a_scope_that_counts_nothing_is_posted(service: Service, scope: Any) -> None:
    assert (await service.post(service.token(scope=scope))).status == 403


@pytest.mark.parametrize(
    ("claim", "claims"),
    [
        ("roles", {"roles": ["orders:write"]}),
        ("realm_access.roles", {"realm_access": {"roles": ["a", "orders:write"]}}),
        ("https://shop.example/roles", {"https://shop.example/roles": "orders:write"}),
    ],
)
async def test_another_claim_may_hold_the_scopes(service: Service, claim: str, claims: Any) -> None:
    service.issuers[0] = service.issuers[0].model_copy(update={"claim": claim})
    assert (await service.post(service.token(scope=None, **claims))).status == 202
    assert (await service.post(service.token(scope="orders:write"))).status == 403


def forged(claims: dict[str, Any], header: dict[str, Any], signature: Callable[[bytes], bytes]) -> str:
    parts = [json.dumps(part).encode() for part in (header, claims)]
    signed = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    return (signed + b"." + base64.urlsafe_b64encode(signature(signed)).rstrip(b"=")).decode()


async def test_no_algorithm_but_the_issuer_s_counts(service: Service) -> None:
    claims = service.claims()
    public = (
        rsa_key("one")
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    for header, key in (
        ({"alg": "none"}, None),
        ({"alg": "None", "kid": "one"}, None),
        ({"alg": "HS256", "kid": "one"}, public),
        ({"alg": "HS256", "kid": "one"}, public.strip()),
        ({"alg": "HS256", "kid": "one"}, json.dumps(public_jwk(rsa_key("one"))).encode()),
        ({"kid": "one"}, public),
        ({"alg": ["RS256"], "kid": "one"}, public),
        ({"alg": "RS256", "kid": "one", "crit": ["exp"]}, public),
    ):
        sign = (lambda signed, key=key: hmac.digest(key, signed, "sha256")) if key else (lambda _: b"")
        reply = await service.post(forged(claims, header, sign))
        assert reply.status == 401, header
    assert (await service.post(service.token(header={"alg": "RS512"}))).status == 401
    assert service.keys.asked == []


async def test_a_token_that_brings_its_own_key_is_refused(service: Service) -> None:
    mine = jwk.import_key(pem(rsa_key("mine")), "RSA")
    for header in (
        {"alg": "RS256", "kid": "one", "jwk": public_jwk(rsa_key("mine"))},
        {"alg": "RS256", "kid": "one", "jku": f"{service.issuer}/mine.json"},
        {"alg": "RS256", "kid": "one", "x5u": f"{service.issuer}/mine.pem"},
        {"alg": "RS256", "kid": "one"},
        {"alg": "RS256"},
    ):
        assert (await service.post(jwt.encode(header, service.claims(), mine))).status == 401
    assert {*service.keys.asked} == {CONFIGURATION, "/jwks.json"}


async def test_a_token_without_a_kid_is_held_against_all_keys(service: Service) -> None:
    private = jwk.import_key(pem(rsa_key("two")), "RSA")
    service.keys.put("/jwks.json", key_set(one=rsa_key("one"), two=rsa_key("two")))
    assert (await service.post(jwt.encode({"alg": "RS256"}, service.claims(), private))).status == 202


async def test_keys_are_rotated(service: Service) -> None:
    assert (await service.post(service.token())).status == 202
    service.keys.put("/jwks.json", key_set(one=rsa_key("one"), two=rsa_key("two")))
    early = await service.post(service.token("two"), {**EVENT, "id": "2"})
    assert (early.status, early.json()["type"]) == (503, "urn:tidemill:problem:keys-away")
    assert 0 < int(early.headers["retry-after"]) <= INTERVAL
    service.clock.now += INTERVAL
    assert (await service.post(service.token("two"), {**EVENT, "id": "2"})).status == 202
    assert (await service.post(service.token("one"), {**EVENT, "id": "3"})).status == 202
    assert service.keys.asked.count("/jwks.json") == 2
    service.clock.now += INTERVAL
    assert (await service.post(service.token("three"))).status == 401  # looked for, and not there
    assert (await service.post(service.token("three"))).status == 401
    assert service.keys.asked.count("/jwks.json") == 3


async def test_a_thousand_unknown_kids_make_one_fetch(service: Service) -> None:
    assert (await service.post(service.token())).status == 202
    service.clock.now += INTERVAL
    token = service.token()
    signature = token.rpartition(".")[2]
    for number in range(100):
        text = forged(service.claims(), {"alg": "RS256", "kid": f"k{number}"}, lambda _: b"x" * 256)
        reply = await service.post(text.rpartition(".")[0] + "." + signature)
        assert reply.status in (401, 503)
    assert service.keys.asked.count("/jwks.json") == 2


async def test_while_the_issuer_is_away_the_sender_is_asked_to_come_again(service: Service) -> None:
    good = dict(service.keys.answers)
    for answer in (
        (500, {}, b""),
        (200, {}, b"<html>"),
        (200, {}, b'{"keys": 7}'),
        (302, {"location": "/"}, b""),
    ):
        service.keys.answers = {CONFIGURATION: good[CONFIGURATION], "/jwks.json": answer}
        reply = await service.post(service.token())
        assert (reply.status, reply.json()["type"]) == (503, "urn:tidemill:problem:keys-away")
        assert int(reply.headers["retry-after"]) >= 1
        asked = len(service.keys.asked)
        assert (await service.post(service.token())).status == 503
        assert len(service.keys.asked) == asked
        assert (await service.post(service.token(aud="others"))).status == 401
        service.clock.now += INTERVAL
    service.keys.answers = good
    assert (await service.post(service.token())).status == 202
    service.keys.answers = {}
    service.clock.now += INTERVAL
    assert (await service.post(service.token(), {**EVENT, "id": "2"})).status == 202


async def test_a_configuration_that_lies_is_none(service: Service) -> None:
    for document in (
        {"issuer": "https://evil.example", "jwks_uri": f"{service.issuer}/jwks.json"},
        {"issuer": service.issuer, "jwks_uri": "http://keys.example.com/jwks.json"},
        {"issuer": service.issuer, "jwks_uri": ["x"]},
        {"issuer": service.issuer},
    ):
        service.keys.put(CONFIGURATION, json.dumps(document).encode())
        assert (await service.post(service.token())).status == 503
        service.clock.now += INTERVAL
    assert "/jwks.json" not in service.keys.asked


async def test_a_hundred_callers_at_once_make_one_fetch(service: Service) -> None:
    service.keys.gate = asyncio.Event()
    posts = [asyncio.ensure_future(service.post(service.token(), {**EVENT, "id": str(n)})) for n in range(30)]
    async with asyncio.timeout(10):
        await service.keys.came.wait()
        service.keys.gate.set()
        replies = await asyncio.gather(*posts)
    assert {reply.status for reply in replies} == {202}
    assert service.keys.asked.count("/jwks.json") == 1


async def test_weak_and_foreign_keys_of_a_set_never_verify(service: Service) -> None:
    secret = base64.urlsafe_b64encode(b"k" * 32).rstrip(b"=").decode()
    found = [
        {"kty": "oct", "k": secret, "kid": "one"},
        public_jwk(rsa_key("one"), "one", use="enc"),
        {"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "one"},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "one"},
        {"kty": "RSA", "kid": "one"},
        {"kid": "one"},
        "x",
        None,
        {"kty": ["RSA"], "kid": {}},
    ]
    service.keys.put("/jwks.json", json.dumps({"keys": found}).encode())
    assert (await service.post(service.token())).status == 401
    hs = forged(
        service.claims(), {"alg": "HS256", "kid": "one"}, lambda text: hmac.digest(b"k" * 32, text, "sha256")
    )
    assert (await service.post(hs)).status == 401


ISSUER: Final = TokenIssuer(issuer="https://i.example", audience="us", scopes=SCOPES)
JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
NAMES: Final = st.sampled_from(["alg", "typ", "kid", "crit", "b64", "jwk", "iat", "exp", "nbf", "iss", "aud"])


@given(
    header=st.dictionaries(NAMES, JSON | st.just("RS256"), max_size=4),
    claims=JSON
    | st.dictionaries(NAMES, JSON | st.sampled_from(["us", "https://i.example", 2**40]), max_size=5),
    signature=st.binary(max_size=40),
)
def test_whatever_a_token_holds_there_is_an_answer(header: Any, claims: Any, signature: bytes) -> None:
    text = forged(claims, header, lambda _: signature)
    callers = Callers(tuple, lambda: [ISSUER], BearerTokens(KeyStore()))
    inbound = Inbound("POST", "/events", "", [(b"authorization", f"Bearer {text}".encode())], b"", 1e9)
    assert isinstance(callers.identify(inbound), Problem | Wanted)
