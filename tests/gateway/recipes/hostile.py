"""Hostile requests against every preset: `python tests/gateway/recipes/hostile.py [COUNT] [SEED]`.

Each begins as a genuine request of a preset, which is then spoilt in one to four ways, or left as it was.
The verifier has to accept the genuine ones, may accept none whose signature was spoilt, and never raises.
It prints what it made of them; it exits with 1 at the first that is wrong, with the seed that makes it again.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import urlsplit

from gateway.inbound import Inbound
from gateway.recipes.new_secret import new_secret
from gateway.recipes.presets import preset, preset_names
from gateway.recipes.proofs import SharedSecret, SignedProof
from gateway.recipes.sign import sign_request
from gateway.recipes.verify import Verification, Verified
from gateway.verdict import Refused
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


Spoiler = Callable[[Case, random.Random], Case]


def genuine() -> list[Case]:
    """Return a genuine request of every way of every preset."""
    return [_genuine(name, way) for name in preset_names() for way in range(len(preset(name).verify))]


def _genuine(name: str, way: int) -> Case:
    recipe = preset(name)
    proof = recipe.verify[way]
    secret, text = new_secret(proof), proof.model_dump_json()
    document = {"type": "a.b", "data": {"name": "Žofie"}, "value": [{"id": "1"}]}
    topic = dict.fromkeys(("Message", "MessageId", "TopicArn", "Timestamp"), "a")
    items = {"notificationItems": [{"NotificationRequestItem": {"pspReference": "1"}}]}
    documents = {"adyen": items, "sns": {**topic, "Type": "Notification"}}
    body = json.dumps(documents.get(getattr(proof, "name", ""), document)).encode()
    if "form:" in text or "sorted_form" in text:
        body = b"bt_payload=abc" if "form:" in text else b"a=1&b=%2B"
    given = {"event_type": "a.b", "event_id": "evt_1", "timestamp": float(NOW), "url": f"{ORIGIN}/webhooks/x"}
    sent = sign_request(recipe, secret, body, way=way, **given)  # type: ignore[arg-type] - each is of its parameter's type
    headers = tuple((key.lower().encode(), value.encode()) for key, value in sent.headers.items())
    return Case(
        name, way, headers, sent.body, urlsplit(sent.url).query, (Secret("other"), secret), original=sent.body
    )


def _header(case: Case, chance: random.Random, value: bytes, how: str) -> Case:
    """Replace the value of one of the headers."""
    place = chance.randrange(len(case.headers)) if case.headers else 0
    headers = tuple((key, value if at == place else old) for at, (key, old) in enumerate(case.headers))
    return replace(case, headers=headers, how=(*case.how, how))


def flip(case: Case, chance: random.Random) -> Case:
    """Change one bit of the body."""
    if not case.body:
        return case
    place, bit = chance.randrange(len(case.body)), 1 << chance.randrange(8)
    body = case.body[:place] + bytes([case.body[place] ^ bit]) + case.body[place + 1 :]
    return replace(case, body=body, how=(*case.how, "flip"))


def swap_body(case: Case, chance: random.Random) -> Case:
    """Put another body in its place."""
    body = chance.choice(BODIES)
    return replace(case, body=body, how=(*case.how, "body"))


def odd_stamp(case: Case, chance: random.Random) -> Case:
    """Put an odd number where a header was."""
    return _header(case, chance, chance.choice(STAMPS), "stamp")


def odd_text(case: Case, chance: random.Random) -> Case:
    """Put an odd text where a header was."""
    return _header(case, chance, chance.choice(TEXTS), "text")


def stamp_in_items(case: Case, chance: random.Random) -> Case:
    """Put an odd number where the time was inside a header of items."""
    stamp = chance.choice(STAMPS)
    headers = tuple((key, value.replace(b"1793000000", stamp)) for key, value in case.headers)
    return replace(case, headers=headers, how=(*case.how, "items"))


def repeat(case: Case, chance: random.Random) -> Case:
    """Send the headers twice, or a thousand times."""
    size = sum(len(key) + len(value) for key, value in case.headers) + 1
    times = max(1, min(chance.choice((2, 17, 1000)), MAX_HEADERS // size))
    headers = tuple((key, value) for key, value in case.headers for _ in range(times))
    return replace(case, headers=headers, how=(*case.how, "repeat"))


def drop(case: Case, chance: random.Random) -> Case:
    """Leave a header out."""
    if not case.headers:
        return case
    place = chance.randrange(len(case.headers))
    return replace(case, headers=case.headers[:place] + case.headers[place + 1 :], how=(*case.how, "drop"))


def respell(case: Case, chance: random.Random) -> Case:
    """Write the headers' values in another way."""
    change = chance.choice(
        (bytes.upper, bytes.swapcase, lambda text: text.rstrip(b"="), lambda text: b" " + text)
    )
    headers = tuple((key, change(value)) for key, value in case.headers)
    return replace(case, headers=headers, how=(*case.how, "respell"))


def odd_query(case: Case, chance: random.Random) -> Case:
    """Put another query in its place."""
    query = chance.choice(
        ("", "code=", "code=%ff", "&" * 3000, "bodySHA256=00", "a=1\udcff", "code=1&code=2")
    )
    return replace(case, query=query, how=(*case.how, "query"))


def odd_clock(case: Case, chance: random.Random) -> Case:
    """Receive it at another time."""
    return replace(
        case, at=chance.choice((0.0, -1e9, 1e18, float("inf"), NOW + 1e6)), how=(*case.how, "clock")
    )


def odd_secret(case: Case, chance: random.Random) -> Case:
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
    ),
)


def spoil(case: Case, chance: random.Random) -> Case:
    """Spoil a case in up to four ways."""
    for _ in range(chance.choice((0, 1, 1, 1, 2, 2, 3, 4))):
        case = chance.choice(SPOILERS)(case, chance)
    return case


class Judge:
    """Verifies cases, and says what is wrong with an outcome."""

    def __init__(self) -> None:
        self._by_name = {
            name: Verification(preset(name), public_url=ORIGIN, tokens=lambda: (Secret("a"),))
            for name in preset_names()
        }

    def outcome(self, case: Case) -> str:
        """Return what became of a case.

        Raises:
            AssertionError: a genuine one was refused, or a spoilt one accepted.
        """
        inbound = Inbound(case.method, "/webhooks/x", case.query, list(case.headers), case.body, case.at)
        verdict = self._by_name[case.preset].verify(inbound, case.secrets)
        if not case.how and not isinstance(verdict, Verified):
            raise AssertionError(f"genuine, and refused: {case} {verdict}")
        if isinstance(verdict, Verified):
            if "secret" in case.how or (case.body != case.original and _covers(case)):
                raise AssertionError(f"spoilt, and accepted: {case}")
            return "accepted"
        return verdict.check if isinstance(verdict, Refused) else "unsigned"


def _covers(case: Case) -> bool:
    """Say whether all of the body is signed, byte by byte."""
    proof = preset(case.preset).verify[case.way]
    whole = isinstance(proof, SignedProof) and not proof.body_unsigned and "form" not in proof.signed
    return whole and not isinstance(proof, SharedSecret)


def run(count: int, seed: int) -> Counter[str]:
    """Judge many cases; return how many came to what."""
    chance, cases, judge = random.Random(seed), genuine(), Judge()
    found: Counter[str] = Counter()
    for _ in range(count):
        found[judge.outcome(spoil(chance.choice(cases), chance))] += 1
    return found


def main() -> None:
    """Run what the arguments ask for and print what came of it."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    started = time.perf_counter()
    found = run(count, seed)
    for outcome, number in found.most_common():
        print(f"{number:>9} {outcome}")  # noqa: T201 - a script that prints
    print(f"{count} requests in {time.perf_counter() - started:.0f} s, seed {seed}")  # noqa: T201 - the same


if __name__ == "__main__":
    main()
