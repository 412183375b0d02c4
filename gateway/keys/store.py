"""The store of fetched keys: looked into without waiting, filled by one fetch at a time per place.

    find  ─▶ keys | None: no such key | Wanted ─▶ await fetch ─▶ find again
                                                     └─▶ KeysAwayError: answer 503 with Retry-After

A key that isn't there is asked for at most once in `INTERVAL` seconds per place. A request whose key can't be
asked for just now is neither accepted nor refused: only a set that was fetched for that very key and lacks
it says that there is none.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections import OrderedDict, defaultdict
from typing import TYPE_CHECKING, Final

from gateway.keys.chain import Trust
from gateway.keys.https import HttpsFetch
from gateway.keys.places import AbsentError, FetchError
from gateway.keys.ring import EMPTY, UnreadableKeysError
from gateway.keys.wanted import Wanted

if TYPE_CHECKING:
    from collections.abc import Callable

    from gateway.keys.places import Fetch, KeyPlace
    from gateway.keys.ring import Ring

_log = logging.getLogger(__name__)

INTERVAL: Final = 60.0
"""Seconds between two fetches from one place, however many unknown keys are asked for."""
REFRESH: Final = 3600.0
"""Seconds after which keys are fetched again, while those at hand still count."""
LONGEST: Final = 86400.0
"""Seconds for which keys count at most, if their server stays away."""
LEAST_WAIT: Final = 2.0
MAX_PLACES: Final = 256
MAX_WAITING: Final = 128
"""Requests that wait for keys at the same time; more are told to come again."""
_MAX_ASKED: Final = 64
_BURST: Final = 6.0
_PER_SECOND: Final = 0.1
"""Fetches from places that requests name, a family: six at once, one every ten seconds in the long run."""


class KeysAwayError(Exception):
    """The keys can't be had just now.

    Attributes:
        retry_after: seconds after which another try makes sense.
    """

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"the keys can't be fetched; again in {retry_after:.0f} s")
        self.retry_after = max(1, math.ceil(retry_after))


class _Entry:
    """What is known of one place."""

    __slots__ = ("asked", "fetched_at", "loading", "missed", "not_before", "ring", "wait")

    def __init__(self) -> None:
        self.ring: Ring | None = None
        self.fetched_at = 0.0
        self.not_before = 0.0
        self.wait = LEAST_WAIT
        self.asked: set[str] = set()
        self.missed: frozenset[str] = frozenset()
        self.loading: asyncio.Task[None] | None = None

    def keys(self, kid: str | None, now: float) -> Ring:
        """Return the keys of an id, all of them without one; none that are too old."""
        if self.ring is None or now - self.fetched_at > LONGEST:
            return EMPTY
        return self.ring if kid is None else tuple(key for key in self.ring if key.kid == kid)


class _Allowance:
    """How many fetches a family of places has left."""

    def __init__(self, now: float) -> None:
        self._level, self._since = _BURST, now

    def wait(self, now: float) -> float:
        """Take one; return 0, or in how many seconds there is one."""
        self._level = min(_BURST, self._level + (now - self._since) * _PER_SECOND)
        self._since = now
        if self._level < 1:
            return (1 - self._level) / _PER_SECOND
        self._level -= 1
        return 0.0


class KeyStore:
    """Keeps keys that were fetched, and fetches those that are missing.

    Attributes:
        outcomes: fetches by host and outcome (`ok`, `absent`, `failed`), for metrics.
        trust: says which fetched certificates count.
    """

    def __init__(
        self,
        fetch: Fetch | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        trust: Trust | None = None,
    ) -> None:
        """Make an empty store.

        Args:
            fetch: asks key servers; tests pass one that knows their own.
            monotonic: a clock, in seconds.
            trust: says which fetched certificates count; tests pass one with an authority of their own.
        """
        self.trust = trust or Trust()
        self._fetch = fetch or HttpsFetch()
        self._now = monotonic
        self._entries: OrderedDict[KeyPlace, _Entry] = OrderedDict()
        self._families: dict[str, _Allowance] = {}
        self._due: dict[KeyPlace, None] = {}
        self._stale = asyncio.Event()
        self._waiting = 0
        self.outcomes: dict[tuple[str, ...], int] = defaultdict(int)

    def find(self, place: KeyPlace, kid: str | None = None) -> Ring | Wanted | None:
        """Return the keys that may have signed, without waiting.

        Args:
            place: where they are published.
            kid: the id that the request names; None for all keys.

        Returns:
            the keys; None where the place is known to have no such key; `Wanted` where it has to be asked.
        """
        entry, now = self._entries.get(place), self._now()
        if entry is None:
            return Wanted(place, kid)
        self._entries.move_to_end(place)
        keys = entry.keys(kid, now)
        if keys:
            self._keep_fresh(place, entry, now)
            return keys
        return None if self._is_absent(entry, kid, now) else Wanted(place, kid)

    def again(self, place: KeyPlace) -> Wanted | None:
        """Say whether a place may have other keys by now, for signatures that name none and match none."""
        entry = self._entries.get(place)
        return None if entry is not None and self._now() < entry.not_before else Wanted(place)

    async def fetch(self, wanted: Wanted) -> None:
        """Fetch what is wanted, once for everybody who waits for the same place; then `find` knows it.

        Raises:
            KeysAwayError: it can't be had just now.
        """
        if self._waiting >= MAX_WAITING:
            raise KeysAwayError(LEAST_WAIT)
        self._waiting += 1
        try:
            await asyncio.shield(self._loading(wanted))
        finally:
            self._waiting -= 1

    async def run(self) -> None:
        """Fetch again what has become old, until cancelled; then end the fetches that are under way."""
        try:
            while True:
                await self._stale.wait()
                self._stale.clear()
                due, self._due = self._due, {}
                for place in due:
                    with contextlib.suppress(KeysAwayError):  # logged where it failed; find asks again later
                        await self.fetch(Wanted(place))
        finally:
            await self.close()

    async def close(self) -> None:
        """End the fetches that are under way."""
        tasks = [entry.loading for entry in self._entries.values() if entry.loading is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _keep_fresh(self, place: KeyPlace, entry: _Entry, now: float) -> None:
        if now - entry.fetched_at > REFRESH and now >= entry.not_before and entry.loading is None:
            self._due[place] = None
            self._stale.set()

    @staticmethod
    def _is_absent(entry: _Entry, kid: str | None, now: float) -> bool:
        """Say whether the last fetch looked for that key, and is so recent that another would be early."""
        if entry.ring is None or now >= entry.not_before:
            return False
        return not entry.ring if kid is None else kid in entry.missed

    def _loading(self, wanted: Wanted) -> asyncio.Task[None]:
        """Return the fetch that is under way, or begin one.

        Raises:
            KeysAwayError: it is too early for one.
        """
        place, now = wanted.place, self._now()
        entry = self._entries.get(place)
        if entry is None or entry.loading is None:
            early = entry.not_before - now if entry is not None else 0.0
            wait = early if early > 0 else self._take(place.family, now)
            if wait > 0:
                raise KeysAwayError(wait)
            entry = entry or self._entry(place)
            entry.asked = set()
            entry.loading = asyncio.create_task(self._load(place, entry), name=f"keys-{place.host}")
            entry.loading.add_done_callback(_looked_at)
        if wanted.kid is not None and len(entry.asked) < _MAX_ASKED:
            entry.asked.add(wanted.kid)
        return entry.loading

    def _take(self, family: str | None, now: float) -> float:
        if family is None:
            return 0.0
        return self._families.setdefault(family, _Allowance(now)).wait(now)

    def _entry(self, place: KeyPlace) -> _Entry:
        """Make room for a place: those without keys go first, then those used longest ago."""
        while len(self._entries) >= MAX_PLACES:
            idle = [one for one, entry in self._entries.items() if entry.loading is None]
            if not idle:
                raise KeysAwayError(LEAST_WAIT)
            useless = next((one for one in idle if not self._entries[one].ring), idle[0])
            del self._entries[useless]
        entry = self._entries[place] = _Entry()
        return entry

    async def _load(self, place: KeyPlace, entry: _Entry) -> None:
        try:
            ring, outcome = await self._ring(place)
        except (FetchError, UnreadableKeysError) as error:
            self._failed(place, entry, error)
            raise KeysAwayError(entry.not_before - self._now()) from error
        finally:
            entry.loading = None
        now = self._now()
        entry.ring, entry.fetched_at, entry.not_before, entry.wait = ring, now, now + INTERVAL, LEAST_WAIT
        entry.missed = frozenset(entry.asked - {key.kid for key in ring})
        self.outcomes[place.host, outcome] += 1

    async def _ring(self, place: KeyPlace) -> tuple[Ring, str]:
        try:
            return await place.load(self._fetch), "ok"
        except AbsentError:
            return EMPTY, "absent"

    def _failed(self, place: KeyPlace, entry: _Entry, error: Exception) -> None:
        _log.warning("keys of %s can't be fetched: %s", place.host, error)
        self.outcomes[place.host, "failed"] += 1
        entry.missed = frozenset()
        entry.not_before = self._now() + entry.wait
        entry.wait = min(2 * entry.wait, INTERVAL)


def _looked_at(task: asyncio.Task[None]) -> None:
    """Look at how a fetch ended, for nobody may wait for it any more."""
    if not task.cancelled():
        task.exception()
