"""Neon Auth: a detached JSON Web Signature (RFC 7515, appendix F) over time and body, by an Ed25519 key.

What is signed is `TIME.BODY` with the body in base64url, and as a JWS's payload that is in base64url again.
The keys are at the project's own address: NEON_AUTH_URL/.well-known/jwks.json. Source: Neon's
documentation, Neon Auth webhooks.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final

import orjson

from gateway.keys.places import KeySetPlace
from gateway.keys.store import KeyStore
from gateway.keys.wanted import Wanted
from gateway.recipes.candidates import Offer, SignatureReader
from gateway.recipes.moment import parse_moment
from gateway.recipes.proofs import Ed25519, Signature
from gateway.recipes.published import KID, kid_text
from gateway.recipes.refusal import refused
from gateway.recipes.schemes.public_key import Ed25519Scheme
from gateway.recipes.stamp import window_problem
from gateway.recipes.vendors.keys import NO_KEY, PART_MISSING, Keys, fetched_keys, match, own_keys
from gateway.recipes.verified import Verified
from gateway.strictjson import UnsoundJsonError, loads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.recipes.draft import Draft
    from gateway.recipes.message import Message
    from gateway.recipes.published import KeyAccess
    from gateway.verdict import Refused
    from tidemill.kernel.settings.secrets import Secret

TOLERANCE: Final = 300.0
_SIGNATURE, _KID, _TIME = b"x-neon-signature", b"x-neon-signature-kid", b"x-neon-timestamp"
_PLACE: Final = Signature(at="header:X-Neon-Signature", encoding="base64url", unpadded=True)
_READER: Final = SignatureReader(_PLACE)
_MALFORMED: Final = refused("algorithm_unknown", "What stands there is no detached signature with EdDSA.")
_SIGNATURE_BYTES: Final = 64


class NeonVerifier:
    """Verifies webhooks of Neon Auth."""

    def __init__(self, access: KeyAccess | None) -> None:
        self._store = access.store if access is not None else KeyStore()
        url = access.url if access is not None else None
        self._place = KeySetPlace(url, public=False) if url is not None else None
        self._scheme = Ed25519Scheme(Ed25519(scheme="ed25519", signature=[_PLACE]))

    def verify(self, message: Message, secrets: Sequence[Secret]) -> Verified | Refused | Wanted | None:
        """Verify a request; None where it carries no signature."""
        inbound = message.inbound
        value, moment = inbound.header(_SIGNATURE), inbound.header(_TIME)
        if value is None:
            return None
        kid = kid_text(inbound.header(_KID))
        if not moment or kid is None:
            return PART_MISSING
        header, _, signature = value.partition(b"..")
        problem = _form_problem(header, signature, kid) or _time_problem(moment, inbound.received_at)
        keys = problem or self._keys(kid, secrets)
        if not isinstance(keys, list):
            return keys
        signed = signing_input(header, moment, inbound.body)
        outcome = match(self._scheme, keys, signed, [(_READER, Offer([signature], {}))])
        if isinstance(outcome, Verified):
            return outcome._replace(timestamp=moment.decode("latin-1"))
        return outcome

    def _keys(self, kid: str, secrets: Sequence[Secret]) -> Keys | Wanted | Refused:
        if secrets or self._place is None:
            return own_keys(self._scheme, secrets) or NO_KEY
        return fetched_keys(self._scheme, self._store, self._place, kid)

    def sign(self, draft: Draft, secret: Secret) -> None:
        """Sign a request.

        Raises:
            SettingsError: the secret is no Ed25519 private key in PEM.
        """
        moment = b"%d" % int(draft.message().inbound.received_at * 1000)
        header = _encoded(orjson.dumps({"alg": "EdDSA", "typ": "JWS", "kid": KID}))
        signature = self._scheme.signature(secret, signing_input(header, moment, draft.body))
        draft.headers |= {
            "X-Neon-Signature": (header + b".." + _encoded(signature)).decode(),
            "X-Neon-Signature-Kid": KID,
            "X-Neon-Timestamp": moment.decode(),
        }


def signing_input(header: bytes, moment: bytes, body: bytes) -> bytes:
    """Return what is signed."""
    return header + b"." + _encoded(moment + b"." + _encoded(body))


def _encoded(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def _form_problem(header: bytes, signature: bytes, kid: str) -> Refused | None:
    """Say whether a detached signature is one of Neon's, of the key that the request names."""
    whole = len(_READER.decoded(signature) or b"") == _SIGNATURE_BYTES
    return None if whole and _is_header(header, kid) else _MALFORMED


def _is_header(segment: bytes, kid: str) -> bool:
    """Say whether a JWS's header is one of Neon's, of the key that the request names."""
    try:
        found = loads(_READER.decoded(segment) or b"")
    except UnsoundJsonError:
        return False
    if not isinstance(found, dict) or "crit" in found or "b64" in found:
        return False
    return found.get("alg") == "EdDSA" and found.get("kid", kid) == kid


def _time_problem(moment: bytes, now: float) -> Refused | None:
    return window_problem(parse_moment(moment.decode("latin-1"), "ms"), now, TOLERANCE, TOLERANCE)
