"""Limits of a source, or of all together: who may send, how often, and how much at the same time.

They are asked before a request's body is read.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.clients import Networks, site_of
from gateway.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MAX_CLIENTS: Final = 10_000
"""Clients whose rates are known at the same time; of more, those heard longest ago are forgotten."""


class Limits(NamedTuple):
    """What is allowed; None is no limit.

    Attributes:
        networks: from where, none for from everywhere.
        rate: requests a second.
        client_rate: requests a second of one client: an address, or the /64 of an IPv6 address.
        concurrency: requests at the same time.
    """

    networks: Sequence[str] = ()
    rate: float | None = None
    client_rate: float | None = None
    concurrency: int | None = None


NO_LIMITS: Final = Limits()


class Rate:
    """Lets a second's worth of requests pass at once, at least one, and `rate` a second in the long run."""

    __slots__ = ("_level", "_most", "_rate", "_since")

    def __init__(self, rate: float, now: float) -> None:
        self._rate = rate
        self._most = max(1.0, rate)
        self._level = self._most
        self._since = now

    def wait(self, now: float) -> float:
        """Take one; return 0, or in how many seconds there is one."""
        self._level = min(self._most, self._level + (now - self._since) * self._rate)
        self._since = now
        if self._level < 1:
            return (1 - self._level) / self._rate
        self._level -= 1
        return 0.0


class Gate:
    """Lets requests in as some limits say."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._networks = Networks(limits.networks) if limits.networks else None
        self._rate = Rate(limits.rate, clock()) if limits.rate else None
        self._clients: OrderedDict[str, Rate] = OrderedDict()
        self._inside = 0

    def enter(self, client: str) -> Problem | None:
        """Let a request in, or say why not; what was let in has to `leave`."""
        if self._networks is not None and client not in self._networks:
            return Problem(403, "network", "Requests aren't taken from this address.")
        if self._limits.concurrency is not None and self._inside >= self._limits.concurrency:
            return _too_many("concurrency", "Too many requests at the same time.", 1.0)
        wait = self._waits(client)
        if wait:
            return _too_many("rate", "Too many requests.", wait)
        self._inside += 1
        return None

    def leave(self) -> None:
        """Make room for another one."""
        self._inside -= 1

    def _waits(self, client: str) -> float:
        now = self._clock()
        if self._limits.client_rate:
            wait = self._of(site_of(client), self._limits.client_rate, now).wait(now)
            if wait:
                return wait
        return self._rate.wait(now) if self._rate is not None else 0.0

    def _of(self, site: str, rate: float, now: float) -> Rate:
        found = self._clients.get(site)
        if found is None:
            found = self._clients[site] = Rate(rate, now)
            if len(self._clients) > MAX_CLIENTS:
                self._clients.popitem(last=False)
        else:
            self._clients.move_to_end(site)
        return found


def gate_of(limits: Limits) -> Gate | None:
    """Return the gate for some limits, None where there are none."""
    return Gate(limits) if any(limits) else None


def _too_many(kind: str, detail: str, wait: float) -> Problem:
    after = (b"retry-after", b"%d" % max(1, math.ceil(wait)))
    return Problem(429, kind, detail, headers=(after,))
