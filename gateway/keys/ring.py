"""Rings of public keys: what a key set, a certificate or a single key says, read without ever raising."""

from __future__ import annotations

import warnings
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509 import load_der_x509_certificate, load_pem_x509_certificates
from joserfc import jwk
from joserfc.errors import JoseError, SecurityWarning

from gateway.strictjson import UnsoundJsonError, loads

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

MAX_KEYS: Final = 64
"""Keys of one document that count; the sets of large providers have fewer than ten."""
MAX_KID: Final = 256
MIN_RSA_BITS: Final = 2048
MAX_RSA_BITS: Final = 8192
"""Larger ones are none that anybody uses, and verifying with them is slow."""
MAX_EXPONENT_BITS: Final = 33
"""The same."""
_PROBLEMS: Final = (JoseError, ValueError, TypeError, KeyError, AttributeError, UnsupportedAlgorithm)
_PEM: Final = b"-----BEGIN CERTIFICATE-----"


class PublicKey(NamedTuple):
    """One key of a ring.

    Attributes:
        kid: its id, None where it has none.
        raw: the key as `cryptography` holds it: RSA, on an elliptic curve, or Ed25519.
        jose: the key as `joserfc` holds it, None where it didn't come as a JSON Web Key.
    """

    kid: str | None
    raw: Any
    jose: Any = None


Ring = tuple[PublicKey, ...]
EMPTY: Final[Ring] = ()


class UnreadableKeysError(Exception):
    """A document is no key set and no certificate."""


def ring_of_set(raw: bytes) -> Ring:
    """Return the usable keys of a JSON Web Key Set (RFC 7517); those of other kinds are left out.

    Shared secrets and keys for encryption never count, whatever a set says.

    Raises:
        UnreadableKeysError: the document is no key set.
    """
    document = json_of(raw)
    found = document.get("keys")
    if not isinstance(found, list):
        raise UnreadableKeysError("it holds no array `keys`")
    keys = (key_of_jwk(one) for one in found[:MAX_KEYS])
    return tuple(key for key in keys if key is not None)


def json_of(raw: bytes) -> dict[str, Any]:
    """Return the JSON object that a document is.

    Raises:
        UnreadableKeysError: it is none.
    """
    try:
        document = loads(raw)
    except UnsoundJsonError as error:
        raise UnreadableKeysError("it isn't sound JSON") from error
    if not isinstance(document, dict):
        raise UnreadableKeysError("it is no JSON object")
    return document


def key_of_jwk(document: Any) -> PublicKey | None:
    """Return the public key that a JSON Web Key is, None where it is none that may verify."""
    if not isinstance(document, dict) or document.get("use", "sig") != "sig":
        return None
    kid = document.get("kid")
    if document.get("kty") not in ("RSA", "EC", "OKP") or not (kid is None or _is_kid(kid)):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # weak keys are left out below
            key = jwk.import_key(document)
        raw = key.public_key
    except _PROBLEMS:
        return None
    return PublicKey(kid, raw, key) if is_strong(raw) else None


def certificates_of(raw: bytes) -> list[Certificate]:
    """Return the certificates of a document, in PEM or DER: at least one.

    Raises:
        UnreadableKeysError: the document is no certificate.
    """
    try:
        return load_pem_x509_certificates(raw) if _PEM in raw else [load_der_x509_certificate(raw)]
    except _PROBLEMS as error:
        raise UnreadableKeysError("it is no certificate") from error


def key_of_certificate(certificate: Certificate, now: float) -> PublicKey | None:
    """Return a certificate's key under its serial number in upper-case hex; None outside of its validity."""
    moment = datetime.fromtimestamp(now, UTC)
    if not certificate.not_valid_before_utc <= moment <= certificate.not_valid_after_utc:
        return None
    raw = certificate.public_key()
    return PublicKey(f"{certificate.serial_number:X}", raw) if is_strong(raw) else None


def is_strong(raw: object) -> bool:
    """Say whether a key is of a kind and size that is let in."""
    if isinstance(raw, rsa.RSAPublicKey):
        fits = MIN_RSA_BITS <= raw.key_size <= MAX_RSA_BITS
        return fits and raw.public_numbers().e.bit_length() <= MAX_EXPONENT_BITS
    return isinstance(raw, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey)


def _is_kid(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= MAX_KID
