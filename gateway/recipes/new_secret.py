"""Fresh secrets of a provider's form, for development, samples and tests."""

from __future__ import annotations

import base64
import secrets
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from gateway.recipes.proofs import EcdsaP256, Ed25519, Hmac, Jwt, PlainHash, Rsa, SharedSecret, Vendor
from gateway.recipes.public_keys import MIN_RSA_BITS
from tidemill.kernel.settings.secrets import Secret

if TYPE_CHECKING:
    from gateway.recipes.proofs import Proof, SecretForm

_BYTES = 32
_PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def new_secret(proof: Proof) -> Secret:
    """Return a fresh secret with which a proof can be signed and verified.

    For schemes with a public key it is a private key in PEM, which also stands for its public key.
    """
    match proof:
        case Hmac() | PlainHash():
            return _shared(proof.secret)
        case SharedSecret():
            token = secrets.token_urlsafe(_BYTES)
            return Secret(f"tidemill:{token}" if proof.presented == "basic" else token)
        case Vendor() if proof.name in ("adyen", "exact-online"):
            return Secret(secrets.token_hex(_BYTES))
        case Jwt() if proof.algorithms[0].startswith("HS"):
            return _shared(proof.secret)
        case _:
            return _pem(_private_key(proof))


def _shared(form: SecretForm) -> Secret:
    return Secret(form.strip_prefix + _encoded(secrets.token_bytes(_BYTES), form.encoding))


def _private_key(proof: Ed25519 | EcdsaP256 | Rsa | Jwt | Vendor) -> _PrivateKey:
    named = proof.name if isinstance(proof, Vendor) else ""
    if isinstance(proof, Ed25519) or named == "neon":
        return ed25519.Ed25519PrivateKey.generate()
    if (
        named == "ebay"
        or isinstance(proof, EcdsaP256)
        or (isinstance(proof, Jwt) and proof.algorithms[0].startswith("ES"))
    ):
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=MIN_RSA_BITS)


def _encoded(key: bytes, encoding: str) -> str:
    return base64.b64encode(key).decode() if encoding == "base64" else key.hex()


def _pem(key: _PrivateKey) -> Secret:
    return Secret(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())
