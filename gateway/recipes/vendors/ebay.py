"""eBay: an ECDSA signature over the body, in a header that is base64 of JSON with the key's id.

The key is asked for at eBay's Notification API with an application's credentials, `app id:cert id`, unless
it is among the source's secrets itself. Source: eBay's event-notification SDKs, validator.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import orjson

from gateway.keys.apis import ebay_place
from gateway.keys.store import KeyStore
from gateway.keys.wanted import Wanted
from gateway.recipes.candidates import Offer, SignatureReader
from gateway.recipes.proofs import EcdsaP256, Signature
from gateway.recipes.published import KID, kid_text
from gateway.recipes.refusal import refused
from gateway.recipes.schemes.public_key import EcdsaScheme
from gateway.recipes.vendors.keys import MISMATCH, NO_KEY, fetched_keys, match, own_keys
from gateway.strictjson import UnsoundJsonError, loads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.recipes.draft import Draft
    from gateway.recipes.message import Message
    from gateway.recipes.published import KeyAccess
    from gateway.recipes.schemes.scheme import Offers
    from gateway.recipes.verified import Verified
    from gateway.verdict import Refused
    from tidemill.kernel.settings.secrets import Secret

_HEADER: Final = "X-EBAY-SIGNATURE"
_PLACE: Final = Signature(at=f"header:{_HEADER}", encoding="base64")
_READER: Final = SignatureReader(_PLACE)
_MALFORMED: Final = refused(
    "algorithm_unknown", "The signature isn't written as eBay writes it, or is of another kind."
)
_MAX_HEADER: Final = 4096


class _Shown(NamedTuple):
    """What the header says."""

    kid: str
    digest: str
    signature: bytes


class EbayVerifier:
    """Verifies notifications of eBay's."""

    def __init__(self, access: KeyAccess | None) -> None:
        self._store = access.store if access is not None else KeyStore()
        self._schemes = {"SHA1": _scheme("sha1"), "SHA256": _scheme("sha256")}

    def verify(self, message: Message, secrets: Sequence[Secret]) -> Verified | Refused | Wanted | None:
        """Verify a request; None where it carries no signature."""
        values = message.inbound.values(_HEADER.lower().encode())
        if not values:
            return None
        shown = _shown(values[0]) if len(values) == 1 else None
        scheme = self._schemes.get(shown.digest) if shown is not None else None
        if shown is None or scheme is None:
            return _MALFORMED
        offers: Offers = [(_READER, Offer([shown.signature], {}))]
        if _READER.decoded(shown.signature) is None:
            return MISMATCH
        return self._match(scheme, shown.kid, message.inbound.body, offers, secrets)

    def _match(
        self, scheme: EcdsaScheme, kid: str, signed: bytes, offers: Offers, secrets: Sequence[Secret]
    ) -> Verified | Refused | Wanted:
        own = own_keys(scheme, secrets)
        outcome: Verified | Refused | Wanted = match(scheme, own, signed, offers) if own else NO_KEY
        if outcome not in (MISMATCH, NO_KEY):
            return outcome
        for index, secret in enumerate(secrets):
            place = ebay_place(secret, kid) if scheme.key(secret) is None else None
            if place is None:
                continue
            keys = fetched_keys(scheme, self._store, place, kid, index)
            outcome = keys if isinstance(keys, Wanted) else match(scheme, keys, signed, offers)
            if outcome is not MISMATCH:
                return outcome
        return outcome

    def sign(self, draft: Draft, secret: Secret) -> None:
        """Sign a request.

        Raises:
            SettingsError: the secret is no private key in PEM.
        """
        signature = base64.b64encode(self._schemes["SHA1"].signature(secret, draft.body)).decode()
        shown = {"alg": "ecdsa", "kid": KID, "signature": signature, "digest": "SHA1"}
        draft.headers[_HEADER] = base64.b64encode(orjson.dumps(shown)).decode()


def _scheme(algorithm: Literal["sha1", "sha256"]) -> EcdsaScheme:
    return EcdsaScheme(EcdsaP256(scheme="ecdsa_p256", algorithm=algorithm, signature=[_PLACE]))


def _shown(value: bytes) -> _Shown | None:
    """Read the header; None where it isn't one."""
    document = _document(value)
    kid = kid_text(document.get("kid"))
    signature, digest = document.get("signature"), document.get("digest", "SHA1")
    if kid is None or not isinstance(signature, str) or not signature.isascii():
        return None
    if str(document.get("alg", "ecdsa")).lower() != "ecdsa" or not isinstance(digest, str):
        return None
    return _Shown(kid, digest.upper().replace("-", ""), signature.encode())


def _document(value: bytes) -> dict[str, Any]:
    if len(value) > _MAX_HEADER:
        return {}
    try:
        found = loads(base64.b64decode(value.strip(), validate=True))
    except (ValueError, binascii.Error, UnsoundJsonError):
        return {}
    return found if isinstance(found, dict) else {}
