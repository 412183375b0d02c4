"""Fresh secrets of a provider's form, for development, samples and tests."""

from __future__ import annotations

import base64
import secrets
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateway.recipes.proofs import EcdsaP256, Ed25519, Hmac, PlainHash, Rsa, SharedSecret, Vendor
from gateway.recipes.public_keys import MIN_RSA_BITS
from tidemill.kernel.settings.secrets import Secret

if TYPE_CHECKING:
    from gateway.recipes.proofs import Proof

_BYTES = 32


def new_secret(proof: Proof) -> Secret:
    """Return a fresh secret with which a proof can be signed and verified.

    For schemes with a public key it is a private key in PEM, which also stands for its public key.
    """
    match proof:
        case Hmac() | PlainHash():
            return Secret(
                proof.secret.strip_prefix + _encoded(secrets.token_bytes(_BYTES), proof.secret.encoding)
            )
        case SharedSecret():
            token = secrets.token_urlsafe(_BYTES)
            return Secret(f"tidemill:{token}" if proof.presented == "basic" else token)
        case Vendor():
            return Secret(secrets.token_hex(_BYTES))
        case Ed25519():
            return _pem(ed25519.Ed25519PrivateKey.generate())
        case EcdsaP256():
            return _pem(ec.generate_private_key(ec.SECP256R1()))
        case Rsa():
            return _pem(rsa.generate_private_key(public_exponent=65537, key_size=MIN_RSA_BITS))


def _encoded(key: bytes, encoding: str) -> str:
    return base64.b64encode(key).decode() if encoding == "base64" else key.hex()


def _pem(key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> Secret:
    return Secret(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())
