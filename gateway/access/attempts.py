"""How often somebody may try to log in: by client, and all together."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from gateway.clients import site_of
from gateway.problem import Problem
from gateway.recorder import TokenBucket

if TYPE_CHECKING:
    from collections.abc import Callable

BURST: Final = 10
RATE: Final = 0.1
"""Further attempts a second of one client, in the long run."""
_ALL_BURST: Final = 200
_ALL_RATE: Final = 10.0
_MAX_CLIENTS: Final = 10_000


class Attempts:
    """Counts logins that are tried; of more clients than it knows, those heard longest ago are forgotten."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._all = TokenBucket(_ALL_RATE, _ALL_BURST, clock)
        self._clients: OrderedDict[str, TokenBucket] = OrderedDict()

    def problem(self, client: str) -> Problem | None:
        """Take one attempt of a client, or say that there were too many."""
        site = site_of(client)
        bucket = self._clients.setdefault(site, TokenBucket(RATE, BURST, self._clock))
        self._clients.move_to_end(site)
        if len(self._clients) > _MAX_CLIENTS:
            self._clients.popitem(last=False)
        if bucket.take() and self._all.take():
            return None
        after = (b"retry-after", b"%d" % math.ceil(1 / RATE))
        return Problem(429, "rate", "Too many logins were tried.", "Wait a moment.", headers=(after,))
