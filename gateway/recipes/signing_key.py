"""From a secret as the provider shows it to the key that signs."""

from __future__ import annotations

import base64
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.recipes.recipe import SecretForm
    from tidemill.kernel.settings.secrets import Secret


def key_of(secret: Secret, form: SecretForm) -> bytes:
    """Return a secret's key; empty, which never verifies, where its text isn't of the recipe's form."""
    return _key(secret.reveal(), form.encoding, form.strip_prefix)


@lru_cache(maxsize=1024)
def _key(value: str, encoding: str, strip_prefix: str) -> bytes:
    text = value.removeprefix(strip_prefix)
    try:
        if encoding == "hex":
            return bytes.fromhex(text)
        return _base64(text) if encoding == "base64" else text.encode("utf-8")
    except ValueError:
        return b""


def _base64(text: str) -> bytes:
    """Decode either alphabet, padded or not, as the libraries of Standard Webhooks do."""
    standard = text.strip().rstrip("=").replace("-", "+").replace("_", "/")
    return base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True)
