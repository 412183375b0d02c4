"""Sealed boxes: values that a provider has encrypted for one receiver with AEAD_AES_256_GCM (RFC 5116, 5.2).

A box is a JSON object with `ciphertext` in base64, `nonce` and `associated_data` as text, as WeChat Pay
makes them.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY_BYTES: Final = 32
_PROBLEMS: Final = (ValueError, TypeError, OverflowError, InvalidTag)


def is_sealed(value: Any) -> bool:
    """Say whether a value is such a box."""
    return isinstance(value, dict) and isinstance(value.get("ciphertext"), str)


def unsealed(box: Mapping[str, Any], key: bytes) -> bytes | None:
    """Return what is inside of a box, None where it can't be opened with that key."""
    nonce, associated = box.get("nonce"), box.get("associated_data")
    if not isinstance(nonce, str) or not (associated is None or isinstance(associated, str)):
        return None
    try:
        sealed = base64.b64decode(str(box.get("ciphertext")), validate=True)
        return AESGCM(key).decrypt(nonce.encode(), sealed, (associated or "").encode())
    except _PROBLEMS:
        return None
