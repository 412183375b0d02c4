"""Signed links to the pages on which people answer: they name a token, maybe a person, and when they end.

A link is what it says, in base64url, and an HMAC-SHA256 of that: who has it may answer, and nobody can make
another one out of it.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from dataclasses import dataclass
from typing import Final

import orjson

from tidemill.kernel.subjects import RUN_ID

PATH: Final = "/t/"
KEY_BYTES: Final = 32
_PURPOSE: Final = b"tidemill token link 1\n"
_LONGEST: Final = 4096


@dataclass(frozen=True, slots=True)
class Link:
    """What a link says.

    Attributes:
        run: whose token it is.
        name: the token's name.
        until: when the link ends, in whole seconds since the epoch.
        by: who answers with it; empty where they say so themselves.
    """

    run: str
    name: str
    until: int
    by: str = ""

    @property
    def token(self) -> str:
        """The token's id."""
        return f"{self.run}.{self.name}"

    def signed(self, key: bytes) -> str:
        """Return the link's last part."""
        said = orjson.dumps([self.run, self.name, self.until, self.by])
        return f"{_encoded(said)}.{_encoded(_signature(key, said))}"


def read_link(key: bytes, text: str) -> Link | None:
    """Return what a signed link says, None where it wasn't signed with this key."""
    said, dot, signature = text.partition(".")
    if not dot or len(text) > _LONGEST:
        return None
    try:
        content, given = _decoded(said), _decoded(signature)
    except (binascii.Error, ValueError):
        return None
    if (
        not hmac.compare_digest(_signature(key, content), given)
        or text != f"{_encoded(content)}.{_encoded(given)}"
    ):
        return None
    run, name, until, by = orjson.loads(content)
    return Link(run, name, until, by) if RUN_ID.fullmatch(run) else None


def _signature(key: bytes, said: bytes) -> bytes:
    return hmac.digest(key, _PURPOSE + said, "sha256")


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
