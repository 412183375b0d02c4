r"""What is fuzzed of the recipe engine: a request of a preset, from its bytes to the verdict.

An input is text, so that it can be read and mutated line by line:

    preset way mode        `github 0 signed`; an unknown preset is another one, by its hash
    query                  as it stands in the URL
    name: value            headers, which replace those of the signature; `+name: value` adds one more
                           (an empty line)
    body

In the mode `signed` the engine signs the body first, in `stale` it does so as of long ago; then the headers
are put in their places. In any other mode nobody signs.
"""

from __future__ import annotations

import functools
import zlib
from typing import NamedTuple
from urllib.parse import urlsplit

from gateway.inbound import Inbound
from gateway.intake import Intake
from gateway.keys.wanted import Wanted
from gateway.recipes.new_secret import new_secret
from gateway.recipes.presets import preset, preset_names
from gateway.recipes.proofs import Jwt, SignedProof
from gateway.recipes.sign import SignedRequest, sign_request
from gateway.recipes.verify import Verification, Verified
from gateway.schemas import SchemaStore
from gateway.verdict import Accepted, Batch, Handshaken, Quarantined, Refused, Verdict
from tidemill.kernel.errors import SettingsError
from tidemill.kernel.settings.secrets import Secret
from tidemill.kernel.subjects import Names

NOW = 1_793_000_000.0
YEAR = 365 * 86400.0
ORIGIN = "https://hooks.example.com"
LIMIT = 64 * 1024
NAMES = Names("fuzz")
_BESIDE = frozenset({"unsigned_part", "identity_unknown"})
"""What a signed request is refused for: a form's field that isn't signed, a token of somebody unknown."""
DICTIONARY = (
    *("signed", "stale", "bare", "content-encoding: gzip\\x0a", "content-encoding: deflate\\x0a"),
    *(
        "content-type: application/x-www-form-urlencoded\\x0a",
        "content-type: text/plain\\x0a",
        "t=1793000000",
    ),
    *(
        "content-type: multipart/form-data; boundary=b\\x0a",
        "\\x0d\\x0a--b\\x0d\\x0a",
        "--b--",
        "v1=",
        "sha256=",
    ),
    *(
        "Infinity",
        "1e400",
        "-1",
        "1793000000",
        "99999999999999999",
        "2026-10-26T00:00:00Z",
        "\\xed\\xa0\\x80",
    ),
    *("\\\\ud800", "\\xef\\xbb\\xbf", '\\"id\\":', '\\"type\\":', '\\"action\\":', "[{}]", "null", "[[[[[["),
)


class Input(NamedTuple):
    """One input, read."""

    preset: str
    way: int
    mode: bytes
    query: str
    headers: list[tuple[bytes, bytes]]
    body: bytes


def read(data: bytes) -> Input:
    """Read an input: all bytes are one."""
    first, query, rest = [*data.split(b"\n", 2), b"", b""][:3]
    head, _, body = (b"\n" + rest).partition(b"\n\n")
    name, way, mode = [*first.split(b" "), b"", b"", b""][:3]
    names = preset_names()
    known = name.decode("latin-1")
    known = known if known in names else names[zlib.crc32(name) % len(names)]
    pairs = [line.partition(b":") for line in head.split(b"\n") if line]
    headers = [(key.strip().lower(), value.strip()) for key, _, value in pairs]
    proofs = max(1, len(preset(known).verify))
    return Input(known, (way[:1] or b"0")[0] % proofs, mode, query.decode("latin-1"), headers, body)


def check(data: bytes) -> str:
    """Judge a request; return what it came to.

    Raises:
        AssertionError: a request passed that nobody has signed, or one didn't that was signed.
    """
    case = read(data)
    request = _signed(case) if case.mode in {b"signed", b"stale"} else None
    inbound = _inbound(case, request)
    verified = _verification(case.preset).verify(inbound, _secrets(case.preset, case.way))
    if request is not None and _certain(case):
        beside = isinstance(verified, Refused) and verified.check in _BESIDE
        assert beside or isinstance(verified, Verified | Wanted), f"signed, and refused: {verified}"
    if request is None:
        assert isinstance(verified, Refused | Wanted | None), f"let in without a signature: {verified}"
    verdict = _intake(case.preset).receive(inbound)
    forged = request is None and bool(preset(case.preset).verify)
    assert not (forged and isinstance(verdict, Accepted | Batch | Quarantined)), f"forged: {verdict}"
    return _stored(verdict)


def _certain(case: Input) -> bool:
    """Say whether a request that was signed has to verify: nothing was changed, and it is a signature."""
    proofs, touched = preset(case.preset).verify, case.headers or case.query or case.mode != b"signed"
    return bool(proofs) and not touched and isinstance(proofs[case.way], SignedProof | Jwt)


def _stored(verdict: Verdict | Wanted) -> str:
    """Do what is done before anything goes to the broker; return what a request came to."""
    if isinstance(verdict, Wanted):
        return "published key wanted"
    if isinstance(verdict, Refused):
        assert 400 <= verdict.status < 500
        return verdict.check
    if isinstance(verdict, Handshaken):
        return f"handshake {verdict.name}"
    items = verdict.items if isinstance(verdict, Batch) else (verdict,)
    for item in items:
        assert NAMES.event(item.envelope.source, item.envelope.type).isprintable()
        assert item.envelope.to_frame()
    if isinstance(verdict, Batch):
        return "batch"
    return verdict.reason.code if isinstance(verdict, Quarantined) else "accepted"


def _signed(case: Input) -> SignedRequest | None:
    """Return a body as its provider would send it, None where it has no place for the signature."""
    recipe = preset(case.preset)
    moment = NOW - YEAR if case.mode == b"stale" else NOW
    facts = {"event_type": "a.b", "event_id": "evt_1", "url": f"{ORIGIN}/webhooks/x"}
    try:
        return sign_request(
            recipe, _secret(case.preset, case.way), case.body, way=case.way, timestamp=moment, **facts
        )
    except SettingsError:
        return None


def _inbound(case: Input, request: SignedRequest | None) -> Inbound:
    headers, body, query = case.headers, case.body, case.query
    if request is not None:
        kept = [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in request.headers.items()
        ]
        replaced = {name for name, _ in headers}
        headers = [pair for pair in kept if pair[0] not in replaced] + headers
        body, query = request.body, case.query or urlsplit(request.url).query
    return Inbound(
        "POST", "/webhooks/x", query, [(name.removeprefix(b"+"), value) for name, value in headers], body, NOW
    )


@functools.cache
def _secret(name: str, way: int) -> Secret:
    proofs = preset(name).verify
    return new_secret(proofs[way]) if proofs else Secret("a")


@functools.cache
def _secrets(name: str, way: int) -> tuple[Secret, ...]:
    return Secret("another secret, which is older"), _secret(name, way)


@functools.cache
def _verification(name: str) -> Verification:
    return Verification(preset(name), public_url=ORIGIN, tokens=lambda: (Secret("a"),))


@functools.cache
def _intake(name: str) -> Intake:
    recipe = preset(name)
    every = tuple(_secret(name, way) for way in range(max(1, len(recipe.verify))))
    return Intake(
        name,
        recipe,
        secrets=every,
        schemas=_store(),
        verify_tokens=(Secret("a"),),
        public_url=ORIGIN,
        allow_unsigned=not recipe.verify,
        max_body=LIMIT,
    )


@functools.cache
def _store() -> SchemaStore:
    return SchemaStore()
