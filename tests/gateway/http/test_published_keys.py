"""Deliveries whose keys have to be fetched first, over sockets: what their senders are answered meanwhile."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import pytest

from gateway.ingress import Ingress
from gateway.intake import Intake
from gateway.keys.places import FetchError
from gateway.keys.places import Reply as Answer
from gateway.keys.store import KeyStore
from gateway.metrics import Metrics
from gateway.public import build_public
from gateway.recipes.presets import preset
from gateway.recipes.published import KID, KeyAccess
from gateway.recipes.sign import sign_request
from tests.gateway.keys.key_server import key_set, pem, rsa_key
from tidemill.kernel.settings.secrets import Secret

if TYPE_CHECKING:
    from conftest import Connect, Reply, Store

    from gateway.keys.places import Ask
    from gateway.schemas import SchemaStore

URL: Final = "https://hooks.example.com"
ACCOUNT: Final = Secret("push@project.iam.gserviceaccount.com")
BODY: Final = json.dumps({"message": {"messageId": "1", "data": "aGk=", "attributes": {}}}).encode()


@dataclass
class Google:
    """Stands for Google's key server."""

    answer: bytes | None = None
    gate: asyncio.Event | None = None
    came: asyncio.Event = field(default_factory=asyncio.Event)
    asked: int = 0

    async def __call__(self, ask: Ask) -> Answer:
        assert ask.url == "https://www.googleapis.com/oauth2/v3/certs"
        self.asked += 1
        self.came.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.answer is None:
            raise FetchError("away")
        return Answer(200, self.answer)


@dataclass
class Push:
    """A gateway with a Pub/Sub source."""

    google: Google
    store: Store
    metrics: Metrics
    now: list[float]
    connect: Callable[[], Any]
    request: Callable[..., bytes]

    def delivery(self, key: str = "google", body: bytes = BODY) -> bytes:
        sent = sign_request(
            preset("google-pubsub"),
            Secret(pem(rsa_key(key))),
            body,
            event_type="message",
            event_id="1",
            timestamp=time.time(),
            url=f"{URL}/webhooks/push",
            tokens=lambda: (ACCOUNT,),
        )
        return self.request("/webhooks/push", sent.body, sent.headers)

    async def post(self, delivery: bytes) -> Reply:
        wire = await self.connect()
        await wire.send(delivery)
        reply: Reply = await wire.reply()
        await wire.close()
        return reply


@pytest.fixture
async def push(
    bundled: SchemaStore,
    store: Store,
    connect: Connect,
    http_request: Callable[..., bytes],
    listening: Callable[..., Any],
) -> AsyncIterator[Push]:
    google, metrics, now = Google(), Metrics(), [1000.0]
    keys = KeyStore(google, lambda: now[0])
    intake = Intake(
        "push",
        preset("google-pubsub"),
        secrets=(),
        schemas=bundled,
        verify_tokens=(ACCOUNT,),
        public_url=URL,
        access=KeyAccess(keys),
    )
    ingress = Ingress({"push": intake}, store, store, metrics, keys=keys)  # type: ignore[arg-type] # fakes

    async def never_wrong() -> dict[str, str]:
        return {}

    async with listening(build_public(ingress, never_wrong), []) as listener:
        yield Push(google, store, metrics, now, lambda: connect(listener.address), http_request)
    await keys.close()


async def test_senders_come_again_while_the_keys_are_away_and_are_let_in_then(push: Push) -> None:
    for _ in range(2):
        reply = await push.post(push.delivery())
        assert (reply.status, reply.json()["type"]) == (503, "urn:tidemill:problem:keys-away")
        assert 1 <= int(reply.headers["retry-after"]) <= 60
    assert push.google.asked == 1
    assert push.metrics.requests["push", "unavailable"] == 2
    push.google.answer = key_set(**{KID: rsa_key("google")})
    push.now[0] += 60
    reply = await push.post(push.delivery())
    assert (reply.status, reply.json()["type"]) == (202, "push.message")
    assert (await push.post(push.delivery("stranger"))).status == 401
    assert push.google.asked == 2


async def test_many_deliveries_at_once_make_one_fetch(push: Push) -> None:
    push.google.answer, push.google.gate = key_set(**{KID: rsa_key("google")}), asyncio.Event()
    bodies = [BODY.replace(b'"1"', b'"%d"' % number) for number in range(30)]
    posts = [asyncio.ensure_future(push.post(push.delivery(body=body))) for body in bodies]
    async with asyncio.timeout(20):
        await push.google.came.wait()
        push.google.gate.set()
        replies = await asyncio.gather(*posts)
    assert {reply.status for reply in replies} == {202}
    assert push.google.asked == 1
    assert len(push.store.accepted) == 30


async def test_junk_is_refused_and_nobody_is_asked(push: Push) -> None:
    for token in ("x", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", "eyJhbGciOiJIUzI1NiJ9.e30.AAAA", "A" * 9000):
        head = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        assert (await push.post(push.request("/webhooks/push", BODY, head))).status == 401
    assert push.google.asked == 0


async def test_a_sender_that_goes_away_meanwhile_costs_nobody_anything(push: Push) -> None:
    push.google.answer, push.google.gate = key_set(**{KID: rsa_key("google")}), asyncio.Event()
    wire = await push.connect()
    await wire.send(push.delivery())
    async with asyncio.timeout(20):
        await push.google.came.wait()
    await wire.close()
    push.google.gate.set()
    assert (await push.post(push.delivery(body=BODY.replace(b'"1"', b'"2"')))).status == 202
    assert push.google.asked == 1
