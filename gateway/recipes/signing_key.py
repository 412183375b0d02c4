"""From a secret as the provider shows it to the key that signs."""

from __future__ import annotations

import base64
import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.recipes.proofs import SecretForm


def key_reader(form: SecretForm) -> Callable[[str], bytes]:
    """Return a function from a secret's text to its key, which remembers the keys that it has made.

    The key is empty, which never verifies, where the text isn't of the recipe's form.
    """
    encoding, strip_prefix, digest = form.encoding, form.strip_prefix, form.digest

    @lru_cache(maxsize=1024)
    def key(value: str) -> bytes:
        decoded = _decoded(value.removeprefix(strip_prefix), encoding)
        return hashlib.new(digest, decoded).digest() if decoded and digest else decoded

    return key


def _decoded(text: str, encoding: str) -> bytes:
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
