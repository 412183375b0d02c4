"""From the text of a source's secret to the public key of its provider."""

from __future__ import annotations

import base64
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
)
from cryptography.x509 import load_pem_x509_certificate

if TYPE_CHECKING:
    from gateway.recipes.proofs import PublicKeyForm
    from tidemill.kernel.settings.secrets import Secret

MIN_RSA_BITS: Final = 2048
_ED25519_BYTES: Final = 32
_POINT_BYTES: Final = (33, 65)
_PEM: Final = "-----BEGIN "
_PROBLEMS: Final = (ValueError, TypeError, UnsupportedAlgorithm)


def public_key_of(secret: Secret, form: PublicKeyForm) -> Any:
    """Return a public key object, None where the text is none or too weak."""
    return _public(secret.reveal(), form.encoding, form.strip_prefix)


def private_key_of(secret: Secret) -> Any:
    """Return a private key object, None where the text isn't one in PEM."""
    text = _pem(secret.reveal())
    return _private(text) if text and "PRIVATE KEY-----" in text else None


@lru_cache(maxsize=1024)
def _public(value: str, encoding: str, strip_prefix: str) -> Any:
    pem = _pem(value)
    try:
        key = _from_pem(pem) if pem else _from_bytes(_bytes(value.removeprefix(strip_prefix), encoding))
    except _PROBLEMS:
        return None
    return None if isinstance(key, rsa.RSAPublicKey) and key.key_size < MIN_RSA_BITS else key


@lru_cache(maxsize=64)
def _private(pem: str) -> Any:
    try:
        return load_pem_private_key(pem.encode(), password=None)
    except _PROBLEMS:
        return None


def _pem(text: str) -> str | None:
    """Return the text where it is PEM; in environment variables its newlines are often written out."""
    return text.replace("\\n", "\n") if text.lstrip().startswith(_PEM) else None


def _from_pem(pem: str) -> Any:
    if "PRIVATE KEY-----" in pem:
        key = _private(pem)
        return None if key is None else key.public_key()
    if "CERTIFICATE-----" in pem:
        return load_pem_x509_certificate(pem.encode()).public_key()
    return load_pem_public_key(pem.encode())


def _from_bytes(raw: bytes) -> Any:
    if len(raw) == _ED25519_BYTES:
        return ed25519.Ed25519PublicKey.from_public_bytes(raw)
    if len(raw) in _POINT_BYTES:
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), raw)
    return load_der_public_key(raw)


def _bytes(text: str, encoding: str) -> bytes:
    if encoding == "hex":
        return bytes.fromhex(text)
    return base64.b64decode("".join(text.split()) + "=" * (-len(text) % 4), validate=True)
