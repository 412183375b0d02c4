"""What a request that verifies has proven."""

from __future__ import annotations

from typing import NamedTuple


class Verified(NamedTuple):
    """A request whose signature matched.

    Attributes:
        secret: index of the secret that matched.
        timestamp: when it was signed, as it was written; None where that isn't signed.
        id: the delivery id that is signed; None where none is.
    """

    secret: int
    timestamp: str | None = None
    id: str | None = None
