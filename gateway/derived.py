"""Ids of deliveries whose provider gives none.

Where the time of signing is signed too, body and time make the id: the same bytes, signed at the same
moment, are the same delivery. Without one two equal bodies may well be two events (a heartbeat), so each
delivery gets an id of its own, unless the source is set to recognise deliveries by their bodies.

A delivery that couldn't be stored is sent again, and a part of it may stand on the broker already: its id
is kept for a while, so that what is stored is found.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.inbound import Inbound
    from gateway.recipes.verify import Verified

MAX_KEPT: Final = 1000
KEEP_SECONDS: Final = 600.0
DERIVED: Final = "sha256-"


class DerivedIds:
    """Gives deliveries of one source their ids.

    Args:
        by_body: recognise deliveries by their bodies, where no time is signed.
        clock: seconds, for how long ids are kept.
    """

    def __init__(self, *, by_body: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self._by_body = by_body
        self._clock = clock
        self._kept: OrderedDict[bytes, tuple[str, float]] = OrderedDict()

    def of(self, inbound: Inbound, verified: Verified) -> str:
        """Return the id of a delivery."""
        if verified.timestamp or self._by_body:
            stamp = f"{verified.timestamp or ''}\n".encode("latin-1", "replace")
            return f"{DERIVED}{hashlib.sha256(stamp + inbound.body).hexdigest()}"
        if inbound.named:
            return inbound.named
        kept = self._kept.get(_digest(inbound.body)) if self._kept else None
        return kept[0] if kept and kept[1] > self._clock() else secrets.token_hex(16)

    @property
    def keeps(self) -> bool:
        """Whether any id is kept."""
        return bool(self._kept)

    def keep(self, body: bytes, delivery_id: str) -> None:
        """Remember the id of a delivery that couldn't be stored."""
        self._kept[_digest(body)] = (delivery_id, self._clock() + KEEP_SECONDS)
        while len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)

    def forget(self, body: bytes) -> None:
        """Forget it when the delivery is stored: the next one with such a body is another event."""
        self._kept.pop(_digest(body), None)


def _digest(body: bytes) -> bytes:
    return hashlib.sha256(body).digest()
