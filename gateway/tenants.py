"""The present secrets of tenants, looked up by name when a request comes and kept for a while.

What is kept is bounded. A tenant's entry goes as soon as somebody writes its record, and after half a minute
at the latest, since the word of a write may get lost with the link. While the broker is away what was kept
counts on, so that deliveries can be verified for the spool. Names that nobody knows are kept apart, so that
strangers who make them up push no tenant out.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from tidemill.kernel.clock import now
from tidemill.kernel.errors import BrokerError, PayloadError, SettingsError
from tidemill.kernel.services.tenant_record import record_key

if TYPE_CHECKING:
    from datetime import datetime

    from tidemill.kernel.jetstream.buckets import Bucket
    from tidemill.kernel.jetstream.bus import Bus
    from tidemill.kernel.jetstream.messages import Subscription
    from tidemill.kernel.services.tenants import Tenants
    from tidemill.kernel.services.vault import Vault
    from tidemill.kernel.settings.secrets import Secret

_log = logging.getLogger(__name__)

MOST: Final = 20_000
KEEP_SECONDS: Final = 30.0
UNSURE_SECONDS: Final = 1.0
"""Seconds after word of a write in which what is read may be what was there before."""
LOOKUP_SECONDS: Final = 1.2
AWAY_SECONDS: Final = 2.0
"""Seconds until it is tried again to look up what couldn't be."""
_RETRY_SECONDS: Final = 1.0


class Ring(NamedTuple):
    """What a tenant's request is verified with.

    Attributes:
        secrets: the tenant's, or one that nobody has.
        known: whether there is such a tenant.
    """

    secrets: tuple[Secret, ...]
    known: bool


class LockedError(Exception):
    """A source's or a tenant's secrets are there and can't be read; the log says why."""


class _Kept(NamedTuple):
    """What was read of a tenant."""

    secrets: tuple[tuple[Secret, datetime | None], ...]
    until: float


class TenantRings:
    """Finds the secrets of tenants.

    Args:
        tenants: where they are kept.
        vault: makes what unknown tenants are verified with.
        most: how many tenants are kept at most; as many names that nobody knows.
        monotonic: seconds, for how long they are kept.
    """

    def __init__(
        self,
        tenants: Tenants,
        vault: Vault,
        *,
        most: int = MOST,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tenants = tenants
        self._vault = vault
        self._most = most
        self._monotonic = monotonic
        self._known: OrderedDict[str, _Kept] = OrderedDict()
        self._unknown: OrderedDict[str, _Kept] = OrderedDict()
        self._told: OrderedDict[str, float] = OrderedDict()
        self._complaints: OrderedDict[str, str] = OrderedDict()

    async def ring(self, source: str, tenant: str) -> Ring:
        """Return what a tenant's request is verified with.

        Raises:
            LockedError: the tenant's secrets can't be decrypted.
            BrokerError: nothing is known of the tenant, and the broker can't be asked.
        """
        key = record_key(source, tenant)
        kept = self._known.get(key) or self._unknown.get(key)
        if kept is None or kept.until <= self._monotonic():
            kept = await self._look_up(key, source, tenant, kept)
        moment = now()
        active = tuple(secret for secret, until in kept.secrets if until is None or moment < until)
        if active:
            return Ring(active, known=True)
        return Ring((self._vault.decoy(key),), known=False)

    async def _look_up(self, key: str, source: str, tenant: str, stale: _Kept | None) -> _Kept:
        begun = self._monotonic()
        try:
            entries = await self._tenants.find(source, tenant, timeout=LOOKUP_SECONDS)
            secrets = tuple((self._tenants.reveal(source, tenant, one), one.until) for one in entries)
        except BrokerError:
            if stale is None:
                raise
            # A broker that doesn't answer isn't waited for at each request.
            shelf = self._known if stale.secrets else self._unknown
            shelf[key] = stale._replace(until=self._monotonic() + AWAY_SECONDS)
            return stale
        except (SettingsError, PayloadError) as error:
            self._complain(key, str(error))
            raise LockedError(f"{source}/{tenant}") from error
        self._complaints.pop(key, None)
        return self._keep(key, secrets, begun)

    def _keep(self, key: str, secrets: tuple[tuple[Secret, datetime | None], ...], begun: float) -> _Kept:
        told = self._told.get(key)
        unsure = told is not None and begun < told + UNSURE_SECONDS
        kept = _Kept(secrets, begun if unsure else begun + KEEP_SECONDS)
        self._forget(key)
        shelf = self._known if secrets else self._unknown
        shelf[key] = kept
        _bound(shelf, self._most)
        return kept

    def _forget(self, key: str) -> None:
        self._known.pop(key, None)
        self._unknown.pop(key, None)

    def _complain(self, key: str, problem: str) -> None:
        """Log what is wrong with a tenant, once for as long as it is the same."""
        if self._complaints.get(key) != problem:
            _log.error("%s", problem)
        self._complaints[key] = problem
        _bound(self._complaints, self._most)

    def written(self, key: str) -> None:
        """Hear that a tenant's record is being written: what is kept of it counts no longer."""
        self._told.pop(key, None)
        self._told[key] = self._monotonic()
        _bound(self._told, self._most)
        for shelf in (self._known, self._unknown):
            if key in shelf:
                shelf[key] = shelf[key]._replace(until=0.0)

    def doubt(self) -> None:
        """Read everything again before it is used again: words of writes may have been lost."""
        for shelf in (self._known, self._unknown):
            for key, kept in shelf.items():
                shelf[key] = kept._replace(until=0.0)

    async def follow(self, bucket: Bucket, bus: Bus) -> None:
        """Listen for writes, until cancelled."""
        bus.on_reconnect(self.doubt)
        hints: Subscription | None = None
        try:
            while hints is None:
                try:
                    hints = await bucket.watch(self.written)
                except BrokerError as error:
                    _log.debug("changes of tenants aren't heard of: %s", error.sentence)
                    await asyncio.sleep(_RETRY_SECONDS)
            self.doubt()
            await bus.wait_closed()
        finally:
            bus.forget_callback(self.doubt)
            if hints is not None:
                await hints.stop()


def _bound(
    shelf: OrderedDict[str, _Kept] | OrderedDict[str, float] | OrderedDict[str, str], most: int
) -> None:
    while len(shelf) > most:
        shelf.popitem(last=False)
