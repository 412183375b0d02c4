"""What hostile and broken senders send, to every preset, over sockets: 4xx or quarantine, never 5xx.

Each request is written by hand, byte by byte: no client library mends it on the way.
"""

from __future__ import annotations

import asyncio
import gzip
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from gateway.ingress import Ingress
from gateway.intake import Intake
from gateway.metrics import Metrics
from gateway.public import build_public
from gateway.recipes.new_secret import new_secret
from gateway.recipes.presets import preset, preset_names
from gateway.recipes.sign import sign_request
from gateway.schemas import SchemaStore
from tidemill.kernel.errors import SettingsError
from tidemill.kernel.settings.secrets import Secret
from tidemill.kernel.settings.values import Address

if TYPE_CHECKING:
    from conftest import Connect, Store, Wire

URL = "https://hooks.example.com"
BODY = b'{"id": "evt_1", "type": "order.paid"}'
CAP = 200_000
HEADER_VALUES = [
    b"",
    b" ",
    b"\xff\xfe\xc3\xa4",
    b"Infinity",
    b"t=Infinity,v1=00",
    b"t=1e400,v1=00",
    b"t=-1,v1=00",
    b"t=99999999999999999999999,v1=00",
    b"t=\xd9\xa1\xd9\xa2,v1=00",
    b"1e400",
    b"-1",
    b"9" * 400,
    b"NaN",
    b"0x10",
    b"2026-02-30T25:61:00Z",
    b"0000-00-00T00:00:00Z",
    b"v0=" + b"0" * 64,
    b"v99=" + b"0" * 64,
    b"sha1=" + b"0" * 40,
    b"SHA256=" + b"A" * 64,
    b"sha256=" + b"z" * 64,
    b"=" * 500,
    b"," * 2000,
    b";,=:." * 400,
    b",".join(b"v1=%064d" % number for number in range(1000))[:60000],
    b" ".join(b"v1,%044d" % number for number in range(1000))[:60000],
    b"Bearer",
    b"Bearer a.b.c",
    b"Bearer eyJhbGciOiJub25lIn0.e30.",
    b"Basic",
    b"Basic !!!!",
    b"Basic " + b"A" * 3000,
    b"%00%ff",
    b"{body}",
    b"-----BEGIN CERTIFICATE-----",
    b"http://169.254.169.254/latest",
]
BODIES = [
    b"",
    b" ",
    b"\x00",
    b"\xff\xfe",
    b"\xef\xbb\xbf{}",
    b"{",
    b"null",
    b"[]",
    b"{}",
    b"0",
    b'""',
    b'{"a": NaN}',
    b'{"a": 1e400}',
    b'{"a": Infinity}',
    b'{"a": 1, "a": 2}',
    b'{"a": "\\ud800"}',
    b'{"a": "\xc0\xa0"}',
    b'{"type": "a\\u0000.>*"}',
    b'{"type": {"type": []}, "id": [[]], "event": 1, "data": null}',
    b'{"timestamp": 1e308, "created": -1, "events": [{}, [], null, 1]}',
    b"[" * 50_000,
    b'{"a":' * 30_000 + b"1" + b"}" * 30_000,
    b"[" + b",".join([b"{}"] * 5000) + b"]",
    b"[" + b"0," * 90_000 + b"0]",
    "{}".encode("utf-16"),
    b"payload=%7B&payload=%7B",
    b"&" * 50_000,
    b"a=%ff%fe&b",
    b"--x\r\n\r\n--x--",
    gzip.compress(b"0" * 5_000_000),
    gzip.compress(BODY)[:-3],
    b"<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>",
]
TYPES = [
    b"application/json",
    b"application/x-www-form-urlencoded",
    b"multipart/form-data; boundary=x",
    b"text/xml",
    b"\xff",
    b"application/json; charset=utf-16",
]


@dataclass
class Town:
    """A listener with a source of every preset."""

    address: Address
    connect: Connect
    store: Store
    wire: Wire | None = None

    async def send(
        self, name: str, head: list[tuple[bytes, bytes]], body: bytes, method: bytes = b"POST"
    ) -> int:
        """Send one request and return its status; the connection is kept while the gateway keeps it."""
        fields = [(b"host", b"x"), (b"content-length", b"%d" % len(body)), *head]
        lines = [method + b" /webhooks/" + name.encode() + b" HTTP/1.1"]
        raw = b"\r\n".join([*lines, *(b"%s: %s" % field for field in fields)]) + b"\r\n\r\n" + body
        self.wire = self.wire or await self.connect(self.address)
        with suppress(ConnectionError):
            await self.wire.send(raw)
        reply = await self.wire.reply(without_body=method == b"HEAD")
        if reply.headers.get("connection") == "close":
            self.wire = None
        return reply.status


@cache
def secret_of(name: str) -> Secret:
    recipe = preset(name)
    return new_secret(recipe.verify[0]) if recipe.verify else Secret("")


@cache
def intake_of(name: str, schemas: SchemaStore) -> Intake:
    return Intake(
        name,
        preset(name),
        secrets=(secret_of(name),),
        verify_tokens=(Secret("t"),),
        schemas=schemas,
        public_url=URL,
        max_body=CAP,
        allow_unsigned=not preset(name).verify,
    )


@pytest.fixture
async def town(
    bundled: SchemaStore,
    store: Store,
    connect: Connect,
    listening: Callable[..., Any],
    brusque: None,
) -> AsyncIterator[Town]:
    assert brusque is None
    intakes = {name: intake_of(name, bundled) for name in preset_names()}
    ingress = Ingress(intakes, store, store, Metrics())  # type: ignore[arg-type] # fakes

    async def never_wrong() -> dict[str, str]:
        return {}

    async with listening(build_public(ingress, never_wrong), []) as listener:
        yield Town(listener.address, connect, store)


def named(name: str) -> list[bytes]:
    """Return the headers that a preset's recipe looks at."""
    text = preset(name).model_dump_json(include={"verify", "event", "handshake"})
    return sorted({found.lower().encode() for found in re.findall(r"header:([A-Za-z0-9-]+)", text)})


@pytest.mark.parametrize("name", preset_names())
async def test_hostile_headers(town: Town, name: str) -> None:
    json = (b"content-type", b"application/json")
    headers = named(name)
    for value in HEADER_VALUES:
        every = [(header, value) for header in headers]
        assert await town.send(name, [json, *every], BODY) < 500
        assert await town.send(name, [json, *every, *every], BODY) < 500
    assert not [one for one in town.store.accepted.values() if preset(name).verify]


@pytest.mark.parametrize("name", preset_names())
async def test_hostile_bodies_without_proof(town: Town, name: str) -> None:
    for index, body in enumerate(BODIES):
        kind = [(b"content-type", TYPES[index % len(TYPES)])]
        assert await town.send(name, kind, body) < 500
        assert (
            await town.send(name, [(b"content-type", TYPES[0]), (b"content-encoding", b"gzip")], body) < 500
        )
    for method in (b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE", b"PATCH", b"TRACE"):
        assert 200 <= await town.send(name, [], b"", method) < 500
    assert not town.store.accepted or not preset(name).verify


@pytest.mark.parametrize("name", [name for name in preset_names() if preset(name).verify])
async def test_genuine_deliveries_of_hostile_bodies(town: Town, name: str) -> None:
    recipe, sent = preset(name), 0
    found = recipe.model_dump_json(include={"verify"})
    for body in BODIES:
        try:
            made = sign_request(
                recipe,
                secret_of(name),
                body,
                event_type="order.paid",
                event_id="evt_1",
                timestamp=time.time(),
                url=f"{URL}/webhooks/{name}",
            )
        except (SettingsError, ValueError, TypeError, AttributeError, KeyError):
            continue  # the provider couldn't have signed it, its proof stands in the body
        query = urlsplit(made.url).query
        head = [
            (key.lower().encode("latin-1"), value.encode("latin-1")) for key, value in made.headers.items()
        ]
        path = f"{name}?{query}" if query else name
        status = await town.send(path, head, made.body)
        assert 200 <= status < 500, body[:60]
        sent += 1
    assert sent or '"body:' in found or '"vendor"' in found


async def test_many_hostile_requests_at_the_same_time_are_all_answered_in_bounded_time(
    town: Town, connect: Connect
) -> None:
    async def one(number: int) -> int:
        mine = Town(town.address, connect, town.store)
        body = BODIES[number % len(BODIES)]
        return await mine.send("stripe", [(b"stripe-signature", HEADER_VALUES[24])], body)

    async with asyncio.timeout(20):
        statuses = await asyncio.gather(*(one(number) for number in range(100)))
    assert all(400 <= status < 500 for status in statuses)
