"""Ed25519, ECDSA and RSA: the provider signs with a private key, the source's secret is its public key."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from gateway.recipes.public_keys import private_key_of, public_key_of
from tidemill.kernel.errors import SettingsError

if TYPE_CHECKING:
    from gateway.recipes.proofs import EcdsaP256, Ed25519, PublicKeyForm, Rsa
    from gateway.recipes.schemes.scheme import Offers
    from tidemill.kernel.settings.secrets import Secret

_HASHES: Final[dict[str, Callable[[], hashes.HashAlgorithm]]] = {
    "sha1": hashes.SHA1,
    "sha256": hashes.SHA256,
    "sha512": hashes.SHA512,
}
_HALF: Final = 32
_Key = TypeVar("_Key")


class PublicKeyScheme(ABC, Generic[_Key]):
    """What the three have in common."""

    def __init__(self, form: PublicKeyForm) -> None:
        self._form = form

    def key(self, secret: Secret) -> _Key | None:
        """Return the public key; None where the secret's text isn't one of this kind."""
        return self.fit(public_key_of(secret, self._form))

    @abstractmethod
    def fit(self, key: object) -> _Key | None:
        """Return a public key that is of this kind; None where it isn't."""

    @abstractmethod
    def signature(self, secret: Secret, signed: bytes) -> bytes:
        """Sign with a private key in PEM."""

    @abstractmethod
    def _verify(self, key: _Key, digest: bytes, signed: bytes) -> None:
        """Return when the signature is genuine, else raise."""

    def shown(self, key: _Key) -> bytes:  # noqa: ARG002 - a public key is never a part of the template
        """Return nothing: there is no {secret} here."""
        return b""

    def accepts(self, key: _Key, signed: bytes, offers: Offers) -> bool:
        """Verify the candidates; whatever the bytes, a wrong one is only wrong."""
        digests = (reader.decoded(one) for reader, offer in offers for one in offer.candidates)
        return any(digest is not None and self._verified(key, digest, signed) for digest in digests)

    def _verified(self, key: _Key, digest: bytes, signed: bytes) -> bool:
        try:
            self._verify(key, digest, signed)
        except (InvalidSignature, UnsupportedAlgorithm, ValueError):
            return False
        return True


class Ed25519Scheme(PublicKeyScheme[ed25519.Ed25519PublicKey]):
    """`scheme: ed25519`."""

    def __init__(self, recipe: Ed25519) -> None:
        super().__init__(recipe.secret)

    def fit(self, key: object) -> ed25519.Ed25519PublicKey | None:
        """Return a public key that is of this kind; None where it isn't."""
        return key if isinstance(key, ed25519.Ed25519PublicKey) else None

    def signature(self, secret: Secret, signed: bytes) -> bytes:
        """Sign with a private key in PEM."""
        key = private_key_of(secret)
        if not isinstance(key, ed25519.Ed25519PrivateKey):
            raise _no_private_key("an Ed25519")
        return key.sign(signed)

    def _verify(self, key: ed25519.Ed25519PublicKey, digest: bytes, signed: bytes) -> None:
        key.verify(digest, signed)


class EcdsaScheme(PublicKeyScheme[ec.EllipticCurvePublicKey]):
    """`scheme: ecdsa_p256`."""

    def __init__(self, recipe: EcdsaP256) -> None:
        super().__init__(recipe.secret)
        self._raw = recipe.form == "raw"
        self._algorithm = ec.ECDSA(_HASHES[recipe.algorithm]())

    def fit(self, key: object) -> ec.EllipticCurvePublicKey | None:
        """Return a public key that is on P-256; None where it isn't."""
        if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
            return key
        return None

    def signature(self, secret: Secret, signed: bytes) -> bytes:
        """Sign with a private key in PEM."""
        key = private_key_of(secret)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise _no_private_key("a P-256")
        digest = key.sign(signed, self._algorithm)
        if not self._raw:
            return digest
        return b"".join(part.to_bytes(_HALF, "big") for part in utils.decode_dss_signature(digest))

    def _verify(self, key: ec.EllipticCurvePublicKey, digest: bytes, signed: bytes) -> None:
        key.verify(_der(digest) if self._raw else digest, signed, self._algorithm)


class RsaScheme(PublicKeyScheme[rsa.RSAPublicKey]):
    """`scheme: rsa`."""

    def __init__(self, recipe: Rsa) -> None:
        super().__init__(recipe.secret)
        self._hash = _HASHES[recipe.algorithm]()
        self._pss = recipe.padding == "pss"

    def fit(self, key: object) -> rsa.RSAPublicKey | None:
        """Return a public key that is of this kind; None where it isn't."""
        return key if isinstance(key, rsa.RSAPublicKey) else None

    def signature(self, secret: Secret, signed: bytes) -> bytes:
        """Sign with a private key in PEM; PSS with a salt as long as the hash (RFC 8017, 9.1)."""
        key = private_key_of(secret)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise _no_private_key("an RSA")
        salted = padding.PSS(padding.MGF1(self._hash), padding.PSS.DIGEST_LENGTH)
        return key.sign(signed, salted if self._pss else padding.PKCS1v15(), self._hash)

    def _verify(self, key: rsa.RSAPublicKey, digest: bytes, signed: bytes) -> None:
        salted = padding.PSS(padding.MGF1(self._hash), padding.PSS.AUTO)
        key.verify(digest, signed, salted if self._pss else padding.PKCS1v15(), self._hash)


def _der(digest: bytes) -> bytes:
    if len(digest) != 2 * _HALF:
        raise InvalidSignature
    return utils.encode_dss_signature(
        int.from_bytes(digest[:_HALF], "big"), int.from_bytes(digest[_HALF:], "big")
    )


def _no_private_key(kind: str) -> SettingsError:
    return SettingsError(
        f"the request can't be signed: that takes {kind} private key",
        hint="with the provider's public key a source can only verify; for development put a private key "
        "of your own, as PEM, among its secrets",
    )
