"""HMAC and plain hashes: both sides have the secret, so a signature is computed again and compared."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

from gateway.recipes.signing_key import key_reader
from tidemill.kernel.errors import SettingsError

if TYPE_CHECKING:
    from gateway.recipes.proofs import Hmac, PlainHash
    from gateway.recipes.schemes.scheme import Offers
    from tidemill.kernel.settings.secrets import Secret


class HmacScheme:
    """`scheme: hmac`."""

    def __init__(self, recipe: Hmac) -> None:
        self._key = key_reader(recipe.secret)
        self._algorithm = available(recipe.algorithm)

    def key(self, secret: Secret) -> bytes | None:
        """Return the key; None where the secret's text can't be decoded to one."""
        return self._key(secret.reveal()) or None

    def shown(self, key: bytes) -> bytes:
        """Return what stands for {secret}, which an HMAC's template never holds."""
        return key

    def accepts(self, key: bytes, signed: bytes, offers: Offers) -> bool:
        """Compare the candidates with the HMAC, in constant time."""
        return offered(hmac.digest(key, signed, self._algorithm), offers)

    def signature(self, secret: Secret, signed: bytes) -> bytes:
        """Return the HMAC."""
        return hmac.digest(signing_key(self.key(secret)), signed, self._algorithm)


class HashScheme:
    """`scheme: hash`: the secret is a part of what is hashed."""

    def __init__(self, recipe: PlainHash) -> None:
        self._key = key_reader(recipe.secret)
        self._algorithm = available(recipe.algorithm)

    def key(self, secret: Secret) -> bytes | None:
        """Return what the secret's text says; None where it can't be decoded."""
        return self._key(secret.reveal()) or None

    def shown(self, key: bytes) -> bytes:
        """Return what stands for {secret}."""
        return key

    def accepts(self, key: bytes, signed: bytes, offers: Offers) -> bool:  # noqa: ARG002 - it is a part of `signed`
        """Compare the candidates with the hash, in constant time."""
        return offered(hashlib.new(self._algorithm, signed).digest(), offers)

    def signature(self, secret: Secret, signed: bytes) -> bytes:
        """Return the hash."""
        signing_key(self.key(secret))
        return hashlib.new(self._algorithm, signed).digest()


def offered(digest: bytes, offers: Offers) -> bool:
    """Say whether a request offers a digest as its signature."""
    return any(reader.offers(digest, offer.candidates) for reader, offer in offers)


def available(algorithm: str) -> str:
    """Return a hash's name.

    Raises:
        SettingsError: this system's OpenSSL doesn't offer it (MD5 and SHA-1 where FIPS forbids them).
    """
    try:
        hmac.digest(b"key", b"", algorithm)
    except ValueError as error:
        raise SettingsError(
            f"{algorithm} can't be computed on this system: {error}", hint="its OpenSSL forbids it"
        ) from error
    return algorithm


def signing_key(key: bytes | None) -> bytes:
    """Return a key that is there.

    Raises:
        SettingsError: it isn't.
    """
    if not key:
        raise SettingsError(
            "the request can't be signed: its secret isn't of the recipe's form",
            hint="write the secret as the provider shows it",
        )
    return key
