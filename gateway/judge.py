"""Judging a request with all that isn't at hand: tenants' secrets, learned secrets, published keys."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from gateway.keys.judging import with_keys
from gateway.keys.wanted import Wanted
from gateway.verdict import Refused

if TYPE_CHECKING:
    from gateway.inbound import Inbound
    from gateway.intake import Intake
    from gateway.introductions import Introductions
    from gateway.keys.store import KeyStore
    from gateway.tenants import Ring, TenantRings
    from gateway.verdict import Judged

TENANT_UNKNOWN: Final = "tenant_unknown"


class Judge(NamedTuple):
    """Judges requests of any source.

    Attributes:
        introductions: knows learned secrets.
        rings: knows tenants' secrets.
        keys: knows published keys.
    """

    introductions: Introductions | None = None
    rings: TenantRings | None = None
    keys: KeyStore | None = None

    async def judge(self, intake: Intake, inbound: Inbound, tenant: str | None) -> tuple[Judged, str]:
        """Return the verdict about a request, and the check that its operator is told where it is refused.

        Raises:
            LockedError: the secrets to verify with can't be read.
            KeysAwayError: the keys to verify with can't be fetched just now.
            BrokerError: they aren't known here, and the broker can't be asked.
        """
        ring = await self._ring(intake, tenant) if intake.tenants or intake.learns else None
        first = intake.receive(inbound, tenant, ring)
        verdict: Judged
        if isinstance(first, Wanted):
            verdict = await with_keys(self.keys, first, partial(intake.receive, inbound, tenant, ring))
        else:
            verdict = first
        if not isinstance(verdict, Refused):
            return verdict, ""
        return verdict, TENANT_UNKNOWN if ring is not None and not ring.known else verdict.check

    async def _ring(self, intake: Intake, tenant: str | None) -> Ring | None:
        """Return the secrets of the request's tenant, None where the source's count: those are at hand."""
        if intake.tenants and tenant is not None and self.rings is not None:
            return await self.rings.ring(intake.source, tenant)
        if intake.learns and self.introductions is not None:
            await self.introductions.ready(intake.source)
        return None
