"""API keys of the control listener: random tokens that are stored as hashes.

A key has 256 random bits, so that a plain SHA-256 is enough to store it: there is nothing to guess that
a slow hash would have to protect (unlike passwords).
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

PREFIX: Final = "tm_"
HASH_PREFIX: Final = "sha256:"
HASH_PATTERN: Final = re.compile(r"sha256:[0-9a-f]{64}")


class HashedKey(Protocol):
    """What a key must have to be checked against."""

    @property
    def hash(self) -> str:
        """Return the key's hash, as `hash_key` makes it."""


KeyT = TypeVar("KeyT", bound=HashedKey)


def create_key() -> str:
    """Return a new key; it is shown once, its hash goes into the settings."""
    return PREFIX + secrets.token_urlsafe(32)


def hash_key(key: str) -> str:
    """Return the hash under which a key is stored."""
    return HASH_PREFIX + hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def find_key(key: str, known: Iterable[KeyT]) -> KeyT | None:
    """Return the known key that a caller presented, or None.

    Every known key is compared, each in constant time: how long it takes tells nothing about which.
    """
    presented, found = hash_key(key).encode(), None
    for candidate in known:
        if hmac.compare_digest(presented, candidate.hash.encode()):
            found = candidate
    return found
