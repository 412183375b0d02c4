"""Hostile requests: genuine ones of every preset, each of them spoilt in up to four ways, or left as it was.

`hostile_judge.py` says what the gateway may make of them, `hostile_run.py` sends two million.
"""

from __future__ import annotations

import functools
import gzip
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Final
from urllib.parse import urlsplit

from gateway.recipes.new_secret import new_secret
from gateway.recipes.presets import preset, preset_names
from gateway.recipes.proofs import SharedSecret
from gateway.recipes.sign import sign_request
from tidemill.kernel.errors import SettingsError
from tidemill.kernel.settings.secrets import Secret

NOW: Final = 1_793_000_000
ORIGIN: Final = "https://hooks.example.com"
MAX_HEADERS: Final = 256 * 1024  # bytes; listeners take less
STAMPS: Final = [
    *(b"Infinity", b"-Infinity", b"NaN", b"1e400", b"-1", b"-1793000000", b"+1793000000", b"1793000000.5"),
    *(b"0", b"9" * 15, b"9" * 16, b"9" * 5000, b"0x6adf2b00", b"1_793_000_000", b" 1793000000", b""),
    *(
        "١٧٩٣٠٠٠٠٠٠".encode(),
        b"\xff\xfe",
        b"2026-10-26",
        b"9999-12-31T23:59:59Z",
        b"0001-01-01T00:00:00+14:00",
    ),
]
TEXTS: Final = [
    *(b"", b" ", b"\x00", b"\xff\xfe\xfd", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"=" * 50, b"," * 50, b";=;="),
    *(
        b"v1=" * 1000,
        b"v1=0," * 1000,
        b"v0=00,v1=",
        b"t=1,v1=00,v99=00",
        b"sha1=" + b"0" * 40,
        b"Basic ====",
        b"Bearer ",
    ),
    *(b"v1,a v1a,b v2,c", b"A" * 65536, b"%00%ff", b"\xc5\xbf", b"{}", b"*", b"header:x"),
]
BODIES: Final = [
    *(
        b"",
        b"{",
        b"[]",
        b"null",
        b"[" * 5000,
        b'{"a":' * 2000,
        b'{"a":1,"a":2}',
        b'{"a":1e400}',
        b'{"a":NaN}',
    ),
    *(b"\xef\xbb\xbf{}", b'"\\ud800"', b"\xff", b"a=1&a=2&=&&", b"&" * 2000, b"%", b"%zz=%", b"a=%ff"),
    *(
        b'{"value":[]}',
        b'{"value":[1,null]}',
        b'{"value":{}}',
        b'{"notificationItems":[1]}',
        b'{"notificationItems":[]}',
    ),
    *(
        b'{"signature":{"signature":1,"timestamp":{},"token":[]}}',
        b'{"event":{"event_hash":""}}',
        b'{"webhookTimestamp":-1}',
    ),
]
BOMBS: Final = [
    *(
        (b"gzip", gzip.compress(content))
        for content in (b"0" * 30_000_000, b"[" * 5_000_000, b'{"a":' * 20_000)
    ),
    *((b"gzip", gzip.compress(b"[" + b"0," * 400_000 + b"0]")), (b"gzip", gzip.compress(b"{}") * 200)),
    *((b"gzip", gzip.compress(b"{}") + b"more"), (b"gzip", gzip.compress(b"{}")[:-4]), (b"gzip", b"{}")),
    *(
        (b"deflate", zlib.compress(b"0" * 30_000_000)),
        (b"deflate", b"\x78\x9c"),
        (b"gzip, gzip", b"{}"),
        (b"br", b""),
    ),
]


@dataclass(frozen=True)
class Case:
    """One request of a preset, with what is known of it."""

    preset: str
    way: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    query: str
    secrets: tuple[Secret, ...]
    method: str = "POST"
    at: float = NOW
    original: bytes = b""
    how: tuple[str, ...] = field(default=())


Spoiler = Callable[[Case, Random], Case]


@functools.cache
def genuine() -> tuple[Case, ...]:
    """Return a genuine request of every way of every preset."""
    return tuple(_genuine(name, way) for name in preset_names() for way in range(len(preset(name).verify)))


@functools.cache
def _secret(name: str, way: int) -> Secret:
    return new_secret(preset(name).verify[way])


def _genuine(name: str, way: int) -> Case:
    proof = preset(name).verify[way]
    text = proof.model_dump_json()
    document = {"type": "a.b", "data": {"name": "Žofie"}, "value": [{"id": "1"}]}
    topic = dict.fromkeys(("Message", "MessageId", "TopicArn", "Timestamp"), "a")
    items = {"notificationItems": [{"NotificationRequestItem": {"pspReference": "1"}}]}
    documents = {"adyen": items, "sns": {**topic, "Type": "Notification"}, "exact-online": {"Topic": "Items"}}
    body = json.dumps(documents.get(getattr(proof, "name", ""), document)).encode()
    if "form:" in text or "sorted_form" in text:
        body = b"bt_payload=abc" if "form:" in text else b"a=1&b=%2B"
    if isinstance(proof, SharedSecret) and preset(name).event.data == ["form"]:
        signed = _signed(name, way, b"a=1&b=%2B")
        return replace(signed, headers=((b"content-type", b"application/x-www-form-urlencoded"),))
    return _signed(name, way, body)


@functools.cache
def _signed(name: str, way: int, body: bytes) -> Case:
    """Return a request with a body that its provider has signed.

    Raises:
        SettingsError: such a body has no place for the signature.
    """
    secret = _secret(name, way)
    given = {"event_type": "a.b", "event_id": "evt_1", "timestamp": float(NOW), "url": f"{ORIGIN}/webhooks/x"}
    sent = sign_request(preset(name), secret, body, way=way, tokens=lambda: (Secret("a"),), **given)  # type: ignore[arg-type] - each is of its parameter's type
    headers = tuple((key.lower().encode(), value.encode()) for key, value in sent.headers.items())
    return Case(
        name, way, headers, sent.body, urlsplit(sent.url).query, (Secret("other"), secret), original=sent.body
    )


def _header(case: Case, chance: Random, value: bytes, how: str) -> Case:
    """Replace the value of one of the headers."""
    place = chance.randrange(len(case.headers)) if case.headers else 0
    headers = tuple((key, value if at == place else old) for at, (key, old) in enumerate(case.headers))
    return replace(case, headers=headers, how=(*case.how, how))


def flip(case: Case, chance: Random) -> Case:
    """Change one bit of the body."""
    if not case.body:
        return case
    place, bit = chance.randrange(len(case.body)), 1 << chance.randrange(8)
    body = case.body[:place] + bytes([case.body[place] ^ bit]) + case.body[place + 1 :]
    return replace(case, body=body, how=(*case.how, "flip"))


def swap_body(case: Case, chance: Random) -> Case:
    """Put another body in its place."""
    body = chance.choice(BODIES)
    return replace(case, body=body, how=(*case.how, "body"))


def sign_odd(case: Case, chance: Random) -> Case:
    """Let the provider itself sign another body."""
    return _sign_again(case, chance.choice(BODIES), "signed odd")


def sign_bomb(case: Case, chance: Random) -> Case:
    """Let the provider itself sign a body that is small only as long as it is compressed."""
    coding, body = chance.choice(BOMBS)
    signed = _sign_again(case, body, "bomb")
    return replace(signed, headers=(*signed.headers, (b"content-encoding", coding)))


def _sign_again(case: Case, body: bytes, how: str) -> Case:
    try:
        signed = _signed(case.preset, case.way, body)
    except SettingsError:
        signed = replace(case, body=body)
    return replace(signed, secrets=case.secrets, at=case.at, how=(*case.how, how))


def odd_type(case: Case, chance: Random) -> Case:
    """Say that the body is something else."""
    value = chance.choice(
        (
            b"text/plain",
            b"multipart/form-data; boundary=b",
            b"application/x-www-form-urlencoded",
            b"\xff",
            b"a/b;" * 900,
        )
    )
    kept = [pair for pair in case.headers if pair[0] != b"content-type"]
    return replace(case, headers=(*kept, (b"content-type", value)), how=(*case.how, "type"))


def odd_stamp(case: Case, chance: Random) -> Case:
    """Put an odd number where a header was."""
    return _header(case, chance, chance.choice(STAMPS), "stamp")


def odd_text(case: Case, chance: Random) -> Case:
    """Put an odd text where a header was."""
    return _header(case, chance, chance.choice(TEXTS), "text")


def stamp_in_items(case: Case, chance: Random) -> Case:
    """Put an odd number where the time was inside a header of items."""
    stamp = chance.choice(STAMPS)
    headers = tuple((key, value.replace(b"1793000000", stamp)) for key, value in case.headers)
    return replace(case, headers=headers, how=(*case.how, "items"))


def repeat(case: Case, chance: Random) -> Case:
    """Send the headers twice, or a thousand times."""
    size = sum(len(key) + len(value) for key, value in case.headers) + 1
    times = max(1, min(chance.choice((2, 17, 1000)), MAX_HEADERS // size))
    headers = tuple((key, value) for key, value in case.headers for _ in range(times))
    return replace(case, headers=headers, how=(*case.how, "repeat"))


def drop(case: Case, chance: Random) -> Case:
    """Leave a header out."""
    if not case.headers:
        return case
    place = chance.randrange(len(case.headers))
    return replace(case, headers=case.headers[:place] + case.headers[place + 1 :], how=(*case.how, "drop"))


def respell(case: Case, chance: Random) -> Case:
    """Write the headers' values in another way."""
    change = chance.choice(
        (bytes.upper, bytes.swapcase, lambda text: text.rstrip(b"="), lambda text: b" " + text)
    )
    headers = tuple((key, change(value)) for key, value in case.headers)
    return replace(case, headers=headers, how=(*case.how, "respell"))


def odd_query(case: Case, chance: Random) -> Case:
    """Put another query in its place."""
    query = chance.choice(
        ("", "code=", "code=%ff", "&" * 3000, "bodySHA256=00", "a=1\udcff", "code=1&code=2")
    )
    return replace(case, query=query, how=(*case.how, "query"))


def odd_clock(case: Case, chance: Random) -> Case:
    """Receive it at another time."""
    return replace(
        case, at=chance.choice((0.0, -1e9, 1e18, float("inf"), NOW + 1e6)), how=(*case.how, "clock")
    )


def odd_secret(case: Case, chance: Random) -> Case:
    """Verify it with other secrets."""
    texts = (
        "",
        "whsec_",
        "whsec_!!!",
        "zz",
        "é",
        "\udcff",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
        "=",
    )
    secrets = tuple(Secret(text) for text in chance.sample(texts, chance.randrange(4)))
    return replace(case, secrets=secrets, how=(*case.how, "secret"))


SPOILERS: Final[tuple[Spoiler, ...]] = (
    *(
        flip,
        swap_body,
        odd_stamp,
        odd_text,
        stamp_in_items,
        repeat,
        drop,
        respell,
        odd_query,
        odd_clock,
        odd_secret,
        sign_odd,
        sign_bomb,
        odd_type,
    ),
)


def spoil(case: Case, chance: Random) -> Case:
    """Spoil a case in up to four ways."""
    for _ in range(chance.choice((0, 1, 1, 1, 2, 2, 3, 4))):
        case = chance.choice(SPOILERS)(case, chance)
    return case
