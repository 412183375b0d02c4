"""Keys that the product signs with, above all links: made once for an installation, kept on its broker."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from tidemill.kernel.errors import WrongSequenceError
from tidemill.kernel.links import KEY_BYTES, PATH, Link

if TYPE_CHECKING:
    from tidemill.kernel.jetstream.buckets import Bucket

ENTRY: Final = "signing.links"
"""Where it is kept: with a dot, which no source's name has in this bucket."""
BROWSERS: Final = "signing.browsers"
"""Where the key is kept that logins of browsers are signed with."""


async def find_key(bucket: Bucket, entry: str = ENTRY) -> bytes | None:
    """Return a key, None where there is none yet.

    Raises:
        BrokerError: the broker can't be asked.
    """
    stored = await bucket.get(entry)
    return stored.value if stored is not None else None


async def make_key(bucket: Bucket, entry: str = ENTRY) -> bytes:
    """Return a key; the first one who asks makes it.

    Raises:
        BrokerError: the broker can't be asked.
    """
    while (known := await find_key(bucket, entry)) is None:
        try:
            await bucket.put(entry, secrets.token_bytes(KEY_BYTES), revision=0)
        except WrongSequenceError:
            continue  # somebody else was faster
    return known


class Links:
    """Makes links to token pages; without a public address there are none."""

    def __init__(self, public_url: str | None = None, key: bytes = b"") -> None:
        self._base = public_url.rstrip("/") if public_url is not None else None
        self._key = key

    def url(self, run: str, name: str, until: float, by: str = "") -> str:
        """Return the address at which a token is answered until a moment; empty where there is none."""
        if self._base is None:
            return ""
        return f"{self._base}{PATH}{Link(run, name, int(until), by).signed(self._key)}"
