"""What verifiers with public keys have in common: keys of the source, else keys that were fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from gateway.keys.chain import CertificatePlace
from gateway.keys.store import KeyStore
from gateway.keys.wanted import Wanted
from gateway.recipes.published import FETCHED
from gateway.recipes.refusal import refused
from gateway.recipes.verified import Verified

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.keys.places import KeyPlace
    from gateway.recipes.schemes.public_key import PublicKeyScheme
    from gateway.recipes.schemes.scheme import Offers
    from gateway.verdict import Refused
    from tidemill.kernel.settings.secrets import Secret

MISMATCH: Final = refused("signature_mismatch", "No signature matches the request with a key of this source.")
NO_KEY: Final = refused("secret_missing", "This source has no key to verify with.")
PART_MISSING: Final = refused("signed_part_missing", "Something that is a part of what is signed is missing.")
UNTRUSTED: Final = refused(
    "certificate_untrusted",
    "The certificate is gone, has ended, is another's, or nobody vouches for it.",
)
Keys = list[tuple[int, Any]]


def own_keys(scheme: PublicKeyScheme[Any], secrets: Sequence[Secret]) -> Keys:
    """Return the keys among a source's secrets, with their indexes."""
    return [(index, key) for index, one in enumerate(secrets) if (key := scheme.key(one)) is not None]


def fetched_keys(
    scheme: PublicKeyScheme[Any],
    store: KeyStore,
    place: KeyPlace,
    kid: str | None = None,
    index: int = FETCHED,
) -> Keys | Wanted:
    """Return the keys of a place, or what has to be fetched first."""
    found = store.find(place, kid)
    if isinstance(found, Wanted):
        return found
    fitting = (scheme.fit(key.raw) for key in found or ())
    return [(index, key) for key in fitting if key is not None]


def certified_keys(
    scheme: PublicKeyScheme[Any], store: KeyStore, address: str, family: str, names: tuple[str, ...]
) -> Keys | Wanted | Refused:
    """Return the key of a certificate that a request names, what has to be fetched first, or a refusal.

    Args:
        scheme: how the key is used.
        store: where keys are kept.
        address: where the certificate is; held against a pattern before.
        family: what shares an allowance of fetches.
        names: the host names that the certificate may have been issued to.
    """
    return fetched_keys(scheme, store, CertificatePlace(address, family, names, store.trust)) or UNTRUSTED


def match(scheme: PublicKeyScheme[Any], keys: Keys, signed: bytes, offers: Offers) -> Verified | Refused:
    """Return which key a candidate was signed with."""
    for index, key in keys:
        if scheme.accepts(key, signed, offers):
            return Verified(index)
    return MISMATCH
